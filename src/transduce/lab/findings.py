"""What the measurements of Table 1 say: exponents, chains, paths, crossings, and where the time goes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from transduce.lab.cells import Measured, Result
from transduce.lab.costs import Settings
from transduce.lab.fits import TOLERANCE, crossing, exponent, line, reaches_theory
from transduce.lab.rivals import RIVALS, path_length, sized
from transduce.nn.convolution import Convolution

FITTED = 3  # points: exponents are those of the largest
PARTNERS = {"self-attention (layer)": "self-attention (mixing)", "restricted (layer)": "restricted (mixing)"}
ATTENTION = ("self-attention (mixing)", "self-attention (layer)")
RECURRENT = ("LSTM", "GRU")


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured, to be asked for by place."""

    settings: Settings
    threads: int
    measured: Measured

    def at(self, name: str, n: int, d: int, w: int | None = None, batch: int = 1, threads: int = 1) -> Result:
        """The cost of a layer type at one place of the grid."""
        size = self.settings.size(RIVALS[name]) if w is None else w
        asked = {"rival": name, "n": n, "d": d, "w": size, "batch": batch, "threads": threads}
        return next(r for c, r in self.measured if c["what"] == "cost" and asked.items() <= c.items())

    def sweep(self, name: str, variable: str, d: int | None = None) -> tuple[tuple[int, ...], list[Result]]:
        """The values of `variable` (n, d or w) that were swept, and the costs there."""
        s = self.settings
        match variable:
            case "n":
                return s.lengths, [self.at(name, n, d or s.at_widths[0]) for n in s.lengths]
            case "d":
                return s.widths, [self.at(name, s.at_length, d) for d in s.widths]
            case _:
                return s.sizes, [self.at(name, s.at_length, s.at_widths[0], w) for w in s.sizes]

    def machine(self) -> Result:
        """What the machine can do at best."""
        return next(r for c, r in self.measured if c["what"] == "machine")

    def reach(self, name: str, n: int) -> list[int]:
        """`rivals.reach`."""
        return next(r["reach"] for c, r in self.measured if c["what"] == "path" and (c["rival"], c["n"]) == (name, n))

    def seconds(self, *kinds: str) -> float:
        """What cells of these kinds took to measure."""
        return sum(float(r["seconds"]) for c, r in self.measured if c["what"] in kinds)


def flops(result: Result) -> float:
    """Counted, forward and backward."""
    return float(result["both"]["flops"])


def time_forward(result: Result) -> float:
    """Seconds of a forward pass without a graph."""
    return float(result["seconds_forward"])


def time_both(result: Result) -> float:
    """Seconds of forward and backward."""
    return float(result["seconds_both"])


def speed(result: Result) -> float:
    """Achieved, in GFLOP/s, forward and backward."""
    return flops(result) / time_both(result) / 1e9


@dataclass(frozen=True, slots=True)
class Fit:
    """Exponents of one layer type in one variable."""

    name: str
    variable: str
    theory: int
    counted: float
    timed: float
    reached: tuple[int, int] | None
    why_counted: str
    why_timed: str


def fits(costs: Costs) -> Iterator[Fit]:
    """Of every layer type, in n, d and k or r; where one is not the paper's, why."""
    for name, rival in RIVALS.items():
        for variable, theory in (("n", rival.n), ("d", rival.d), ("w", rival.w)):
            if theory:
                yield _fit(costs, name, variable, theory)


def _fit(costs: Costs, name: str, variable: str, theory: int) -> Fit:
    xs, results = costs.sweep(name, variable)
    last_xs, last = xs[-FITTED:], results[-FITTED:]
    counted, timed = (exponent(last_xs, [what(r) for r in last]) for what in (flops, time_both))
    why_counted = why_timed = ""
    if abs(counted - theory) > TOLERANCE:
        why_counted = _lower_terms(costs, name, variable)
    if abs(timed - theory) > TOLERANCE:
        why_timed = f"{speed(last[0]):.2g} to {speed(last[-1]):.2g} GFLOP/s from {last_xs[0]} to {last_xs[-1]}"
    reached = reaches_theory(xs, [flops(r) for r in results], theory)
    return Fit(name, variable, theory, counted, timed, reached, why_counted, why_timed)


def _lower_terms(costs: Costs, name: str, variable: str) -> str:
    if name not in PARTNERS:
        return "terms of lower order"
    (xs, whole), (_, alone) = (costs.sweep(one, variable) for one in (name, PARTNERS[name]))
    return f"{1 - flops(alone[-1]) / flops(whole[-1]):.0%} of the operations at {xs[-1]} are the projections, n d²"


def letter_of(name: str, variable: str) -> str:
    """How the paper writes `variable`: w is k of a convolution, r of restricted attention."""
    return {"w": "k" if isinstance(RIVALS[name].layer, Convolution) else "r"}.get(variable, variable)


def chains(costs: Costs, name: str, which: str) -> list[tuple[int, int] | None]:
    """For each width, a and b when the longest chain has exactly a + b n operations at every length; None otherwise."""
    return [
        line({n: int(r[which]["chain"]) for n, r in zip(*costs.sweep(name, "n", d), strict=True)})
        for d in costs.settings.at_widths
    ]


def sequence_is_exact(costs: Costs, name: str) -> bool:
    """O(1) or O(n), exactly: at every width a line in n, flat but for recurrence. Several heads want one more copy."""
    found = [ab for which in ("forward", "both") for ab in chains(costs, name, which)]
    return all(ab is not None and (ab[1] > 0) == RIVALS[name].recurrent for ab in found)


def path_layers() -> list[str]:
    """Those of which paths are followed: whole layers."""
    return [name for name, rival in RIVALS.items() if not rival.alone]


def path_is_exact(costs: Costs, name: str) -> bool:
    """Whether the first position is reached, at every length, after as many layers as the closed form says."""
    s, rival = costs.settings, RIVALS[name]
    layer = sized(rival.layer, s.size(rival))
    found = {n: costs.reach(name, n) for n in s.paths}
    return all(len(reach) == path_length(layer, n) and reach[-1] == n - 1 for n, reach in found.items())


def crossing_of(costs: Costs, a: str, b: str, d: int, what: Callable[[Result], float]) -> float:
    """The n above which `a` costs more than `b` at width `d`, as `fits.crossing` has it."""
    one, other = ([what(r) for r in costs.sweep(name, "n", d)[1]] for name in (a, b))
    return crossing(costs.settings.lengths, one, other)


def estimates(result: Result, machine: Result) -> dict[str, float]:
    """Seconds that forward and backward would take if only one thing took time, at the machine's best."""
    return {
        "arithmetic": flops(result) / float(machine["flops"]),
        "memory": float(result["run"]["moved"]) / float(machine["bandwidth"]),
        "overhead": float(result["run"]["operations"]) * float(machine["overhead"]),
    }


def time_parts(result: Result, machine: Result) -> dict[str, float]:
    """`estimates` as parts of the measured time. Memory that would take longer was in a cache, and is left out."""
    parts = {name: part / time_both(result) for name, part in estimates(result, machine).items()}
    return {name: part for name, part in parts.items() if name != "memory" or part <= 1}


def largest_part(result: Result, machine: Result) -> tuple[str, float]:
    """The largest of these parts that can be one; none where a rate of the machine was measured too low (other work
    ran), so that everything would take longer than it did."""
    possible = {name: part for name, part in time_parts(result, machine).items() if part <= 1}
    return max(possible.items(), key=lambda item: item[1], default=("none", 0.0))


def is_faster_than_machine(result: Result, machine: Result) -> bool:
    """Whether arithmetic or calls alone would take longer than was measured: then no part says anything."""
    return any(part > 1 for part in time_parts(result, machine).values())


def batch_gain(costs: Costs, name: str) -> float:
    """How many times faster a sequence is in a batch."""
    s = costs.settings
    one, many = (time_both(costs.at(name, s.sentence, s.at_widths[-1], batch=b)) for b in (1, s.batch))
    return one * s.batch / many


def cores_gain(costs: Costs, name: str) -> float:
    """How many times faster all threads are than one."""
    s = costs.settings
    one, many = (costs.at(name, s.at_length, s.widths[-1], threads=t) for t in (1, costs.threads))
    return time_both(one) / time_both(many)
