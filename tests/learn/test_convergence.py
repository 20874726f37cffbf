"""The fast training step learns as the plain one does: the formulas as they stand in the paper, PyTorch's own Adam.

In float32 up to rounding; in bf16 as closely as its eight bits allow.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import pytest
import torch
from torch import Tensor, nn

from tests.training.tiny import TINY, TRAINING, copying_corpus, tokenizers
from transduce.checkpoint import Progress
from transduce.data.collate import collate
from transduce.data.shards import TokenisedCorpus
from transduce.device import Precision
from transduce.nn import attention
from transduce.nn.attention import KeyValue, MultiHeadAttention, split_heads
from transduce.nn.dropout import Dropout
from transduce.nn.loss import reference_nll
from transduce.nn.transformer import Transformer, build
from transduce.text.pieces import IDS
from transduce.training.optimizer import Adam
from transduce.training.parallel import Cut
from transduce.training.schedule import noam
from transduce.training.trainer import BatchingConfig, Trainer
from transduce.training.world import World

pytestmark = pytest.mark.learn

STEPS = 60
LAST = 15  # whose mean loss counts
ALIKE = 30  # updates, before differences of rounding have grown
EPS_LS = 0.1


@pytest.fixture
def corpus(tmp_path: Path) -> TokenisedCorpus:
    return copying_corpus(tmp_path / "data", n=200)


def begin(p_drop: float, seed: int) -> Transformer:
    torch.manual_seed(seed)
    size = tokenizers().source.size
    return build(replace(TINY, d_model=32, d_ff=64, d_k=16, d_v=16, p_drop=p_drop), size, size, IDS.pad)


def rate(step: int) -> float:
    return noam(step, 32, 40)


def trainer(
    corpus: TokenisedCorpus, model: Transformer, seed: int, lanes: int, precision: Precision = "fp32"
) -> Trainer:
    training = replace(TRAINING, seed=seed, label_smoothing=EPS_LS)
    world, batching = World(device=torch.device("cpu")), BatchingConfig(max_tokens=200)
    made = Trainer(model, Adam(model), corpus, rate, batching, training, precision, world, lanes)
    made.cut = Cut(lanes, lanes)
    return made


def fast(
    corpus: TokenisedCorpus, p_drop: float, seed: int, lanes: int = 2, precision: Precision = "fp32"
) -> list[float]:
    """The losses of `STEPS` updates as `transduce train` makes them."""
    t = trainer(corpus, begin(p_drop, seed), seed, lanes, precision)
    updates = t.updates(Progress())
    return [t.update(*next(updates)).loss for _ in range(STEPS)]


def plain(corpus: TokenisedCorpus, p_drop: float, seed: int) -> list[float]:
    """The same with nothing that is only there for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "scaled_dot_product_attention", eq_1)
        patch.setattr(MultiHeadAttention, "_project", apart)
        patch.setattr(Dropout, "forward", lambda self, x: nn.functional.dropout(x, self.p, self.training))
        model = begin(p_drop, seed).train()
        optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), eps=1e-9)
        updates, losses = trainer(corpus, model, seed, lanes=1).updates(Progress()), []
        for step in range(1, STEPS + 1):
            _, (numbers,) = next(updates)
            batch = collate([corpus.pair(int(i)) for i in numbers])
            states = model(batch.source, batch.target_in)
            nll, n = reference_nll(states, model.output_weight, batch.target_out, EPS_LS, IDS.pad)
            optimizer.param_groups[0]["lr"] = rate(step)
            optimizer.zero_grad()
            torch.autograd.backward(nll / n)
            optimizer.step()
            losses.append(float(nll.detach()) / n)
        return losses


def eq_1(q: Tensor, kv: KeyValue, mask: Tensor | None, dropout: Dropout | None = None) -> tuple[Tensor, Tensor]:
    scores = q @ kv.k.transpose(-2, -1) / q.shape[-1] ** 0.5
    weights = (scores if mask is None else scores.masked_fill(~mask[:, None], -torch.inf)).softmax(-1)
    return weights @ kv.v, weights


def apart(self: MultiHeadAttention, x: Tensor, projections: Sequence[nn.Linear]) -> list[Tensor]:
    return [split_heads(projection(x), self.n_heads) for projection in projections]


def test_without_dropout_the_curves_are_one(corpus: TokenisedCorpus) -> None:
    expected = plain(corpus, 0.0, seed=1)
    for lanes in (1, 2):
        ours = fast(corpus, 0.0, seed=1, lanes=lanes)
        assert ours[:ALIKE] == pytest.approx(expected[:ALIKE], rel=2e-3)
        assert mean(ours[-LAST:]) == pytest.approx(mean(expected[-LAST:]), rel=0.05)
    rounded = fast(corpus, 0.0, seed=1, precision="bf16")
    assert rounded != ours
    assert rounded[:ALIKE] == pytest.approx(expected[:ALIKE], rel=2e-2)
    assert mean(rounded[-LAST:]) == pytest.approx(mean(expected[-LAST:]), rel=0.05)
    assert mean(expected[-LAST:]) < 0.8 * mean(expected[:LAST])  # something was learned


def test_with_dropout_they_differ_as_seeds_do(corpus: TokenisedCorpus) -> None:
    seeds = (1, 2, 3)
    ours, theirs = ([mean(run(corpus, 0.2, seed)[-LAST:]) for seed in seeds] for run in (fast, plain))
    noise = (stdev(ours) ** 2 + stdev(theirs) ** 2) ** 0.5
    assert ours != theirs  # their masks are others
    assert abs(mean(ours) - mean(theirs)) < 2 * noise
    assert noise < 0.1 * mean(theirs)  # or the line above would say nothing
