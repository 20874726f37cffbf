"""The plan of a run: what will be trained, how long it takes on this machine, how much memory, and what for.

Pure. `decide` measures or predicts the times and saves the plan with the preflight report; the command line prints it.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from transduce.config import RunConfig
from transduce.cost import COPIES, Work, count, trained_on, training_memory, update_seconds, validation_seconds
from transduce.data.prepare import Prepared
from transduce.device import Precision
from transduce.interop.rules import Format, refusals
from transduce.machine import Machine
from transduce.rundir import Chosen
from transduce.sizes import parameters
from transduce.text.tokenizer import Kind
from transduce.training.trainer import TrainingConfig

VALIDATIONS = 20  # in a run that only minutes limit, at most
SHARE = 0.25  # of the minutes for them and for choosing the model, at most, unless one alone takes more
# Updates: 29,000 captions had 15 BLEU after so many of 2,048 tokens, 25 after twice as many (docs/quality.md).
FEW = 500
DECODED = 2  # validations that a candidate for the final model takes: it is decoded with a beam
ALPHAS = 2  # candidates that trying several length penalties takes: 1.65 for three (docs/quality.md)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Seconds of an update and of a validation: measured by doing some, or predicted by the cost model."""

    update: float
    validation: float
    measured: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """`refused` has for each format of other programs the reasons why it cannot hold the model; none where it can.

    `timing` is None where nobody can predict it: on another device than the processor. `memory` is bytes of the process
    at its peak; 0 where that cannot be predicted. `patience` may end a run before `updates`.
    """

    kinds: tuple[Kind, Kind]
    source_pieces: int
    target_pieces: int
    n_layers: int
    d_model: int
    layer: str
    parameters: int
    pairs: int
    updates: int
    passes: float
    target_pieces_an_update: float
    checkpoint_every: int
    average: int
    alphas: bool
    patience: int
    precision: str
    device: str
    threads: int
    timing: Timing | None
    memory: int
    refused: dict[Format, list[str]]

    @property
    def too_short(self) -> bool:
        """Whether a model of text will hardly have begun to learn."""
        return self.kinds[1] in ("bpe", "unigram") and self.updates < FEW

    @property
    def training_seconds(self) -> float:
        """All updates; 0 without a `timing`."""
        return 0.0 if self.timing is None else self.updates * self.timing.update

    @property
    def validation_seconds(self) -> float:
        """All validations, and choosing the model."""
        number = -(-self.updates // self.checkpoint_every)
        taken = number + choosing(number, self.average, self.alphas)
        return 0.0 if self.timing is None else taken * self.timing.validation

    @property
    def seconds(self) -> float:
        """All of the run, without preparing the data."""
        return self.training_seconds + self.validation_seconds

    @property
    def target_pieces_a_second(self) -> float:
        """While it trains; 0 without a `timing`."""
        return 0.0 if self.timing is None else self.target_pieces_an_update / self.timing.update


def to_values(plan: Plan) -> dict[str, Any]:
    """Plain values for JSON."""
    times = ("seconds", "training_seconds", "validation_seconds", "target_pieces_a_second")
    return asdict(plan) | {name: getattr(plan, name) for name in times}


def choosing(validations: int, average: int, alphas: bool) -> int:
    """What choosing the final model costs after so many validations, in validations: its candidates are the average of
    the last `average` checkpoints, that of the best, and the best alone; those that are the same count once. `alphas`:
    whether one of them is tried with other length penalties."""
    candidates = 1 if validations == 1 else 2 if validations <= average else 3
    return DECODED * (candidates + ALPHAS * alphas)


def fit(training: TrainingConfig, timing: Timing, alphas: bool) -> tuple[int, int, float]:
    """How many updates fit into `training.minutes`, how often to validate, and the seconds of an update with its share
    of everything else. `alphas`: whether other length penalties are tried at the end."""
    seconds, average = training.minutes * 60, training.average
    every = training.checkpoint_every
    if training.max_steps * timing.update > seconds:  # only then do minutes decide
        numbers = range(VALIDATIONS, 1, -1)
        paid = SHARE * seconds / timing.validation
        number = next((n for n in numbers if n + choosing(n, average, alphas) <= paid), 1)
        left = seconds - (number + choosing(number, average, alphas)) * timing.validation
        every = min(every, max(1, math.ceil(left / timing.update / number)))
    for taken in (choosing(validations, average, alphas) for validations in (1, average, average + 1)):
        left = seconds - taken * timing.validation
        fitting = max(1, int(left / (timing.update + timing.validation / every)))
        if choosing(-(-fitting // every), average, alphas) <= taken:
            break
    steps = min(training.max_steps, fitting)
    paid_each = seconds / fitting if left > 0 else timing.update + timing.validation / every
    return steps, min(every, steps), paid_each


def predict(
    config: RunConfig, precision: Precision, prepared: Prepared, machine: Machine, work: Work, scored: int
) -> Timing:
    """The times of the cost model for updates that are `work`, where `machine` is what a lane of it has; `scored` pairs
    are those of the dev loss."""
    sides = prepared.tokenizers
    sizes = sides.source.size, sides.target.size
    done, t = trained_on(work, config.training), config.training
    update = update_seconds(count(config.model, *sizes, done, t.optimizer), machine, precision)
    once = update_seconds(count(config.model, *sizes, work), machine, precision)
    decoded = min(len(prepared.dev), config.evaluation.sentences)
    validation = validation_seconds(once, work, scored=scored, decoded=decoded)
    return Timing(update=update, validation=validation, measured=False)


def make_plan(
    config: RunConfig, chosen: Chosen, prepared: Prepared, timing: Timing | None, work: Work, base: int, peak: int
) -> Plan:
    """What is going to happen in updates that are `work`; `base` is the memory of the process without the training,
    `peak` what it held so far."""
    c, first, tokenizers = config.model, prepared.epochs.of_epoch(0), prepared.tokenizers
    sizes = tokenizers.source.size, tokenizers.target.size
    copies = COPIES + (config.training.ema > 0)
    held = training_memory(c, *sizes, trained_on(work, config.training), chosen.precision, base, copies)
    memory = max(peak, held) if chosen.device == "cpu" else 0
    return Plan(
        kinds=(config.tokenizer.source, config.tokenizer.target),
        source_pieces=sizes[0],
        target_pieces=sizes[1],
        n_layers=c.n_layers,
        d_model=c.d_model,
        layer=c.layer.kind,
        parameters=parameters(c, *sizes),
        pairs=len(first),
        updates=chosen.max_steps,
        passes=chosen.max_steps / work.updates,
        target_pieces_an_update=int(first.target_lengths.sum() + len(first)) / work.updates,
        checkpoint_every=chosen.checkpoint_every,
        average=config.training.average,
        alphas=bool(config.evaluation.alphas),
        patience=config.training.patience,
        precision=chosen.precision,
        device=chosen.device,
        threads=chosen.threads,
        timing=timing,
        memory=memory,
        refused=refusals(c, joint=tokenizers.joint, tagged=bool(config.data.known_tags)),
    )
