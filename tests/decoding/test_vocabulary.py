import math

import pytest
import torch

from transduce.decoding import vocabulary
from transduce.decoding.vocabulary import best_continuations, log_normaliser, top_k

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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_normaliser_of_many_pieces_is_as_exact_as_float32(dtype: torch.dtype) -> None:
    logits = (3 * torch.randn(20, 37000)).to(dtype)
    expected = logits.double().logsumexp(-1)
    _, _, _, found = best_continuations(logits, torch.zeros(20, 1, dtype=torch.float64), 1, NONE)
    for normaliser in (log_normaliser(logits), found):
        assert (normaliser - expected).abs().max() < 2e-6


def test_log_normaliser_in_float32_of_half_precision() -> None:
    logits = torch.randn(4, 100).bfloat16()
    assert torch.allclose(log_normaliser(logits), logits.float().logsumexp(-1), atol=1e-5)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(("v", "w"), [(5, 3), (64, 1), (1500, 1), (1500, 4), (1536, 4)])
def test_the_best_continuations_keep_their_probability_without_the_forbidden(v: int, w: int) -> None:
    logits, sums = torch.randn(6 * w, v) * 4, -5 * torch.rand(6, w, dtype=torch.float64)
    sums[0, 1:] = -math.inf  # as at the beginning
    before = logits.clone()
    forbidden = logits.mean(0).topk(3).indices.sort().values
    k = min(8, w * (v - 3))
    log_probs, parents, pieces, normaliser = best_continuations(logits, sums, k, forbidden)
    assert torch.equal(logits, before)
    assert torch.allclose(normaliser, logits.logsumexp(-1), atol=1e-5)
    after = logits.double().log_softmax(-1).index_fill(1, forbidden, -math.inf)
    expected = (sums.flatten()[:, None] + after).view(6, w * v).topk(k)
    assert log_probs.dtype == torch.float64
    assert torch.allclose(log_probs, expected.values, atol=1e-5)
    possible = expected.values.isfinite()
    assert torch.equal((parents * v + pieces)[possible], expected.indices[possible])


@pytest.mark.usefixtures("either_way")
def test_fewer_continuations_than_wanted() -> None:
    sums = torch.tensor([[0.0, -math.inf]], dtype=torch.float64)
    log_probs, parents, pieces, _ = best_continuations(torch.zeros(2, 4), sums, 4, torch.tensor([0, 2]))
    assert set(pieces[0, :2].tolist()) == {1, 3}
    assert parents[0, :2].tolist() == [0, 0]
    assert log_probs[0].tolist() == pytest.approx([-math.log(4), -math.log(4), -math.inf, -math.inf])


def test_rows_are_independent_of_the_chunks_they_are_read_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "_FEW", 0)
    logits, sums = torch.randn(10, 900), torch.zeros(5, 2, dtype=torch.float64)
    whole = best_continuations(logits, sums, 4, NONE)
    for chunk in (1, 2000):
        monkeypatch.setattr(vocabulary, "_CHUNK_CPU", chunk)
        for one, other in zip(whole, best_continuations(logits, sums, 4, NONE), strict=True):
            assert torch.equal(one, other)


def test_sums_far_apart_are_told_apart_as_finely_as_they_are_summed() -> None:
    """In float32, sums near 1,000 differ by 6e-5 at least."""
    sums = torch.tensor([[-1000.0, -1000.0 - 1e-6]], dtype=torch.float64)
    log_probs, parents, _, _ = best_continuations(torch.zeros(2, 5), sums, 10, NONE)
    assert parents[0].tolist() == [0] * 5 + [1] * 5
    expected = (sums[0] - math.log(5)).repeat_interleave(5)
    assert log_probs[0].tolist() == pytest.approx(expected.tolist(), abs=1e-7)
    assert best_continuations(torch.zeros(2, 5), sums.flip(1), 5, NONE)[1][0].tolist() == [1] * 5


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_continuation_is_likelier_than_its_prefix(dtype: torch.dtype) -> None:
    sums = -1000 * torch.rand(50, 3, dtype=dtype)
    log_probs, parents, _, _ = best_continuations(torch.randn(150, 500) * 30, sums, 6, NONE)
    assert log_probs.dtype == dtype
    assert (log_probs <= sums.gather(1, parents)).all()


@pytest.mark.usefixtures("either_way")
def test_logits_may_lie_in_any_order() -> None:
    logits, sums = torch.randn(6, 1200), torch.zeros(3, 2, dtype=torch.float64)
    expected = best_continuations(logits[:, ::2].clone(), sums, 4, NONE)
    for one, other in zip(best_continuations(logits[:, ::2], sums, 4, NONE), expected, strict=True):
        assert torch.equal(one, other)
