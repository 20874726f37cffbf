"""Table 1 (section 4) measured: operations, sequential operations and path lengths of each layer type.

The paper's reasons for self-attention: fewer operations than recurrence where n < d, none of them waiting for the
position before, and any two positions one step apart. `lab.costs` measures; here it is held against the O(...) and the
clock.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from transduce.lab.cells import Measured, measure
from transduce.lab.costs import Settings, cells, compute
from transduce.lab.findings import (
    ATTENTION,
    FITTED,
    RECURRENT,
    Costs,
    batch_gain,
    chains,
    cores_gain,
    crossing_of,
    estimates,
    fits,
    flops,
    is_faster_than_machine,
    largest_part,
    letter_of,
    path_is_exact,
    path_layers,
    sequence_is_exact,
    speed,
    time_both,
    time_forward,
    time_parts,
)
from transduce.lab.fits import TOLERANCE
from transduce.lab.page import Row
from transduce.lab.report import Report, Table, drawing, write_report
from transduce.lab.rivals import RIVALS, closed_form
from transduce.lab.table1_figures import draw_crossing, draw_reach, draw_speed, draw_widths


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
    measured = measure(out / "cells.jsonl", grid, compute, progress)
    found = report(settings, threads, measured, command)
    write_report(out, found)
    return found


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
            draw_reach(costs),
            _crossings(costs),
            draw_crossing(costs),
            _times(costs),
            draw_speed(costs),
            _batches(costs),
            draw_widths(costs),
            *([_cores(costs)] if threads > 1 else []),
        ],
        measured=[{"cell": c, "result": r} for c, r in measured],
        seconds=costs.seconds("machine", "path", "cost"),
    )


def _exponents(costs: Costs) -> Table:
    rows: list[Row] = []
    for fit in fits(costs):
        letter = letter_of(fit.name, fit.variable)
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
    rows: list[Row] = []
    for name, rival in RIVALS.items():
        variables = [v for v in "wnd" if (name, v) in found]
        counted = "\N{NO-BREAK SPACE}".join(f"{letter_of(name, v)}^{found[name, v].counted:.2f}" for v in variables)
        row: Row = [
            name,
            f"O({rival.complexity})",
            counted,
            "O(n)" if rival.recurrent else "O(1)",
            _formula(chains(costs, name, "forward")),
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


def _formula(found: Sequence[tuple[int, int] | None]) -> str:
    """a + b n, or those of several widths."""
    texts = ["no line" if ab is None else f"{ab[0]} + {ab[1]} n" if ab[1] else str(ab[0]) for ab in found]
    return " or ".join(dict.fromkeys(texts))


def _chains(costs: Costs) -> Table:
    lengths = costs.settings.lengths
    rows: list[Row] = [
        [
            name,
            "O(n)" if rival.recurrent else "O(1)",
            *(costs.sweep(name, "n")[1][i]["forward"]["chain"] for i in (0, -1)),
            _formula(chains(costs, name, "forward")),
            _formula(chains(costs, name, "both")),
            "yes" if sequence_is_exact(costs, name) else "NO",
        ]
        for name, rival in RIVALS.items()
    ]
    return Table(
        caption="Sequential operations: the longest chain in which each waits for the result of the one before it, "
        "from the input on, found by following every operation that PyTorch runs. One that writes memory counts as "
        "one, however large (a matrix product, a softmax, a copy); views are free. The cells of LSTM and GRU step by "
        f"step, not fused. A formula holds exactly at every n from {lengths[0]} to {lengths[-1]} and every d of "
        f"{', '.join(map(str, costs.settings.at_widths))}; of two formulas the "
        "first is with one head, the second with several, which are copied side by side.",
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


def _paths(costs: Costs) -> Table:
    s = costs.settings
    rows: list[Row] = [
        [
            name,
            RIVALS[name].path,
            closed_form(RIVALS[name].layer),
            *(len(costs.reach(name, n)) for n in s.paths),
            "yes" if path_is_exact(costs, name) else "NO",
        ]
        for name in path_layers()
    ]
    return Table(
        caption="Path: how many causal layers (of recurrence: cells) until the last of n positions depends on the "
        f"first, by gradients that are not zero. k = {s.kernel}, r = {s.neighbourhood}.",
        head=["layer type", "paper", "exactly", *(f"n = {n}" for n in s.paths), "equal"],
        rows=rows,
        seconds=costs.seconds("path"),
    )


def _crossings(costs: Costs) -> Table:
    lengths = costs.settings.lengths

    def shown(n: float) -> str:
        return f"{n:.0f}" if 0 < n < math.inf else f"< {lengths[0]}" if n == 0 else f"> {lengths[-1]}"

    rows: list[Row] = [
        [f"{a} – {b}", d, *(shown(crossing_of(costs, a, b, d, what)) for what in (flops, time_forward, time_both))]
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


def _times(costs: Costs) -> Table:
    s, machine = costs.settings, costs.machine()
    d = s.at_widths[-1]
    rows: list[Row] = []
    for n in (s.lengths[0], s.lengths[-1]):
        for name in RIVALS:
            r = costs.at(name, n, d)
            rows.append(
                [
                    name,
                    n,
                    f"{flops(r) / 1e6:.3g}",
                    f"{r['run']['peak'] / 2**20:.2f}",
                    _ms(time_forward(r)),
                    _ms(time_both(r)),
                    f"{speed(r):.2g}",
                    *(f"{part / time_both(r):.0%}" for part in estimates(r, machine).values()),
                    largest_part(r, machine)[0],
                ]
            )
    return Table(
        caption=f"Time and memory at d = {d}, one sequence, one thread. MiB: the most that the tensors "
        "of forward and backward take at once besides input and weights (scratch inside a kernel is not seen). Parts "
        f"of the time of forward and backward, estimated: operations at {machine['flops'] / 1e9:.0f} GFLOP/s (a "
        f"product of 1024 × 1024); what they read and write at {machine['bandwidth'] / 1e9:.0f} GB/s (a copy that no "
        f"cache holds; over 100% where caches do); {machine['overhead'] * 1e6:.1f} µs for each operation that is "
        "called (one on a single number; LSTM runs fused, in few). Both: with backward. Most: the largest part that is "
        "not over 100%.",
        head=[
            "layer type",
            "n",
            "MFLOP",
            "MiB",
            "forward, ms",
            "both, ms",
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


def _batches(costs: Costs) -> Table:
    s = costs.settings
    d = s.at_widths[-1]
    rows: list[Row] = []
    for name in RIVALS:
        one, many = (costs.at(name, s.sentence, d, batch=b) for b in (1, s.batch))
        rows.append(
            [
                name,
                _ms(time_both(one)),
                _ms(time_both(many) / s.batch),
                f"{batch_gain(costs, name):.1f}",
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


def _cores(costs: Costs) -> Table:
    s = costs.settings
    rows: list[Row] = [
        [
            name,
            *(_ms(time_both(costs.at(name, s.at_length, s.widths[-1], threads=t))) for t in (1, costs.threads)),
            f"{cores_gain(costs, name):.2f}",
        ]
        for name in RIVALS
    ]
    return Table(
        caption=f"Cores: forward and backward at n = {s.at_length}, d = {s.widths[-1]}.",
        head=["layer type", "ms, 1 thread", f"ms, {costs.threads} threads", "times faster"],
        rows=rows,
        seconds=costs.seconds("cost"),
    )


def _seen(costs: Costs) -> Iterator[str]:
    found = list(fits(costs))
    far = [f"{f.name} in {letter_of(f.name, f.variable)} ({f.why_counted})" for f in found if f.why_counted]
    text = f"Exponents of operations: {len(found) - len(far)} of {len(found)} within {TOLERANCE} of the paper's."
    yield f"{text} Not: {'; '.join(far)}." if far else text
    yield _verdict(
        "Sequential operations", "exactly O(1) or O(n)", list(RIVALS), lambda name: sequence_is_exact(costs, name)
    )
    yield _verdict("Path lengths", "the closed form", path_layers(), lambda name: path_is_exact(costs, name))
    d = costs.settings.at_widths[-1]
    a, b = ATTENTION[1], RECURRENT[0]
    counted, timed = (_from(costs, crossing_of(costs, a, b, d, what)) for what in (flops, time_both))
    yield f"At d = {d}, the self-attention layer costs more than LSTM {counted} in operations, {timed} in time."
    alike = sum(abs(f.timed - f.theory) <= TOLERANCE for f in found)
    lower, higher = (sum(sign * (f.timed - f.counted) > TOLERANCE for f in found) for sign in (-1, 1))
    yield (
        f"Exponents of time: {alike} of {len(found)} within {TOLERANCE} of the paper's. Of all, {lower} are lower by "
        f"more than that than those of the operations (more operations a second where there are more of them), "
        f"{higher} higher (fewer)."
    )
    yield from (_seen_cause(costs, n) for n in (costs.settings.lengths[0], costs.settings.lengths[-1]))
    yield from (_seen_batch(costs, name) for name in RECURRENT)
    if costs.threads > 1:
        gains = {name: cores_gain(costs, name) for name in RIVALS}
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
    too_fast = [name for name in RIVALS if is_faster_than_machine(costs.at(name, n, d), machine)]
    explained = [name for name in RIVALS if name not in too_fast]
    for name in explained:
        cause, part = largest_part(costs.at(name, n, d), machine)
        found.setdefault(cause, []).append((name, part))
    speeds = [speed(costs.at(name, n, d)) for name in RIVALS]
    causes = (
        f"{cause} ({', '.join(f'{name} {part:.0%}' for name, part in members)})" for cause, members in found.items()
    )
    poorly = [name for name in explained if sum(time_parts(costs.at(name, n, d), machine).values()) < 0.5]
    rest = f" Together they explain less than half of the time of {', '.join(poorly)}." if poorly else ""
    if too_fast:
        rest += f" Faster than the machine was measured to be: {', '.join(too_fast)}. Measure when nothing else runs."
    return (
        f"At n = {n}, d = {d}, {min(speeds):.2g} to {max(speeds):.2g} GFLOP/s of {machine['flops'] / 1e9:.0f}. What "
        f"would take most of the time by itself: {'; '.join(causes) or 'not known'}.{rest}"
    )


def _seen_batch(costs: Costs, name: str) -> str:
    s = costs.settings
    recurrent, attention = batch_gain(costs, name), batch_gain(costs, ATTENTION[1])
    why = "its small products one after another become larger" if recurrent > 1.5 * attention else "not clearly more"
    return (
        f"{s.batch} sequences of {s.sentence} at once: each is {recurrent:.1f} times faster with {name}, "
        f"{attention:.1f} times with {ATTENTION[1]}: {why}."
    )
