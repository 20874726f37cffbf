"""Table 1 (section 4): operations, sequential operations and path lengths of each layer type, measured beside the paper's.

The paper's reason for self-attention: fewer operations than recurrence where n < d, none of them in sequence, and any two
positions one step apart. What costs that is in `lab.costs`; here it is held against the O(...), and against the clock.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from transduce.lab.cells import Cell, Result, measure
from transduce.lab.costs import Settings, cells, compute
from transduce.lab.fits import TOLERANCE, crossing, exponent, line, reaches_theory
from transduce.lab.report import Figure, Report, Table, drawing, write_report
from transduce.lab.rivals import RIVALS, closed_form, path_length, sized

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FITTED = 3  # points: exponents are those of the largest
PARTNERS = {"self-attention, layer": "self-attention", "restricted, layer": "restricted"}
ATTENTION, RECURRENT = ("self-attention", "self-attention, layer"), ("recurrent, LSTM", "recurrent, GRU")
Measured = list[tuple[Cell, Result]]


def investigate(settings: Settings, out: Path, command: str, progress: Callable[[int, int], None]) -> Report:
    """Measure what `out` does not hold yet, and write the report there.

    Args:
        settings: The grid, or one of `costs.BUDGETS`.
        out: Where results gather, cell by cell: interrupted, the same call goes on.
        command: For the report.
        progress: Told how many cells of how many are done.

    Raises:
        ConfigError: `out` holds something else, or the extra `lab` is not installed.
        SaveError: the disk is full.
    """
    drawing()  # without the extra, better now than after the measurements
    threads = torch.get_num_threads()
    grid = cells(settings, threads)
    measured: Measured = []
    for pair in measure(out / "cells.jsonl", grid, compute):
        measured.append(pair)
        progress(len(measured), len(grid))
    found = report(settings, threads, measured, command)
    write_report(out, found)
    return found


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured, to be asked for by place."""

    settings: Settings
    threads: int
    measured: Measured

    def at(self, name: str, n: int, d: int, w: int | None = None, batch: int = 1, threads: int | None = None) -> Result:
        """The cost of a layer type at one place of the grid."""
        size = self.settings.size(RIVALS[name]) if w is None else w
        asked = {"rival": name, "n": n, "d": d, "w": size, "batch": batch, "threads": threads or self.threads}
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


def speed(result: Result, batch: int = 1) -> float:
    """Achieved, in GFLOP/s, forward and backward."""
    return flops(result) / float(result["seconds_both"]) / 1e9


def report(settings: Settings, threads: int, measured: Measured, command: str) -> Report:
    """What the grid says."""
    costs = Costs(settings, threads, measured)
    return Report(
        title="Table 1: why self-attention",
        question="How many operations, how many of them in sequence, and how far is it from one position to another? "
        "Does the clock agree?",
        command=command,
        settings={**asdict(settings), "threads": threads},
        seeds=(settings.seed,),
        seen=list(_seen(costs)),
        parts=[
            _table1(costs),
            _exponents(costs),
            _chains(costs),
            _paths(costs),
            _draw_reach(costs),
            _crossings(costs),
            _draw_crossing(costs),
            _times(costs),
            _draw_speed(costs),
            _batches(costs),
            _draw_widths(costs),
            *([_cores(costs)] if threads > 1 else []),
        ],
        measured=[{"cell": c, "result": r} for c, r in measured],
        seconds=costs.seconds("machine", "path", "cost"),
    )


# ---- operations and exponents


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
    counts, times = [flops(r) for r in results], [float(r["seconds_both"]) for r in results]
    counted, timed = (exponent(xs[-FITTED:], ys[-FITTED:]) for ys in (counts, times))
    why_counted = why_timed = ""
    if abs(counted - theory) > TOLERANCE:
        why_counted = _lower_terms(costs, name, variable, xs[-1], counts[-1])
    if abs(timed - theory) > TOLERANCE:
        slow, fast = speed(results[-FITTED]), speed(results[-1])
        why_timed = f"{slow:.2g} to {fast:.2g} GFLOP/s from {xs[-FITTED]} to {xs[-1]}"
    return Fit(name, variable, theory, counted, timed, reaches_theory(xs, counts, theory), why_counted, why_timed)


def _lower_terms(costs: Costs, name: str, variable: str, last: int, counted: float) -> str:
    if name not in PARTNERS:
        return "terms of lower order"
    alone = flops(costs.sweep(PARTNERS[name], variable)[1][-1])
    return f"{1 - alone / counted:.0%} of the operations at {last} are the projections, n d²"


def _letter(name: str, variable: str) -> str:
    return {"w": "k" if name.startswith("conv") else "r"}.get(variable, variable)


def _exponents(costs: Costs) -> Table:
    rows: list[list[str | int | float]] = []
    for fit in fits(costs):
        letter = _letter(fit.name, fit.variable)
        where = f"{letter} {fit.reached[0]} to {fit.reached[1]}" if fit.reached else "nowhere"
        why = "; ".join(part for part in (fit.why_counted, fit.why_timed) if part)
        rows.append([fit.name, letter, fit.theory, f"{fit.counted:.2f}", where, f"{fit.timed:.2f}", why])
    s = costs.settings
    return Table(
        caption=f"Exponents, forward and backward, by least squares at the {FITTED} largest values: n up to "
        f"{s.lengths[-1]} at d = {s.at_widths[0]}; d up to {s.widths[-1]} at n = {s.at_length}; k and r up to "
        f"{s.sizes[-1]} at n = {s.at_length}, d = {s.at_widths[0]}. The leading term decides where the counted exponent "
        f"from point to point is within {TOLERANCE} of the paper's. Why: of each exponent that is not.",
        head=["layer type", "in", "paper", "counted", "leading term decides", "timed", "why not"],
        rows=rows,
        seconds=costs.seconds("cost"),
    )


def _table1(costs: Costs) -> Table:
    n = costs.settings.paths[-1]
    found = {(fit.name, fit.variable): fit for fit in fits(costs)}
    rows: list[list[str | int | float]] = []
    for name, rival in RIVALS.items():
        variables = [v for v in "wnd" if (name, v) in found]
        counted = " ".join(f"{_letter(name, v)}^{found[name, v].counted:.2f}" for v in variables)
        a, b = _chain(costs, name, "forward") or (0, 0)
        steps = f"{a} + {b} n" if b else str(a)
        row: list[str | int | float] = [
            name,
            f"O({rival.complexity})",
            counted,
            "O(n)" if rival.recurrent else "O(1)",
            steps,
        ]
        rows.append([*row, *(("", "") if rival.alone else (rival.path, len(costs.reach(name, n))))])
    s = costs.settings
    return Table(
        caption=f"Table 1. Operations: exponents of those counted, forward and backward. Sequential operations: the "
        f"longest chain of a forward pass. Path: layers (of recurrence: cells) from the first of {n} positions to the "
        f"last, k = {s.kernel}, r = {s.neighbourhood}. A layer type without “layer” behind it that has one below is the "
        "mixing of given queries, keys and values, the only part of attention that the paper counts.",
        head=["layer type", "operations, paper", "counted", "sequential, paper", "counted", "path, paper", f"n = {n}"],
        rows=rows,
        seconds=costs.seconds("cost", "path"),
    )


# ---- sequential operations and paths


def _chain(costs: Costs, name: str, which: str) -> tuple[int, int] | None:
    """a and b, when the longest chain has exactly a + b n operations at every length and width."""
    found = {
        line({n: int(r[which]["chain"]) for n, r in zip(*costs.sweep(name, "n", d), strict=True)})
        for d in costs.settings.at_widths
    }
    return found.pop() if len(found) == 1 else None


def _as_theory(costs: Costs, name: str) -> bool:
    """O(1) or O(n), exactly."""
    lines = [_chain(costs, name, which) for which in ("forward", "both")]
    return all(found is not None and (found[1] > 0) == RIVALS[name].recurrent for found in lines)


def _chains(costs: Costs) -> Table:
    def formula(found: tuple[int, int] | None) -> str:
        if found is None:
            return "no line"
        return f"{found[0]} + {found[1]} n" if found[1] else str(found[0])

    lengths = costs.settings.lengths
    rows: list[list[str | int | float]] = [
        [
            name,
            "O(n)" if rival.recurrent else "O(1)",
            *(costs.sweep(name, "n")[1][i]["forward"]["chain"] for i in (0, -1)),
            formula(_chain(costs, name, "forward")),
            formula(_chain(costs, name, "both")),
            "yes" if _as_theory(costs, name) else "NO",
        ]
        for name, rival in RIVALS.items()
    ]
    return Table(
        caption="Sequential operations: the longest chain in which each waits for the result of the one before it, from "
        "the input on, found by following every operation that PyTorch runs. One that writes memory counts as one, "
        "however large (a matrix product, a softmax, a copy); views are free. The cells of LSTM and GRU step by step, "
        f"not fused. The formulas hold exactly at every n ({lengths[0]} to {lengths[-1]}) and d.",
        head=[
            "layer type",
            "paper",
            f"n = {lengths[0]}",
            f"n = {lengths[-1]}",
            "forward",
            "with backward",
            "as the paper",
        ],
        rows=rows,
        seconds=costs.seconds("cost"),
    )


def _path_layers() -> list[str]:
    return [name for name, rival in RIVALS.items() if not rival.alone]


def _path_is_exact(costs: Costs, name: str) -> bool:
    s, rival = costs.settings, RIVALS[name]
    layer = sized(rival.layer, s.size(rival))
    return all(len(costs.reach(name, n)) == path_length(layer, n) for n in s.paths)


def _paths(costs: Costs) -> Table:
    s = costs.settings
    rows: list[list[str | int | float]] = [
        [
            name,
            RIVALS[name].path,
            closed_form(RIVALS[name].layer),
            *(len(costs.reach(name, n)) for n in s.paths),
            "yes" if _path_is_exact(costs, name) else "NO",
        ]
        for name in _path_layers()
    ]
    return Table(
        caption="Path: how many causal layers (of recurrence: cells) until the last of n positions depends on the first, "
        f"by gradients that are not zero. k = {s.kernel}, r = {s.neighbourhood}.",
        head=["layer type", "paper", "exactly", *(f"n = {n}" for n in s.paths), "equal"],
        rows=rows,
        seconds=costs.seconds("path"),
    )


# ---- the clock


def _pairs() -> Iterator[tuple[str, str]]:
    return ((a, b) for a in ATTENTION for b in RECURRENT)


def _crossing(costs: Costs, a: str, b: str, d: int, what: Callable[[Result], float]) -> str:
    lengths = costs.settings.lengths
    one, other = ([what(r) for r in costs.sweep(name, "n", d)[1]] for name in (a, b))
    match crossing(lengths, one, other):
        case 0.0:
            return f"below {lengths[0]}"
        case math.inf:
            return f"above {lengths[-1]}"
        case n:
            return f"{n:.0f}"


def _crossings(costs: Costs) -> Table:
    rows: list[list[str | int | float]] = [
        [
            f"{a} – {b}",
            d,
            _crossing(costs, a, b, d, flops),
            _crossing(costs, a, b, d, lambda r: float(r["seconds_forward"])),
            _crossing(costs, a, b, d, lambda r: float(r["seconds_both"])),
        ]
        for d in costs.settings.at_widths
        for a, b in _pairs()
    ]
    return Table(
        caption="The n above which self-attention costs more than recurrence, interpolated. By orders alone it would be "
        "n = d. “With backward” is forward and backward.",
        head=["", "n = d at", "operations", "time forward", "time with backward"],
        rows=rows,
        seconds=costs.seconds("cost"),
    )


def estimates(result: Result, machine: Result) -> dict[str, float]:
    """Seconds that forward and backward would take if only one thing took time, at the machine's best."""
    return {
        "arithmetic": flops(result) / float(machine["flops"]),
        "memory": float(result["both"]["moved"]) / float(machine["bandwidth"]),
        "overhead": float(result["run"]["operations"]) * float(machine["overhead"]),
    }


def _times(costs: Costs) -> Table:
    s, machine = costs.settings, costs.machine()
    d = s.at_widths[-1]
    rows: list[list[str | int | float]] = []
    for n in (s.lengths[0], s.lengths[-1]):
        for name in RIVALS:
            r = costs.at(name, n, d)
            parts = estimates(r, machine)
            rows.append(
                [
                    name,
                    n,
                    f"{flops(r) / 1e9:.3g}",
                    f"{r['run']['peak'] / 2**20:.3g}",
                    _ms(r["seconds_forward"]),
                    _ms(r["seconds_both"]),
                    f"{speed(r):.2g}",
                    *(_ms(seconds) for seconds in parts.values()),
                    max(parts, key=lambda part: parts[part]),
                ]
            )
    return Table(
        caption=f"Time and memory at d = {d}, one sequence, {costs.threads} thread(s). Memory: the most that the tensors of "
        "forward and backward take at once besides input and weights (scratch inside a kernel is not seen). Estimates: "
        f"operations at {machine['flops'] / 1e9:.0f} GFLOP/s (a product of 1024 × 1024); bytes that the operations read "
        f"and write at {machine['bandwidth'] / 1e9:.0f} GB/s (a copy); {machine['overhead'] * 1e6:.1f} µs for each "
        "operation that is called (one on a single number). LSTM runs fused, so that few are called.",
        head=[
            "layer type",
            "n",
            "GFLOP",
            "MB",
            "forward, ms",
            "with backward",
            "GFLOP/s",
            *(f"if only {part}" for part in ("arithmetic", "memory", "overhead")),
            "largest",
        ],
        rows=rows,
        seconds=costs.seconds("cost", "machine"),
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}"


def _batch_gain(costs: Costs, name: str) -> float:
    """How many times faster a sequence is in a batch."""
    s = costs.settings
    one, many = (costs.at(name, s.sentence, s.at_widths[-1], batch=b)["seconds_both"] for b in (1, s.batch))
    return float(one) * s.batch / float(many)


def _batches(costs: Costs) -> Table:
    s = costs.settings
    d = s.at_widths[-1]
    rows: list[list[str | int | float]] = []
    for name in RIVALS:
        one, many = (costs.at(name, s.sentence, d, batch=b) for b in (1, s.batch))
        per_sequence = float(many["seconds_both"]) / s.batch
        rows.append(
            [
                name,
                _ms(one["seconds_both"]),
                _ms(per_sequence),
                f"{_batch_gain(costs, name):.1f}",
                f"{speed(one):.2g}",
                f"{speed(many):.2g}",
            ]
        )
    return Table(
        caption=f"One sequence at a time and {s.batch}: n = {s.sentence}, d = {d}, forward and backward.",
        head=["layer type", "ms alone", "ms in a batch", "times faster", "GFLOP/s alone", "in a batch"],
        rows=rows,
        seconds=costs.seconds("cost"),
    )


def _cores_gain(costs: Costs, name: str) -> float:
    s = costs.settings
    one, many = (costs.at(name, s.at_length, s.widths[-1], threads=t) for t in (1, costs.threads))
    return float(one["seconds_both"]) / float(many["seconds_both"])


def _cores(costs: Costs) -> Table:
    s = costs.settings
    rows: list[list[str | int | float]] = [
        [
            name,
            *(_ms(costs.at(name, s.at_length, s.widths[-1], threads=t)["seconds_both"]) for t in (1, costs.threads)),
            f"{_cores_gain(costs, name):.2f}",
        ]
        for name in RIVALS
    ]
    return Table(
        caption=f"Cores: forward and backward at n = {s.at_length}, d = {s.widths[-1]}.",
        head=["layer type", "ms, 1 thread", f"ms, {costs.threads} threads", "times faster"],
        rows=rows,
        seconds=costs.seconds("cost"),
    )


# ---- in words


def _seen(costs: Costs) -> Iterator[str]:
    found = list(fits(costs))
    for what, values, why in (
        ("operations counted", [f.counted for f in found], [f.why_counted for f in found]),
        ("time", [f.timed for f in found], [f.why_timed for f in found]),
    ):
        near = sum(abs(value - f.theory) <= TOLERANCE for value, f in zip(values, found, strict=True))
        far = [
            f"{f.name} in {_letter(f.name, f.variable)}: {value:.2f} for {f.theory} ({reason})"
            for f, value, reason in zip(found, values, why, strict=True)
            if reason
        ]
        text = f"Exponents of {what}: {near} of {len(found)} within {TOLERANCE} of the paper's."
        yield f"{text} Not: {'; '.join(far)}." if far else text
    yield _verdict("Sequential operations", "O(1) or O(n) exactly", RIVALS, lambda name: _as_theory(costs, name))
    yield _verdict("Path lengths", "the closed form", _path_layers(), lambda name: _path_is_exact(costs, name))
    d = costs.settings.at_widths[-1]
    a, b = ATTENTION[1], RECURRENT[0]
    yield (
        f"At d = {d}, the self-attention layer costs more than LSTM above n = {_crossing(costs, a, b, d, flops)} in "
        f"operations, above n = {_crossing(costs, a, b, d, lambda r: float(r['seconds_both']))} in time."
    )
    yield from _seen_speed(costs)
    if costs.threads > 1:
        gains = {name: _cores_gain(costs, name) for name in RIVALS}
        least, most = min(gains, key=lambda n: gains[n]), max(gains, key=lambda n: gains[n])
        yield (
            f"Cores: {costs.threads} threads make {most} {gains[most]:.2f} times faster, {least} {gains[least]:.2f} times."
        )


def _verdict(what: str, theory: str, names: Sequence[str] | dict[str, Any], holds: Callable[[str], bool]) -> str:
    wrong = [name for name in names if not holds(name)]
    return f"{what}: not {theory} for {', '.join(wrong)}." if wrong else f"{what}: {theory}, for all {len(names)} rows."


def _seen_speed(costs: Costs) -> Iterator[str]:
    """Where time is not what the operations say, and the largest of the estimates that could be why."""
    s, machine = costs.settings, costs.machine()
    d, best = s.at_widths[-1], machine["flops"] / 1e9
    for n in (s.lengths[0], s.lengths[-1]):
        causes: dict[str, list[str]] = {}
        for name in RIVALS:
            r = costs.at(name, n, d)
            parts = estimates(r, machine)
            largest = max(parts, key=lambda part: parts[part])
            causes.setdefault(largest, []).append(
                f"{name} {speed(r):.2g} GFLOP/s ({parts[largest] / r['seconds_both']:.0%})"
            )
        for cause, names in causes.items():
            yield (
                f"n = {n}, d = {d}: of arithmetic, memory and overhead, {cause} would take longest for {', '.join(names)}; "
                f"in brackets the part of the measured time that it would be. The machine's best is {best:.0f} GFLOP/s."
            )
    gain = {name: _batch_gain(costs, name) for name in (ATTENTION[1], *RECURRENT)}
    attention = gain.pop(ATTENTION[1])
    for name, value in gain.items():
        helped = "its n small products in a row become larger ones" if value > 1.5 * attention else "no more than that"
        yield (
            f"In batches of {s.batch} ({s.sentence} positions), a sequence is {value:.1f} times faster with {name}, "
            f"{attention:.1f} times with self-attention: {helped}."
        )


# ---- figures


def _plot(axes: "Axes", costs: Costs, name: str, xs: Sequence[int], ys: Sequence[float]) -> None:
    rank = list(RIVALS).index(name)
    axes.loglog(xs, ys, "--" if RIVALS[name].alone else "-", marker="os^vDPX*."[rank], color=f"C{rank}", label=name)


def _two_panels(
    costs: Costs, name: str, caption: str, rivals: Sequence[str], variable: str, marks: dict[str, int]
) -> Figure:
    """Operations and time against n (at the widest of `at_widths`) or d, with vertical lines at `marks`."""
    figure = drawing(9.0, 4.4)
    counted, timed = figure.subplots(1, 2)
    for rival in rivals:
        xs, results = costs.sweep(rival, variable, costs.settings.at_widths[-1])
        _plot(counted, costs, rival, xs, [flops(r) for r in results])
        _plot(timed, costs, rival, xs, [float(r["seconds_both"]) for r in results])
    for axes, label in ((counted, "floating-point operations"), (timed, "seconds")):
        axes.set(xlabel=variable, ylabel=f"{label}, forward and backward")
        for text, x in marks.items():
            axes.axvline(x, color="#888", linewidth=1, linestyle=":")
            axes.annotate(text, (x, 0.02), xycoords=("data", "axes fraction"), color="#666")
    counted.legend(frameon=False, fontsize="small")
    return Figure(name=name, caption=caption, drawing=figure)


def _draw_crossing(costs: Costs) -> Figure:
    d = costs.settings.at_widths[-1]
    caption = f"Self-attention and recurrence against n, d = {d}: counted and timed. Dashed: the mixing alone."
    return _two_panels(costs, "crossing", caption, [*ATTENTION, *RECURRENT], "n", {"n = d": d})


def _draw_widths(costs: Costs) -> Figure:
    caption = f"Every layer type against d, n = {costs.settings.at_length}: counted and timed."
    return _two_panels(costs, "widths", caption, list(RIVALS), "d", {})


def _draw_speed(costs: Costs) -> Figure:
    figure = drawing(8.0, 4.6)
    axes = figure.subplots()
    d = costs.settings.at_widths[-1]
    for name in RIVALS:
        xs, results = costs.sweep(name, "n", d)
        _plot(axes, costs, name, xs, [speed(r) for r in results])
    axes.axhline(costs.machine()["flops"] / 1e9, color="#888", linewidth=1, linestyle=":")
    axes.set(xlabel="n", ylabel="GFLOP/s, forward and backward")
    figure.legend(loc="outside right center", frameon=False, fontsize="small")
    caption = (
        f"Operations a second against n, d = {d}. Dotted: a large matrix product. Level where time is what counts say."
    )
    return Figure(name="speed", caption=caption, drawing=figure)


def _draw_reach(costs: Costs) -> Figure:
    figure = drawing(8.0, 4.2)
    axes = figure.subplots()
    n = costs.settings.paths[-1]
    for name in _path_layers():
        reach = costs.reach(name, n)
        rank = list(RIVALS).index(name)
        axes.plot(range(1, len(reach) + 1), reach, marker="os^vDPX*."[rank], color=f"C{rank}", label=name, markersize=4)
    axes.set(xscale="log", xlabel="layers (recurrent: cells)", ylabel="positions back that influence the last one")
    figure.legend(loc="outside right center", frameon=False, fontsize="small")
    return Figure(name="reach", caption=f"How far back the last of {n} positions depends on its input.", drawing=figure)
