import pytest
import torch

from transduce.data.collate import collate
from transduce.decoding import score_pairs
from transduce.decoding import scores as module
from transduce.nn import Transformer, TransformerConfig, build
from transduce.text.pieces import IDS

pytestmark = pytest.mark.unit

SIZE = 40
PAIRS = [([5, 6, 7], [8, 9]), ([4], []), ([11, 12, 13, 14, 15], [20, 21, 22, 23, 24, 25]), ([9, 9], [30])]


@pytest.fixture
def model() -> Transformer:
    config = TransformerConfig(n_layers=2, d_model=16, d_ff=32, n_heads=2, d_k=8, d_v=8)
    return build(config, SIZE, SIZE, IDS.pad).eval()


@torch.no_grad()
def by_steps(model: Transformer, source: list[int], target: list[int]) -> float:
    """An independent way to the same number: one sentence, one piece at a time, float64 log-softmax."""
    state = model.start(torch.tensor([[*source, IDS.eos]]))
    total, previous = 0.0, IDS.bos
    for piece in (*target, IDS.eos):
        logits, state = model.step(torch.tensor([previous]), state)
        total += float(logits[0].double().log_softmax(-1)[piece])
        previous = piece
    return total


def test_scores_are_the_sum_over_pieces_and_end_symbol(model: Transformer) -> None:
    expected = [by_steps(model, source, target) for source, target in PAIRS]
    assert score_pairs(model, collate(PAIRS)) == pytest.approx(expected, abs=1e-4)


def test_scores_do_not_depend_on_the_batch(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    together = score_pairs(model, collate(PAIRS))
    assert [score_pairs(model, collate([pair]))[0] for pair in PAIRS] == pytest.approx(together, abs=1e-4)
    monkeypatch.setattr(module, "_POSITIONS", 3)  # logits in chunks that end inside sentences
    assert score_pairs(model, collate(PAIRS)) == pytest.approx(together, abs=1e-4)


def test_the_first_piece_is_scored_too(model: Transformer) -> None:
    """log P(piece, end) - log P(end after piece) = log P(piece)."""
    source = torch.tensor([[5, 6, IDS.eos]])
    with torch.no_grad():
        logits, state = model.step(torch.tensor([IDS.bos]), model.start(source))
        for piece in (4, 17, 39):
            after, _ = model.step(torch.tensor([piece]), state)
            [whole] = score_pairs(model, collate([([5, 6], [piece])]))
            found = whole - float(after[0].log_softmax(-1)[IDS.eos])
            assert found == pytest.approx(float(logits[0].log_softmax(-1)[piece]), abs=1e-4)
