"""Table 1 (section 4) measured: operations, sequential operations and path lengths of each layer type.

The paper's reasons for self-attention: fewer operations than recurrence where n < d, none of them waiting for the
position before, and any two positions one step apart. `lab.costs` measures; here it is held against the O(...) and the
clock.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from transduce.lab.cells import Cell, Result, measure
from transduce.lab.costs import Settings, cells, compute
from transduce.lab.fits import TOLERANCE, crossing, exponent, line, reaches_theory
from transduce.lab.report import Figure, Report, Table, drawing, write_report
from transduce.lab.rivals import RIVALS, closed_form, path_length, sized

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "os^vDPX*."
FITTED = 3  # points: exponents are those of the largest
PARTNERS = {"self-attention, layer": "self-attention, mixing", "restricted, layer": "restricted, mixing"}
ATTENTION = ("self-attention, mixing", "self-attention, layer")
RECURRENT = ("recurrent, LSTM", "recurrent, GRU")
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


def time_forward(result: Result) -> float:
    """Seconds of a forward pass without a graph."""
    return float(result["seconds_forward"])


def time_both(result: Result) -> float:
    """Seconds of forward and backward."""
    return float(result["seconds_both"])


def speed(result: Result) -> float:
    """Achieved, in GFLOP/s, forward and backward."""
    return flops(result) / time_both(result) / 1e9


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
        f"{s.sizes[-1]} at n = {s.at_length}, d = {s.at_widths[0]}. The leading term decides where the counted "
        f"exponent from point to point is within {TOLERANCE} of the paper's. Why not: of each exponent that is not.",
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
        counted = "\N{NO-BREAK SPACE}".join(f"{_letter(name, v)}^{found[name, v].counted:.2f}" for v in variables)
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
        f"longest chain of a forward pass. Path: layers (of recurrence: cells) from the first of {n} positions to "
        f"the last, k = {s.kernel}, r = {s.neighbourhood}. “Mixing” is that of given queries, keys and values, all "
        "that the paper counts of attention; “layer” has the projections too.",
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
        caption="Sequential operations: the longest chain in which each waits for the result of the one before it, "
        "from the input on, found by following every operation that PyTorch runs. One that writes memory counts as "
        "one, however large (a matrix product, a softmax, a copy); views are free. The cells of LSTM and GRU step by "
        f"step, not fused. The formulas hold exactly at every n ({lengths[0]} to {lengths[-1]}) and d.",
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
        caption="Path: how many causal layers (of recurrence: cells) until the last of n positions depends on the "
        f"first, by gradients that are not zero. k = {s.kernel}, r = {s.neighbourhood}.",
        head=["layer type", "paper", "exactly", *(f"n = {n}" for n in s.paths), "equal"],
        rows=rows,
        seconds=costs.seconds("path"),
    )


# ---- the clock


def _crossing(costs: Costs, a: str, b: str, d: int, what: Callable[[Result], float]) -> float:
    one, other = ([what(r) for r in costs.sweep(name, "n", d)[1]] for name in (a, b))
    return crossing(costs.settings.lengths, one, other)


def _crossings(costs: Costs) -> Table:
    lengths = costs.settings.lengths

    def shown(n: float) -> str:
        return f"{n:.0f}" if 0 < n < math.inf else f"< {lengths[0]}" if n == 0 else f"> {lengths[-1]}"

    rows: list[list[str | int | float]] = [
        [f"{a} – {b}", d, *(shown(_crossing(costs, a, b, d, what)) for what in (flops, time_forward, time_both))]
        for d in costs.settings.at_widths
        for a, b in ((a, b) for a in ATTENTION for b in RECURRENT)
    ]
    return Table(
        caption="The n above which self-attention costs more than recurrence, interpolated. By orders alone it would "
        "be n = d. “With backward” is forward and backward.",
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


def _parts(result: Result, machine: Result) -> dict[str, float]:
    """`estimates` as parts of the measured time. Memory that would take longer was in a cache, and is left out."""
    parts = {name: part / time_both(result) for name, part in estimates(result, machine).items()}
    return {name: part for name, part in parts.items() if name != "memory" or part <= 1}


def _cause(result: Result, machine: Result) -> tuple[str, float]:
    """The largest of these parts."""
    return max(_parts(result, machine).items(), key=lambda item: item[1])


def _times(costs: Costs) -> Table:
    s, machine = costs.settings, costs.machine()
    d = s.at_widths[-1]
    rows: list[list[str | int | float]] = []
    for n in (s.lengths[0], s.lengths[-1]):
        for name in RIVALS:
            r = costs.at(name, n, d)
            rows.append(
                [
                    name,
                    n,
                    f"{flops(r) / 1e6:.0f}",
                    f"{r['run']['peak'] / 2**20:.2f}",
                    _ms(time_forward(r)),
                    _ms(time_both(r)),
                    f"{speed(r):.1f}",
                    *(f"{part / time_both(r):.0%}" for part in estimates(r, machine).values()),
                    _cause(r, machine)[0],
                ]
            )
    return Table(
        caption=f"Time and memory at d = {d}, one sequence, {costs.threads} thread(s). MB: the most that the tensors "
        "of forward and backward take at once besides input and weights (scratch inside a kernel is not seen). Parts "
        f"of the time of forward and backward, estimated: operations at {machine['flops'] / 1e9:.0f} GFLOP/s (a "
        f"product of 1024 × 1024); what they read and write at {machine['bandwidth'] / 1e9:.0f} GB/s (a copy that no "
        f"cache holds; over 100% where caches do); {machine['overhead'] * 1e6:.1f} µs for each operation that is "
        "called (one on a single number; LSTM runs fused, in few). “Most”: the largest that is possible.",
        head=[
            "layer type",
            "n",
            "MFLOP",
            "MB",
            "forward, ms",
            "with backward, ms",
            "GFLOP/s",
            "arithmetic",
            "memory",
            "overhead",
            "most",
        ],
        rows=rows,
        seconds=costs.seconds("cost", "machine"),
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}"


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
    far = [f"{f.name} in {_letter(f.name, f.variable)} ({f.why_counted})" for f in found if f.why_counted]
    text = f"Exponents of operations: {len(found) - len(far)} of {len(found)} within {TOLERANCE} of the paper's."
    yield f"{text} Not: {'; '.join(far)}." if far else text
    yield _verdict("Sequential operations", "exactly O(1) or O(n)", list(RIVALS), lambda name: _as_theory(costs, name))
    yield _verdict("Path lengths", "the closed form", _path_layers(), lambda name: _path_is_exact(costs, name))
    d = costs.settings.at_widths[-1]
    a, b = ATTENTION[1], RECURRENT[0]
    counted, timed = (_from(costs, _crossing(costs, a, b, d, what)) for what in (flops, time_both))
    yield f"At d = {d}, the self-attention layer costs more than LSTM {counted} in operations, {timed} in time."
    lower, higher = (sum(sign * (f.timed - f.theory) > TOLERANCE for f in found) for sign in (-1, 1))
    yield (
        f"Exponents of time: {len(found) - lower - higher} of {len(found)} within {TOLERANCE} of the paper's, {lower} "
        f"lower (more operations a second where there are more of them), {higher} higher (fewer)."
    )
    yield from (_seen_cause(costs, n) for n in (costs.settings.lengths[0], costs.settings.lengths[-1]))
    yield from (_seen_batch(costs, name) for name in RECURRENT)
    if costs.threads > 1:
        gains = {name: _cores_gain(costs, name) for name in RIVALS}
        least, most = min(gains, key=lambda n: gains[n]), max(gains, key=lambda n: gains[n])
        yield (
            f"{costs.threads} threads make {most} {gains[most]:.2f} times faster, the most, and {least} "
            f"{gains[least]:.2f} times, the least."
        )


def _from(costs: Costs, n: float) -> str:
    lengths = costs.settings.lengths
    if n == math.inf:
        return f"at no n up to {lengths[-1]}"
    return f"above n = {n:.0f}" if n else f"at every n from {lengths[0]} on"


def _verdict(what: str, theory: str, names: Sequence[str], holds: Callable[[str], bool]) -> str:
    wrong = [name for name in names if not holds(name)]
    return f"{what}: not {theory} for {', '.join(wrong)}." if wrong else f"{what}: {theory}, for all {len(names)} rows."


def _seen_cause(costs: Costs, n: int) -> str:
    """How far from the machine's best, and which estimate could be most of the time."""
    d, machine = costs.settings.at_widths[-1], costs.machine()
    found: dict[str, list[tuple[str, float]]] = {}
    for name in RIVALS:
        cause, part = _cause(costs.at(name, n, d), machine)
        found.setdefault(cause, []).append((name, part))
    speeds = [speed(costs.at(name, n, d)) for name in RIVALS]
    causes = (
        f"{cause} ({', '.join(f'{name} {part:.0%}' for name, part in members)})" for cause, members in found.items()
    )
    poorly = [name for name in RIVALS if sum(_parts(costs.at(name, n, d), machine).values()) < 0.5]
    rest = f" Together they explain less than half of the time of {', '.join(poorly)}." if poorly else ""
    return (
        f"At n = {n}, d = {d}, {min(speeds):.2g} to {max(speeds):.2g} GFLOP/s of {machine['flops'] / 1e9:.0f}. What "
        f"would take most of the time by itself: {'; '.join(causes)}.{rest}"
    )


def _seen_batch(costs: Costs, name: str) -> str:
    s = costs.settings
    recurrent, attention = _batch_gain(costs, name), _batch_gain(costs, ATTENTION[1])
    why = "its small products one after another become larger" if recurrent > 1.5 * attention else "no more than that"
    return (
        f"{s.batch} sequences of {s.sentence} at once: each is {recurrent:.1f} times faster with {name}, "
        f"{attention:.1f} times with {ATTENTION[1]}: {why}."
    )


# ---- figures


def _plot(axes: "Axes", costs: Costs, name: str, xs: Sequence[int], ys: Sequence[float]) -> None:
    rank = list(RIVALS).index(name)
    axes.loglog(xs, ys, "--" if RIVALS[name].alone else "-", marker=MARKERS[rank], color=f"C{rank}", label=name)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")


def _two_panels(
    costs: Costs, name: str, caption: str, rivals: Sequence[str], variable: str, marks: dict[str, int]
) -> Figure:
    """Operations and time against n (at the widest of `at_widths`) or d, with vertical lines at `marks`."""
    figure = drawing(9.0, 4.8)
    counted, timed = figure.subplots(1, 2)
    for rival in rivals:
        xs, results = costs.sweep(rival, variable, costs.settings.at_widths[-1])
        _plot(counted, costs, rival, xs, [flops(r) for r in results])
        _plot(timed, costs, rival, xs, [time_both(r) for r in results])
    for axes, label in ((counted, "floating-point operations"), (timed, "seconds")):
        axes.set(xlabel=variable, ylabel=f"{label}, forward and backward")
        for text, x in marks.items():
            axes.axvline(x, color="#888", linewidth=1, linestyle=":")
            axes.annotate(text, (x, 0.02), xycoords=("data", "axes fraction"), color="#666")
    figure.legend(*counted.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
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
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
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
        axes.plot(range(1, len(reach) + 1), reach, marker=MARKERS[rank], color=f"C{rank}", label=name, markersize=4)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set(xlabel="layers (recurrent: cells)", ylabel="positions back that influence the last one")
    figure.legend(loc="outside right center", frameon=False, fontsize="small")
    return Figure(name="reach", caption=f"How far back the last of {n} positions depends on its input.", drawing=figure)
