"""What a run told."""

from dataclasses import dataclass, field

from transduce.data.preflight import Preflight
from transduce.plan import Plan
from transduce.reporter import Reporter
from transduce.training.trainer import StepResult


@dataclass
class Heard(Reporter):
    """A reporter that remembers."""

    lines: list[str] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    preflights: list[Preflight] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    tokenised_pairs: list[int] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.lines.append(text)

    def surveyed(self, preflight: Preflight) -> None:
        self.preflights.append(preflight)

    def tokenised(self, pairs: int) -> None:
        self.tokenised_pairs.append(pairs)

    def planned(self, plan: Plan) -> None:
        self.plans.append(plan)

    def stepped(self, result: StepResult) -> None:
        self.steps.append(result.step)
