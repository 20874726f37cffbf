"""The figures of Table 1."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from transduce.lab.findings import ATTENTION, RECURRENT, Costs, flops, path_layers, speed, time_both
from transduce.lab.report import Figure, drawing
from transduce.lab.rivals import RIVALS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "os^vDPX*."


def _plot(axes: "Axes", name: str, xs: Sequence[int], ys: Sequence[float]) -> None:
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
        _plot(counted, rival, xs, [flops(r) for r in results])
        _plot(timed, rival, xs, [time_both(r) for r in results])
    for axes, label in ((counted, "floating-point operations"), (timed, "seconds")):
        axes.set(xlabel=variable, ylabel=f"{label}, forward and backward")
        for text, x in marks.items():
            axes.axvline(x, color="#888", linewidth=1, linestyle=":")
            axes.annotate(text, (x, 0.02), xycoords=("data", "axes fraction"), color="#666")
    figure.legend(*counted.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return Figure(name=name, caption=caption, drawing=figure)


def draw_crossing(costs: Costs) -> Figure:
    """Self-attention and recurrence against n."""
    d = costs.settings.at_widths[-1]
    caption = f"Self-attention and recurrence against n, d = {d}: counted and timed. Dashed: the mixing alone."
    return _two_panels(costs, "crossing", caption, [*ATTENTION, *RECURRENT], "n", {"n = d": d})


def draw_widths(costs: Costs) -> Figure:
    """Every layer type against d."""
    caption = f"Every layer type against d, n = {costs.settings.at_length}: counted and timed."
    return _two_panels(costs, "widths", caption, list(RIVALS), "d", {})


def draw_speed(costs: Costs) -> Figure:
    """GFLOP/s against n: where time is not what the counts say."""
    figure = drawing(8.0, 4.6)
    axes = figure.subplots()
    d = costs.settings.at_widths[-1]
    for name in RIVALS:
        xs, results = costs.sweep(name, "n", d)
        _plot(axes, name, xs, [speed(r) for r in results])
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.axhline(costs.machine()["flops"] / 1e9, color="#888", linewidth=1, linestyle=":")
    axes.set(xlabel="n", ylabel="GFLOP/s, forward and backward")
    figure.legend(loc="outside right center", frameon=False, fontsize="small")
    caption = (
        f"Operations a second against n, d = {d}. Dotted: a large matrix product. Level where time is what counts say."
    )
    return Figure(name="speed", caption=caption, drawing=figure)


def draw_reach(costs: Costs) -> Figure:
    """How far back the last position is influenced from, layer by layer."""
    figure = drawing(8.0, 4.2)
    axes = figure.subplots()
    n = costs.settings.paths[-1]
    for name in path_layers():
        reach = costs.reach(name, n)
        rank = list(RIVALS).index(name)
        axes.plot(range(1, len(reach) + 1), reach, marker=MARKERS[rank], color=f"C{rank}", label=name, markersize=4)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set(xlabel="layers (recurrent: cells)", ylabel="positions back that influence the last one")
    figure.legend(loc="outside right center", frameon=False, fontsize="small")
    return Figure(name="reach", caption=f"How far back the last of {n} positions depends on its input.", drawing=figure)
