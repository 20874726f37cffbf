"""What the layer types of Table 1 cost, over a grid of n, d, k and r; and how far apart they leave two positions.

Counted: floating-point operations, operations that wait for one another, memory (`trace.count`), and the layers between
two positions (`rivals.reach`). Timed: forward, and forward and backward.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import product
from statistics import median
from typing import Any

import torch

from transduce.device import operation_threads
from transduce.errors import ConfigError
from transduce.lab.cells import Cell, Result
from transduce.lab.rivals import RIVALS, Rival, Subject, reach, subject
from transduce.lab.trace import Counts, count, unfused
from transduce.nn.convolution import Convolution
from transduce.nn.restricted import RestrictedAttention

MEGABYTE = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What decides the figures: three sweeps, in which one of n, d and k or r is changed, and the lengths of paths.

    A batch is one sequence, as in the paper's table, but for the comparison of `sentence` positions, one and `batch`
    at a time. Times are medians of `repeats`.
    """

    lengths: tuple[int, ...]  # n, at each of `at_widths`; exponents are fitted at the first of these
    at_widths: tuple[int, ...]
    widths: tuple[int, ...]  # d, at n = `at_length`
    at_length: int
    sizes: tuple[int, ...]  # k and r, at n = `at_length` and the first of `at_widths`
    paths: tuple[int, ...]  # n
    repeats: int
    kernel: int = 3
    neighbourhood: int = 16
    sentence: int = 64
    batch: int = 32
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.kernel, self.neighbourhood, *self.sizes) < 2:
            raise ConfigError("lab table1: a kernel and a neighbourhood have at least 2 positions.")

    def size(self, rival: Rival) -> int:
        """The k or r outside its sweep; 0 where there is none."""
        match rival.layer:
            case Convolution():
                return self.kernel
            case RestrictedAttention():
                return self.neighbourhood
            case _:
                return 0


BUDGETS = {
    "quick": Settings(
        lengths=(16, 32, 64, 128, 256),
        at_widths=(8, 32),
        widths=(8, 16, 32, 64),
        at_length=256,
        sizes=(4, 8, 16),
        paths=(9, 33),
        repeats=3,
    ),
    "standard": Settings(
        lengths=(32, 64, 128, 256, 512, 1024, 2048, 4096),
        at_widths=(64, 256),
        widths=(32, 64, 128, 256, 512, 1024),
        at_length=1024,
        sizes=(4, 8, 16, 32, 64),
        paths=(9, 33, 129, 257),
        repeats=5,
    ),
    "full": Settings(
        lengths=(32, 64, 128, 256, 512, 1024, 2048, 4096, 8192),
        at_widths=(64, 256),
        widths=(32, 64, 128, 256, 512, 1024),
        at_length=2048,
        sizes=(4, 8, 16, 32, 64, 128),
        paths=(9, 33, 129, 257, 513),
        repeats=15,
    ),
}


def cells(settings: Settings, threads: int) -> list[Cell]:
    """Everything to be measured, each once: on one thread, where waiting threads do not blur it; one place on all."""
    s = settings
    shared = {"seed": s.seed, "repeats": s.repeats}

    def cost(name: str, n: int, d: int, w: int, batch: int = 1, threads: int = 1) -> Cell:
        sizes = {"n": n, "d": d, "w": w, "batch": batch}
        return {"what": "cost", "rival": name, **sizes, "threads": threads, **shared}

    grid: list[Cell] = [{"what": "machine", "threads": 1, **shared}]
    for n, (name, rival) in product(s.paths, RIVALS.items()):
        if not rival.alone:
            grid.append({"what": "path", "rival": name, "n": n, "w": s.size(rival), "seed": s.seed})
    places = [(n, d) for d in s.at_widths for n in s.lengths] + [(s.at_length, d) for d in s.widths]
    for (n, d), (name, rival) in product(places, RIVALS.items()):
        grid.append(cost(name, n, d, s.size(rival)))
    for w, (name, rival) in product(s.sizes, RIVALS.items()):
        if s.size(rival):
            grid.append(cost(name, s.at_length, s.at_widths[0], w))
    for name, rival in RIVALS.items():
        grid.append(cost(name, s.at_length, s.widths[-1], s.size(rival), threads=threads))
        for batch in (1, s.batch):
            grid.append(cost(name, s.sentence, s.at_widths[-1], s.size(rival), batch))
    return [cell for i, cell in enumerate(grid) if cell not in grid[:i]]


def compute(cell: Cell) -> Result:
    """One cell, measured."""
    start = time.perf_counter()
    torch.manual_seed(cell["seed"])
    match cell["what"]:
        case "machine":
            with operation_threads(cell["threads"]):
                result: Result = machine(cell["repeats"])
        case "path":
            result = {"reach": reach(RIVALS[cell["rival"]], cell["n"], cell["w"])}
        case _:
            with operation_threads(cell["threads"]):
                result = _cost(cell)
    return result | {"seconds": round(time.perf_counter() - start, 3)}


def _cost(cell: Cell) -> Result:
    rival = RIVALS[cell["rival"]]
    one = subject(rival, cell["batch"], cell["n"], cell["d"], cell["w"])
    forward, both, run = counts(rival, one)

    def ahead() -> None:
        with torch.no_grad():
            one.forward(one.x)

    def step() -> None:
        _forget(one)
        one.forward(one.x).sum().backward()  # type: ignore[no-untyped-call]

    return {
        "forward": asdict(forward),
        "both": asdict(both),
        "run": asdict(run),
        "seconds_forward": seconds(ahead, cell["repeats"]),
        "seconds_both": seconds(step, cell["repeats"]),
    }


def counts(rival: Rival, one: Subject) -> tuple[Counts, Counts, Counts]:
    """Of forward, of forward and backward with every cell step by itself, and of the same as it runs (LSTM: fused)."""
    with unfused():
        forward, both = count(one.forward, one.x)
    _forget(one)
    run = count(one.forward, one.x)[1] if rival is RIVALS["LSTM"] else both
    return forward, both, run


def _forget(one: Subject) -> None:
    for leaf in (one.x, *one.weights):
        leaf.grad = None


def seconds(run: Callable[[], Any], repeats: int, at_least: float = 0.003) -> float:
    """The median time of a call of `run`, of `repeats` samples; a sample is so many calls that it takes `at_least`."""

    def sample(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        return (time.perf_counter() - start) / calls

    calls = math.ceil(at_least / min(sample(1), sample(1)))  # the first is to warm up
    return median(sample(calls) for _ in range(repeats))


def machine(repeats: int) -> dict[str, float]:
    """What this machine can do at best: FLOP/s of a large product, bytes/s of a copy that no cache holds, and seconds
    that an operation on one number takes, forward and backward."""
    square, source = torch.randn(1024, 1024), torch.empty(128 * MEGABYTE // 4).fill_(1.0)
    target, scalar = torch.empty_like(source), torch.ones(1, requires_grad=True)

    def small() -> None:
        y = scalar
        for _ in range(100):
            y = y * 1.0
        y.backward()  # type: ignore[no-untyped-call]

    return {
        "flops": 2 * 1024**3 / seconds(lambda: square @ square, repeats),
        "bandwidth": 256 * MEGABYTE / seconds(lambda: target.copy_(source), repeats),
        "overhead": seconds(small, repeats) / 200,
    }
