"""The training loop: batches in, progress out. Files, clocks and decoding are the caller's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol, final, runtime_checkable

import numpy as np
import torch
from torch import nn

from transduce.bundle import load_weights_into, unique_weights
from transduce.checkpoint import DevResult, Progress
from transduce.data.batching import Numbers, rank_share, split_rows, token_batches
from transduce.data.collate import Batch, collate
from transduce.data.shards import Corpus
from transduce.device import AskedPrecision, DeviceName, Precision, autocast
from transduce.errors import CheckpointError, ConfigError, TrainingError
from transduce.nn.dropout import seeded
from transduce.nn.loss import label_smoothed_nll, r_drop_nll
from transduce.nn.transformer import Transformer
from transduce.shapes import Tensor
from transduce.training.averaging import MovingAverage
from transduce.training.optimizer import Optimizer, OptimizerName, Resumable
from transduce.training.parallel import Cut, cut, in_lanes, set_gradients
from transduce.training.schedule import Schedule
from transduce.training.world import World


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchingConfig:
    """A batch holds at most `max_tokens` padded source tokens and as many target tokens (bounds memory); an update sums
    the gradients of `accumulate` batches (the paper's 25,000 tokens fit no small machine at once)."""

    max_tokens: int = 4096
    accumulate: int = 1

    def __post_init__(self) -> None:
        for name in ("max_tokens", "accumulate"):
            if getattr(self, name) < 1:
                raise ConfigError(f"batching.{name} = {getattr(self, name)}: must be at least 1.")

    @property
    def tokens(self) -> int:
        """Padded target tokens of an update, at most."""
        return self.max_tokens * self.accumulate


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """Section 5. `checkpoint_every` steps a checkpoint is written and the dev set measured.

    `minutes` = 0 sets no limit of time. `patience` = 0 never stops early; else that many validations without a better
    one end the run. `clip` = 0 leaves gradients alone; else it is the largest norm. `weight_decay` = 0 is off; else
    every update takes matrices times 1 - rate times it (`decay`). `average` is n, for the averages of the last and of
    the best n checkpoints. `r_drop` = 0 reads a batch once; else twice, with other dropout, and it is the weight of how
    far apart the predictions are (`r_drop_nll`). `optimizer` = "muon" is Adam for all but the layers' matrices
    (`Muon`). `learning_rate` is the peak for `inverse_sqrt` and `linear`; eq. 3 sets its own. `ema` = 0 validates and
    saves the weights as they are; else a moving average of them with this decay (`MovingAverage`).
    """

    max_steps: int = 100_000
    minutes: float = 0.0
    seed: int = 1
    checkpoint_every: int = 1000
    patience: int = 0
    precision: AskedPrecision = "auto"
    device: DeviceName = "auto"
    label_smoothing: float = 0.1
    optimizer: OptimizerName = "adam"
    schedule: Schedule = "noam"
    learning_rate: float = 0.0007
    warmup: int = 4000
    clip: float = 0.0
    weight_decay: float = 0.0
    average: int = 5
    r_drop: float = 0.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("max_steps", 1), ("checkpoint_every", 1), ("warmup", 1), ("average", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"training.{name} = {getattr(self, name)}: must be at least {least}.")
        if self.seed >= 2**63:
            raise ConfigError(f"training.seed = {self.seed}: must be below 2^63.")
        for name in ("minutes", "patience", "clip", "weight_decay", "r_drop"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(
                    f"training.{name} = {getattr(self, name)}: must be finite and not negative (0 switches it off)."
                )
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ConfigError(f"training.label_smoothing = {self.label_smoothing}: at least 0 and below 1.")
        if not 0.0 <= self.ema < 1.0:
            raise ConfigError(f"training.ema = {self.ema}: at least 0 (off) and below 1; 0.99 to 0.9999 is usual.")
        if not 0.0 < self.learning_rate < float("inf"):
            raise ConfigError(f"training.learning_rate = {self.learning_rate}: must be above 0 and finite.")
        if self.learning_rate * self.weight_decay >= 1:
            raise ConfigError(
                f"training.weight_decay = {self.weight_decay}: times the rate ({self.learning_rate}) it must be below "
                "1, for that share of a matrix is lost in an update; 0.01 to 1 is usual."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """One update. `loss` is nats per target piece, with smoothing and R-Drop; `target_tokens` were not padding."""

    step: int
    epoch: int
    loss: float
    learning_rate: float
    target_tokens: int


@runtime_checkable  # so that tests can check annotations at run time
class Listener(Protocol):
    """Who is told how training goes."""

    def stepped(self, result: StepResult) -> None:
        """After every update."""
        ...

    def validated(self, result: DevResult, progress: Progress) -> None:
        """After every validation."""
        ...


_TRAINED = "trained."  # weights as the optimizer left them, where a checkpoint's own are their average
Validate = Callable[[Transformer, int], DevResult]
Save = Callable[[Progress], None]


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of one step's dropout: a step needs no other memory of the random state, so a run can go on anywhere."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def train_step(
    model: Transformer,
    micro_batches: Sequence[Batch],
    optimizer: Optimizer,
    *,
    rate: float,
    eps_ls: float,
    clip: float,
    precision: Precision,
    seed: int = 0,
    r_drop: float = 0.0,
    lanes: Sequence[Transformer] = (),
    threads: int = 1,
) -> tuple[float, int]:
    """One update from several batches: the sum of their losses over the sum of their counts, differentiated once.

    Returns the loss per target piece and the number of pieces. When the loss or its gradient is not finite nothing is
    updated, and the loss returned is not finite either. Micro-batch i draws its dropout from (`seed`, i). With `r_drop`
    above 0, its loss is that of R-Drop. In `lanes`, which are `in_lanes(model, n)`, n of them are computed at once,
    with `threads` in all.
    """
    n_global = sum(batch.n_target_tokens for batch in micro_batches)

    def backward(lane: Transformer, number: int) -> Tensor:
        batch = micro_batches[number]
        target, weight = batch.target_out, lane.output_weight
        with autocast(precision, batch.source.device), seeded(step_seed(seed, number, 0)):
            if r_drop == 0:
                nll, _ = label_smoothed_nll(lane(batch.source, batch.target_in), weight, target, eps_ls, lane.pad)
            else:
                states = lane(batch.source.repeat(2, 1), batch.target_in.repeat(2, 1))
                nll, _ = r_drop_nll(states, weight, target, eps_ls, lane.pad, r_drop)
        torch.autograd.backward(nll / n_global)
        return nll.detach()

    sums = set_gradients(lanes or [model], len(micro_batches), backward, threads)
    loss = sum(map(float, sums)) / n_global
    norm = nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    if not bool(torch.isfinite(norm)):
        return float("nan"), n_global
    if np.isfinite(loss):
        if clip > 0:
            nn.utils.clip_grads_with_norm_(model.parameters(), clip, norm)
        optimizer.step(rate)
    return loss, n_global


@final
class Trainer:
    """Holds what a run needs and takes it from one `Progress` to the next."""

    def __init__(
        self,
        model: Transformer,
        optimizer: Optimizer,
        corpus: Corpus,
        rate: Callable[[int], float],
        batching: BatchingConfig,
        training: TrainingConfig,
        precision: Precision,
        world: World,
        threads: int = 1,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.corpus = corpus
        self.rate = rate
        self.batching = batching
        self.training = training
        self.precision: Precision = precision
        self.world = world
        self.threads = threads
        self.average = MovingAverage(model, training.ema) if training.ema > 0 else None
        on_cpu = world.device.type == "cpu"
        self.cut = cut(threads, batching.tokens, model.output_weight.shape[1]) if on_cpu else Cut(1, 1)
        self.lanes = in_lanes(model, self.cut.lanes)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What a checkpoint holds: the weights to validate and use, and what only going on needs, of a `Resumable`."""
        assert isinstance(self.optimizer, Resumable)
        weights, rest = unique_weights(self.model), self.optimizer.moments()
        if self.average is None:
            return weights, rest
        return self.average.weights, rest | {_TRAINED + name: weight for name, weight in weights.items()}

    def restore(self, weights: Mapping[str, Tensor], rest: Mapping[str, Tensor], step: int, where: object) -> None:
        """Put back what `state` gave after `step` updates; `where` it was saved is for messages.

        Raises:
            BundleError, CheckpointError: they are of another model, or some are missing.
        """
        assert isinstance(self.optimizer, Resumable)
        load_weights_into(self.model, weights, where)
        self.optimizer.restore(rest, step)
        if self.average is None:
            return
        self.average = MovingAverage(self.model, self.training.ema)
        trained = {name.removeprefix(_TRAINED): value for name, value in rest.items() if name.startswith(_TRAINED)}
        if trained.keys() != weights.keys():
            raise CheckpointError("The weights beside their average are missing. Start over with --fresh.")
        load_weights_into(self.model, trained, where)

    def epoch_batches(self, epoch: int) -> Sequence[Numbers]:
        """This rank's batches of one epoch, as pair numbers; they follow from (seed, epoch) alone."""
        pairs = self.corpus.of_epoch(epoch)
        batches = token_batches(
            pairs.source_lengths + 1,
            pairs.target_lengths + 1,
            max_tokens=self.batching.max_tokens,
            seed=self.training.seed,
            epoch=epoch,
        )
        return rank_share(batches, self.world.rank, self.world.size)

    def updates(self, progress: Progress) -> Iterator[tuple[Progress, list[Numbers]]]:
        """From `progress` on, for ever: the batches of each update, and the progress once it is done.

        Updates do not straddle epochs: the last of an epoch may have fewer batches.
        """
        k = self.batching.accumulate
        while True:
            batches = self.epoch_batches(progress.epoch)
            for first in range(progress.batch, len(batches), k):
                last = min(first + k, len(batches))
                at_end = last == len(batches)
                progress = replace(
                    progress,
                    step=progress.step + 1,
                    epoch=progress.epoch + at_end,
                    batch=0 if at_end else last,
                )
                yield progress, list(batches[first:last])

    def update(self, progress: Progress, numbers: Sequence[Numbers]) -> StepResult:
        """Do the update that leads to `progress`.

        Raises:
            TrainingError: the loss or the gradient is not finite; names step and pairs.
        """
        seed = step_seed(self.training.seed, progress.step, self.world.rank)
        torch.manual_seed(seed)
        self.model.train()
        parts = [part for n in numbers for part in split_rows(n, self.cut.of_each(len(numbers)))]
        epoch = self.corpus.of_epoch(progress.epoch_read)
        batches = [collate([epoch.pair(int(i)) for i in n]).to(self.world.device) for n in parts]
        rate = self.rate(progress.step)
        loss, n = train_step(
            self.model,
            batches,
            self.optimizer,
            rate=rate,
            eps_ls=self.training.label_smoothing,
            clip=self.training.clip,
            precision=self.precision,
            seed=seed,
            r_drop=self.training.r_drop,
            lanes=self.lanes,
            threads=self.threads,
        )
        if not np.isfinite(loss):
            pairs = ", ".join(str(int(i)) for i in islice((i for n in numbers for i in n), 8))
            clip = (
                f"lower training.clip ({self.training.clip:g} now)" if self.training.clip else "set training.clip = 1"
            )
            raise TrainingError(
                f"step {progress.step} (epoch {progress.epoch_read}): the loss or its gradient is not finite; the "
                f"batch holds pairs {pairs}, ... (numbers in data/train). Nothing was updated. Lower the learning rate "
                f"({rate:.2g} now), lengthen training.warmup, or {clip}, and begin anew with --fresh or another --out."
            )
        if self.average is not None:
            self.average.update(progress.step)
        return StepResult(step=progress.step, epoch=progress.epoch_read, loss=loss, learning_rate=rate, target_tokens=n)

    def run(
        self, progress: Progress, *, validate: Validate, save: Save, listener: Listener, stop: Callable[[], bool]
    ) -> Progress:
        """Train until steps or patience are used up, or `stop()` says so after a step; returns the last progress.

        `save` is called after every validation, and when stopped between two of them (then with `interim`).
        """
        if self.over(progress):
            return replace(progress, finished=True)
        for after, numbers in self.updates(progress):
            listener.stepped(self.update(after, numbers))
            progress = replace(after, interim=False, history=progress.history)
            due = progress.step % self.training.checkpoint_every == 0 or progress.step == self.training.max_steps
            if due:
                with nullcontext() if self.average is None else self.average.in_use():
                    result = validate(self.model, progress.step)
                progress = replace(progress, history=(*progress.history, result))
                listener.validated(result, progress)
                progress = replace(progress, finished=self.over(progress))
                save(progress)
                if progress.finished:
                    break
            if stop():
                if not due:
                    save(replace(progress, interim=True))
                break
        return progress

    def over(self, progress: Progress) -> bool:
        """Whether steps or patience are used up."""
        impatient = self.training.patience > 0 and progress.stale >= self.training.patience
        return impatient or progress.step >= self.training.max_steps
