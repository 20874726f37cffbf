"""A tiny Transformer learns to copy and to reverse, to the last symbol of sequences that it has not seen."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.tiny import Witness, make_corpus, make_trainer, sequences, tokenizers
from transduce.checkpoint import Progress
from transduce.data.collate import pad_rows
from transduce.decoding.beam import BeamConfig, beam_search
from transduce.nn.sublayer import Norm
from transduce.nn.transformer import Transformer, TransformerConfig
from transduce.text.pieces import IDS
from transduce.training.trainer import BatchingConfig, TrainingConfig

pytestmark = pytest.mark.learn

LONGEST = 6
CONFIG = TransformerConfig(n_layers=2, d_model=32, d_ff=64, n_heads=4, d_k=8, d_v=8, p_drop=0.0)
TRAINING = TrainingConfig(max_steps=400, checkpoint_every=400, warmup=80, label_smoothing=0.0)


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


@pytest.mark.parametrize("task", [copy, reverse])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_it_learns(tmp_path: Path, task: object, norm: Norm) -> None:
    function = copy if task is copy else reverse
    unseen = sorted(set(sequences(200, LONGEST, seed=2)))
    seen = [text for text in sequences(3000, LONGEST, seed=1) if text not in unseen]
    corpus = make_corpus(tmp_path / "train", [(text, function(text)) for text in seen])
    trainer = make_trainer(
        corpus,
        config=replace(CONFIG, norm=norm),
        training=TRAINING,
        batching=BatchingConfig(max_tokens=600, accumulate=1),
        rate=lambda step: 0.005 * min(step / 80, (80 / step) ** 0.5),
    )
    Witness().train(trainer, Progress())
    assert outputs(trainer.model, unseen) == [function(text) for text in unseen]
