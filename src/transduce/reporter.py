"""Who is told how a run goes."""

from typing import Protocol, final, runtime_checkable

from transduce.checkpoint import DevResult, Progress
from transduce.config import RunConfig
from transduce.data.preflight import Preflight
from transduce.plan import Plan
from transduce.training.trainer import StepResult


@runtime_checkable  # so that tests can check annotations at run time
class Reporter(Protocol):
    """Who is told how a run goes: the command line's progress display, or nobody."""

    def say(self, text: str) -> None:
        """One line for a person."""
        ...

    def surveyed(self, preflight: Preflight) -> None:
        """The data was prepared: what it is like, and what was left out."""
        ...

    def planned(self, plan: Plan) -> None:
        """What will be trained, and what it takes on this machine."""
        ...

    def begin(self, progress: Progress, config: RunConfig) -> None:
        """Training starts or goes on from `progress`."""
        ...

    def stepped(self, result: StepResult) -> None:
        """After every update."""
        ...

    def validated(self, result: DevResult, progress: Progress) -> None:
        """After every validation."""
        ...


@final
class Quiet:
    """A reporter that tells nobody."""

    def say(self, text: str) -> None:
        """Nothing."""

    def surveyed(self, preflight: Preflight) -> None:
        """Nothing."""

    def planned(self, plan: Plan) -> None:
        """Nothing."""

    def begin(self, progress: Progress, config: RunConfig) -> None:
        """Nothing."""

    def stepped(self, result: StepResult) -> None:
        """Nothing."""

    def validated(self, result: DevResult, progress: Progress) -> None:
        """Nothing."""
