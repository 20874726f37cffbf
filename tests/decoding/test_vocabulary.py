import math

import pytest
import torch

from transduce.decoding import vocabulary
from transduce.decoding.vocabulary import best_pieces, log_normaliser, top_k

pytestmark = pytest.mark.unit

NONE = torch.tensor([], dtype=torch.long)


@pytest.fixture(params=[0, 2**16], ids=["as many", "as few"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same logits as if they were many, and as if they were few."""
    monkeypatch.setattr(vocabulary, "_FEW", request.param)


@pytest.mark.parametrize("v", [5, 64, 640, 1000, 1087, 8000])
@pytest.mark.parametrize("k", [1, 5])
def test_top_k_is_torch_topk(v: int, k: int) -> None:
    values = torch.randn(13, v)
    found, expected = top_k(values, k), values.topk(k)
    assert torch.equal(found[0], expected.values)
    assert torch.equal(found[1], expected.indices)


def test_top_k_finds_the_ends_of_rows_and_neighbours() -> None:
    values = torch.zeros(1, 1087)
    for rank, i in enumerate([1086, 0, 1, 63, 64, 1023, 1024]):
        values[0, i] = 10 - rank
    assert top_k(values, 7)[1].tolist() == [[1086, 0, 1, 63, 64, 1023, 1024]]


def test_top_k_of_equal_values_are_different_pieces() -> None:
    values = torch.randint(0, 2, (20, 1087)).float()
    found, indices = top_k(values, 6)
    assert torch.equal(found, values.topk(6).values)
    assert torch.equal(values.gather(1, indices), found)
    assert all(len(set(row)) == 6 for row in indices.tolist())


@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0, 1000.0])
def test_log_normaliser_is_logsumexp_and_never_below_the_largest(spread: float) -> None:
    logits = torch.randn(50, 500) * spread
    found = log_normaliser(logits)
    assert found.dtype == torch.float32
    expected = logits.double().logsumexp(-1)
    assert torch.allclose(found.double(), expected, rtol=1e-6, atol=1e-5)
    assert (found >= logits.amax(-1)).all()


def test_log_normaliser_in_float32_of_half_precision() -> None:
    logits = torch.randn(4, 100).bfloat16()
    assert torch.allclose(log_normaliser(logits), logits.float().logsumexp(-1), atol=1e-5)


@pytest.mark.usefixtures("either_way")
def test_best_pieces_keep_their_probability_without_the_forbidden() -> None:
    logits = torch.randn(7, 1500) * 4
    before = logits.clone()
    forbidden = logits.mean(0).topk(3).indices
    log_probs, pieces, _ = best_pieces(logits, 8, forbidden)
    expected = logits.log_softmax(-1).index_fill(1, forbidden, -math.inf).topk(8)
    assert torch.equal(pieces, expected.indices)
    assert torch.allclose(log_probs, expected.values, atol=1e-5)
    assert torch.equal(logits, before)


@pytest.mark.usefixtures("either_way")
def test_fewer_allowed_pieces_than_wanted() -> None:
    log_probs, pieces, _ = best_pieces(torch.zeros(1, 4), 4, torch.tensor([0, 2]))
    assert set(pieces[0, :2].tolist()) == {1, 3}
    assert log_probs[0].tolist() == pytest.approx([-math.log(4), -math.log(4), -math.inf, -math.inf])


def test_rows_are_independent_of_the_chunks_they_are_read_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "_FEW", 0)
    logits = torch.randn(10, 900)
    whole = best_pieces(logits, 4, NONE)
    for chunk in (1, 2000):
        monkeypatch.setattr(vocabulary, "_CHUNK_CPU", chunk)
        for one, other in zip(whole, best_pieces(logits, 4, NONE), strict=True):
            assert torch.equal(one, other)
