"""The progress of a training run, on standard error."""

from types import TracebackType
from typing import Self, final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from transduce.checkpoint import DevResult
from transduce.checkpoint import Progress as RunProgress
from transduce.cli.console import err
from transduce.cli.preflight import show, show_plan
from transduce.config import RunConfig
from transduce.data.preflight import Preflight
from transduce.plan import Plan
from transduce.reporter import Reporter
from transduce.training.meters import Meter
from transduce.training.trainer import StepResult

_PAIRS = 100_000  # tokenised between two lines
_STEPS = 100  # between two lines of a log file


@final
class TrainingDisplay(Reporter):
    """A bar with loss, tokens per second and time left on a terminal; a line every now and then in a log file."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  {task.fields[speed]:,.0f} tokens/s  left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=err,
            disable=not err.is_terminal,
        )
        self._tokenised = 0
        self._meter = Meter()
        self._task: TaskID | None = None
        self._max_steps = 0
        self.updating = False
        """Whether updates are being made, which are saved when they are stopped."""
        self.has_begun = False
        """Whether updates are or were made."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """One line above the bar."""
        err.print(text, markup=False, soft_wrap=True)

    def surveyed(self, preflight: Preflight) -> None:
        """Show the preflight report."""
        show(preflight)

    def tokenised(self, pairs: int) -> None:
        """A line now and then."""
        if pairs >= self._tokenised + _PAIRS:
            self._tokenised = pairs
            self.say(f"  {pairs:,} pairs")

    def planned(self, plan: Plan) -> None:
        """Show the plan."""
        show_plan(plan)

    def begin(self, progress: RunProgress, config: RunConfig) -> None:
        """Start the bar where the run is."""
        if progress.step:
            self.say(f"continuing at step {progress.step}")
        self._max_steps = config.training.max_steps
        self._task = self._bar.add_task("training", total=self._max_steps, completed=progress.step, loss=0.0, speed=0.0)
        self._bar.start()
        self._meter.reset()
        self.updating = self.has_begun = True

    def trained(self) -> None:
        """A stop need not wait for anything any more."""
        self.updating = False

    def stepped(self, result: StepResult) -> None:
        """Move the bar; write a line where there is no bar."""
        self._meter.add(result)
        loss, speed = self._meter.read()
        if self._task is not None:
            self._bar.update(self._task, completed=result.step, loss=loss, speed=speed)
        if self._meter.steps >= _STEPS:
            if not err.is_terminal:
                left = f"step {result.step}/{self._max_steps}  epoch {result.epoch + 1}"
                self.say(f"{left}  loss {loss:.3f}  {speed:,.0f} tokens/s  rate {result.learning_rate:.2e}")
            self._meter.reset()

    def validated(self, result: DevResult, progress: RunProgress) -> None:
        """Tell of a validation."""
        mark = " (best)" if progress.best == result else ""
        self.say(f"step {result.step}: dev loss {result.loss:.4f}, dev {result.metric} {result.score:.2f}{mark}")
        self._meter.reset()
