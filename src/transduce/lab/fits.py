"""What curves of measurements say: exponents, straight lines, and where two of them cross."""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import linear_regression

TOLERANCE = 0.15  # between a fitted exponent and the paper's


def exponent(xs: Sequence[float], ys: Sequence[float]) -> float:
    """p of the best y = c x^p: least squares on logarithms."""
    return linear_regression([math.log(x) for x in xs], [math.log(y) for y in ys]).slope


def reaches_theory(xs: Sequence[int], ys: Sequence[float], theory: float) -> tuple[int, int] | None:
    """First and last x of the longest stretch over which y grows from point to point as x^theory, to `TOLERANCE`."""
    runs: list[list[int]] = [[]]
    for (x, y), (next_x, next_y) in pairwise(zip(xs, ys, strict=True)):
        if abs(exponent((x, next_x), (y, next_y)) - theory) <= TOLERANCE:
            runs[-1] += [next_x] if runs[-1] else [x, next_x]
        else:
            runs.append([])
    longest = max(runs, key=len)
    return (longest[0], longest[-1]) if longest else None


def line(points: dict[int, int]) -> tuple[int, int] | None:
    """Whole a and b of y = a + b x, if that is exactly true of every point."""
    (x0, y0), (x1, y1) = list(points.items())[:2]
    b, rest = divmod(y1 - y0, x1 - x0)
    a = y0 - b * x0
    return None if rest or any(y != a + b * x for x, y in points.items()) else (a, b)


def crossing(xs: Sequence[int], rising: Sequence[float], other: Sequence[float]) -> float:
    """The x above which `rising` is greater than `other`, interpolated between points on logarithmic axes.

    0 where it always is, infinity where it is not at the end.
    """
    ahead = [math.log(a / b) for a, b in zip(rising, other, strict=True)]
    if ahead[-1] <= 0:
        return math.inf
    below = [i for i, value in enumerate(ahead) if value <= 0]
    if not below:
        return 0.0
    i = below[-1]
    part = -ahead[i] / (ahead[i + 1] - ahead[i])
    return float(xs[i] * (xs[i + 1] / xs[i]) ** part)
