"""Learning rates, section 5.3. Pure functions of the step, which counts updates from 1."""

from collections.abc import Callable
from typing import Literal

Schedule = Literal["noam", "inverse_sqrt", "linear"]


def noam(step: int, d_model: int, warmup: int) -> float:
    """Eq. 3: d_model^-0.5 * min(step^-0.5, step * warmup^-1.5)."""
    return float(d_model**-0.5 * min(step**-0.5, step * warmup**-1.5))


def inverse_sqrt(step: int, peak: float, warmup: int) -> float:
    """Linear to `peak` over `warmup` steps, then falling with the square root of the step.

    Differs: eq. 3 with its height set by hand; eq. 3 is the case peak = (d_model * warmup)^-0.5."""
    return float(peak * min(step / warmup, (warmup / step) ** 0.5))


def linear(step: int, peak: float, warmup: int, steps: int) -> float:
    """Linear to `peak` over `warmup` steps, then linear down to the last of `steps`, after which it would be 0.

    Differs: eq. 3 falls for ever and never reaches 0: it needs no number of steps, and an average of checkpoints
    instead (Bergsma et al. 2025 compare the two)."""
    return float(peak * min(step / warmup, max(0, steps + 1 - step) / (steps + 1 - min(warmup, steps))))


def learning_rate(schedule: Schedule, *, d_model: int, peak: float, warmup: int, steps: int) -> Callable[[int], float]:
    """The function of the step that `schedule` names. Eq. 3 sets its own `peak`; `steps`, all, are for `linear`."""
    match schedule:
        case "noam":
            return lambda step: noam(step, d_model, warmup)
        case "inverse_sqrt":
            return lambda step: inverse_sqrt(step, peak, warmup)
        case "linear":
            return lambda step: linear(step, peak, warmup, steps)
