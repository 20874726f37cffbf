"""Who is told how a run goes."""

from transduce.checkpoint import DevResult, Progress
from transduce.config import RunConfig
from transduce.data.preflight import Preflight
from transduce.plan import Plan
from transduce.training.trainer import StepResult


class Reporter:
    """Who is told how a run goes. This one tells nobody; the command line's display is a subclass."""

    def say(self, text: str) -> None:
        """One line for a person."""

    def surveyed(self, preflight: Preflight) -> None:
        """The data was prepared: what it is like, and what was left out."""

    def tokenised(self, pairs: int) -> None:
        """So many training pairs have been cut into pieces."""

    def planned(self, plan: Plan) -> None:
        """What will be trained, and what it takes on this machine."""

    def begin(self, progress: Progress, config: RunConfig) -> None:
        """Training starts or goes on from `progress`."""

    def stepped(self, result: StepResult) -> None:
        """After every update."""

    def trained(self) -> None:
        """No further update is made; what comes then can be done again."""

    def validated(self, result: DevResult, progress: Progress) -> None:
        """After every validation."""
