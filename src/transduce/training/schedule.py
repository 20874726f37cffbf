"""Learning rates, section 5.3. Pure functions of the step, which counts updates from 1."""

from collections.abc import Callable
from typing import Literal

Schedule = Literal["noam", "inverse_sqrt"]


def noam(step: int, d_model: int, warmup: int) -> float:
    """Eq. 3: d_model^-0.5 * min(step^-0.5, step * warmup^-1.5)."""
    return float(d_model**-0.5 * min(step**-0.5, step * warmup**-1.5))


def inverse_sqrt(step: int, peak: float, warmup: int) -> float:
    """Linear to `peak` over `warmup` steps, then falling with the square root of the step.

    Differs: eq. 3 with its height set by hand; eq. 3 is the case peak = (d_model * warmup)^-0.5."""
    return float(peak * min(step / warmup, (warmup / step) ** 0.5))


def learning_rate(schedule: Schedule, *, d_model: int, peak: float, warmup: int) -> Callable[[int], float]:
    """The function of the step that `schedule` names. `peak` is for `inverse_sqrt`; eq. 3 sets its own."""
    match schedule:
        case "noam":
            return lambda step: noam(step, d_model, warmup)
        case "inverse_sqrt":
            return lambda step: inverse_sqrt(step, peak, warmup)
