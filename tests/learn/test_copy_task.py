"""A tiny Transformer learns to copy and to reverse, to the last symbol of sequences that it has not seen."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.tiny import SYMBOLS, Witness, make_corpus, make_trainer, tokenizers
from transduce.checkpoint import Progress
from transduce.data.collate import pad_rows
from transduce.decoding.beam import BeamConfig, beam_search
from transduce.nn.sublayer import Norm
from transduce.nn.transformer import Transformer, TransformerConfig
from transduce.text.pieces import IDS
from transduce.training.trainer import BatchingConfig, TrainingConfig

pytestmark = pytest.mark.learn

LONGEST, STEPS, WARMUP = 5, 450, 60
CONFIG = TransformerConfig(n_layers=1, d_model=64, d_ff=64, n_heads=2, d_k=32, d_v=32, p_drop=0.0)
TRAINING = TrainingConfig(max_steps=STEPS, checkpoint_every=STEPS, label_smoothing=0.0)


def rate(step: int) -> float:
    """Up, then down to zero: the shortest way to the last percent."""
    return 0.005 * min(step / WARMUP, (STEPS + 1 - step) / (STEPS + 1 - WARMUP))


def sequences(n: int, seed: int) -> list[str]:
    """Of different symbols: with repetitions the last percent takes twice as long."""
    chosen = random.Random(seed)
    return [" ".join(chosen.sample(SYMBOLS, chosen.randint(1, LONGEST))) for _ in range(n)]


def reverse(text: str) -> str:
    return " ".join(reversed(text.split()))


def copy(text: str) -> str:
    return text


def outputs(model: Transformer, texts: list[str]) -> list[str]:
    """Greedy, step by step."""
    one = tokenizers().target
    source = pad_rows([one.encode(text) for text in texts], after=(IDS.eos,))
    limits = [LONGEST + 3] * len(texts)
    with torch.inference_mode():
        found = beam_search(model.step, model.eval().start(source), limits, config=BeamConfig(beam=1), ids=IDS)
    return [one.decode(best[0].ids) for best in found]


@pytest.mark.parametrize(
    ("norm", "task"),
    [
        ("post", reverse),
        pytest.param("post", copy, marks=pytest.mark.slow),
        pytest.param("pre", reverse, marks=pytest.mark.slow),
    ],
)
def test_it_learns(tmp_path: Path, norm: Norm, task: Callable[[str], str]) -> None:
    unseen = {text for text in sequences(300, seed=2) if len(text.split()) > 3}
    seen = [text for text in sequences(12_000, seed=1) if text not in unseen]
    trainer = make_trainer(
        make_corpus(tmp_path / "train", [(text, task(text)) for text in seen]),
        config=replace(CONFIG, norm=norm),
        training=TRAINING,
        batching=BatchingConfig(max_tokens=300),
        rate=rate,
    )
    Witness().train(trainer, Progress())
    assert len(unseen) > 100
    assert outputs(trainer.model, sorted(unseen)) == [task(text) for text in sorted(unseen)]
