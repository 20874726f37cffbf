"""Counters over time: what the progress display and events.jsonl tell."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

from transduce.checkpoint import DevResult, Progress
from transduce.errors import cannot_write
from transduce.training.trainer import StepResult


@runtime_checkable  # so that tests can check annotations at run time
class Curves(Protocol):
    """The part of TensorBoard's `SummaryWriter` that is used."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """One point of one curve."""
        ...

    def flush(self) -> None:
        """Write what is waiting."""
        ...

    def close(self) -> None:
        """Write what is waiting, and end the thread that writes."""
        ...


@final
class Meter:
    """Loss and tokens per second over the steps since it was last read."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Begin a new interval now: for instance after a validation, whose time is nobody's speed."""
        self._start, self._loss, self._tokens, self._steps = self._clock(), 0.0, 0, 0

    def add(self, result: StepResult) -> None:
        """Count one step."""
        self._loss += result.loss * result.target_tokens
        self._tokens += result.target_tokens
        self._steps += 1

    @property
    def steps(self) -> int:
        """Steps in this interval."""
        return self._steps

    def read(self) -> tuple[float, float]:
        """Mean loss in nats per target piece, and target pieces per second."""
        seconds = max(self._clock() - self._start, 1e-9)
        return self._loss / max(self._tokens, 1), self._tokens / seconds


@final
class EventLog:
    """Appends to events.jsonl one object a line: every `every` steps, and each validation. The same numbers go to
    what `open_curves` returns, which is called at the first of them."""

    def __init__(self, path: Path, open_curves: Callable[[], Curves | None], every: int = 10) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)  # what cannot be written must not wait to fail again in `close`
        self._open_curves = open_curves
        self._every = every
        self._meter = Meter()

    def write(self, **event: Any) -> None:
        """One event, at once. Raises `SaveError` when the disk is full."""
        try:
            self._file.write((json.dumps(event, ensure_ascii=False) + "\n").encode())
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def stepped(self, result: StepResult) -> None:
        """Count a step; tell of it when enough have gathered."""
        self._meter.add(result)
        if result.step % self._every:
            return
        loss, speed = self._meter.read()
        self._meter.reset()
        rounded = {"loss": round(loss, 5), "lr": result.learning_rate, "tokens_per_second": round(speed, 1)}
        self.write(event="step", step=result.step, epoch=result.epoch, **rounded)
        self._curve(result.step, **rounded)

    def validated(self, result: DevResult, progress: Progress) -> None:
        """Tell of a validation."""
        self.write(event="dev", **asdict(result), best=progress.best == result)
        self._curve(result.step, **{"dev/loss": result.loss, f"dev/{result.metric}": result.score})
        self._meter.reset()

    def close(self) -> None:
        """Close the file, and the curves' if there are any."""
        self._file.close()
        curves = self.__dict__.get("_curves")  # asking for them would open them
        if curves is not None:
            curves.close()

    @cached_property
    def _curves(self) -> Curves | None:
        return self._open_curves()

    def _curve(self, step: int, **values: float) -> None:
        if self._curves is not None:
            for tag, value in values.items():
                self._curves.add_scalar(tag, value, step)
            self._curves.flush()
