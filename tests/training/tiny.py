"""A tiny corpus and trainers of tiny models on it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transduce.bundle import unique_weights
from transduce.checkpoint import (
    DevResult,
    Progress,
    load_optimizer,
    load_progress,
    load_weights,
    save_checkpoint,
    saved_steps,
)
from transduce.data.shards import TokenisedCorpus, write_shards
from transduce.device import Precision
from transduce.nn.transformer import Transformer, TransformerConfig, build
from transduce.text.pieces import IDS
from transduce.text.tokenizer import Tokenizer, TokenizerPair
from transduce.training.optimizer import Resumable, build_optimizer
from transduce.training.schedule import noam
from transduce.training.trainer import BatchingConfig, StepResult, Trainer, TrainingConfig
from transduce.training.world import World

CPU = torch.device("cpu")
SYMBOLS = "abcdefgh"
TINY = TransformerConfig(n_layers=1, d_model=16, d_ff=24, n_heads=2, d_k=8, d_v=8, p_drop=0.2)
TRAINING = TrainingConfig(max_steps=11, checkpoint_every=4, seed=3, warmup=4)


def tokenizers() -> TokenizerPair:
    one = Tokenizer.train([" ".join(SYMBOLS)], "words", 40, pretokenised=True)
    return TokenizerPair(one, one)


def sequences(n: int, longest: int, seed: int) -> list[str]:
    chosen = random.Random(seed)
    return [" ".join(chosen.choices(SYMBOLS, k=chosen.randint(1, longest))) for _ in range(n)]


def make_corpus(folder: Path, pairs: list[tuple[str, str]]) -> TokenisedCorpus:
    write_shards(enumerate(pairs, start=1), tokenizers(), folder, max_length=99)
    return TokenisedCorpus.open(folder)


def copying_corpus(folder: Path, n: int = 60, longest: int = 7) -> TokenisedCorpus:
    return make_corpus(folder, [(text, text) for text in sequences(n, longest, seed=1)])


def make_trainer(
    corpus: TokenisedCorpus,
    *,
    config: TransformerConfig = TINY,
    training: TrainingConfig = TRAINING,
    batching: BatchingConfig | None = None,
    precision: Precision = "fp32",
    rate: Callable[[int], float] | None = None,
) -> Trainer:
    torch.manual_seed(training.seed)
    size = tokenizers().source.size
    model = build(config, size, size, IDS.pad)
    return Trainer(
        model,
        build_optimizer(training.optimizer, model),
        corpus,
        rate or (lambda step: noam(step, config.d_model, training.warmup)),
        batching or BatchingConfig(max_tokens=40, accumulate=2),
        training,
        precision,
        World(device=CPU),
    )


@dataclass
class Witness:
    """A listener that remembers, a validation by a list of scores, and a place that checkpoints go to."""

    run: Path | None = None
    scores: list[float] = field(default_factory=list)
    steps: list[StepResult] = field(default_factory=list)
    validations: list[DevResult] = field(default_factory=list)
    saved: list[Progress] = field(default_factory=list)

    def stepped(self, result: StepResult) -> None:
        self.steps.append(result)

    def validated(self, result: DevResult, progress: Progress) -> None:
        assert progress.history[-1] == result
        self.validations.append(result)

    def validate(self, model: Transformer, step: int) -> DevResult:
        """Scores rise with the step unless given; draws random numbers and changes the mode, as a real one may."""
        torch.rand(step)
        model.eval()
        score = self.scores.pop(0) if self.scores else float(step)
        return DevResult(step=step, loss=1.0, metric="bleu", score=score, higher_is_better=True)

    def train(self, trainer: Trainer, progress: Progress, stop_at: int = 0) -> Progress:
        def save(after: Progress) -> None:
            self.saved.append(after)
            if self.run is not None:
                save_checkpoint(self.run, after, *trainer.state())

        def stop() -> bool:
            return self.steps[-1].step == stop_at

        return trainer.run(progress, validate=self.validate, save=save, listener=self, stop=stop)


def restore(run: Path, trainer: Trainer) -> Progress:
    """Bring a new trainer to the last checkpoint on disk."""
    step = saved_steps(run)[-1]
    trainer.restore(load_weights(run, step), load_optimizer(run, step), step, run)
    return load_progress(run, step)


def everything(trainer: Trainer) -> dict[str, Tensor]:
    """Weights and moments, to be compared bit by bit."""
    assert isinstance(trainer.optimizer, Resumable)
    parts: dict[str, Tensor] = unique_weights(trainer.model) | trainer.optimizer.moments()
    if trainer.average is not None:
        parts |= {f"average.{name}": value for name, value in trainer.average.weights.items()}
    return {name: value.clone() for name, value in parts.items()}


def same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def with_training(**changes: Any) -> TrainingConfig:
    return replace(TRAINING, **changes)
