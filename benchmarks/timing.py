"""Timing training steps, ours and the peers', in one way. Torch and this folder only: peers' environments import it."""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from benchmarks.batches import Pair, padding, target_tokens
from benchmarks.cases import SHAPES, SPREAD, Record, Shape, work

BatchT = TypeVar("BatchT")


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that say which case a process times."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", choices=sorted(SHAPES), required=True)
    options.add_argument("--precision", choices=["fp32", "bf16"], required=True)
    options.add_argument("--state", choices=["early", "later"], default="later")
    options.add_argument("--batches", type=Path, required=True, metavar="F", help="what batches.write wrote")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--warm-up", type=int, default=1, metavar="N", help="passes before the timed ones")
    options.add_argument("--repeats", type=int, default=3, metavar="N", help="timed passes over the batches")
    return options


def gemm_peak(dtype: torch.dtype, sizes: Sequence[int] = (512, 1024, 2048), repeats: int = 4) -> float:
    """GFLOP/s of a large matrix product: the best of several, sizes, and layouts of the second factor.

    After 4 seconds it is what was seen until then: bf16 without hardware for it is a hundred times slower.
    """
    best, began = 0.0, time.perf_counter()
    for size in sizes:
        a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
        for factor in (b, b.t()) * repeats:
            start = time.perf_counter()
            if best and start - began > 4.0:
                return best
            torch.mm(a, factor)
            best = max(best, 2 * size**3 / (time.perf_counter() - start) / 1e9)
    return best


def peak_rss_mib() -> int:
    """The most memory that this process held at any time."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) // 2**20


def spread_logits(matrix: torch.Tensor) -> None:
    """Fill the tied matrix so that logits have a standard deviation of `SPREAD` for states that a norm put out."""
    with torch.no_grad():
        matrix.normal_(0.0, SPREAD / matrix.shape[1] ** 0.5)


def passes(step: Callable[[BatchT], float], batches: Sequence[BatchT], warm_up: int, repeats: int) -> Record:
    """Time `repeats` passes over `batches` after `warm_up` untimed ones; `step` does an update and returns its loss."""
    start = time.perf_counter()
    losses = [step(batch) for _ in range(warm_up) for batch in batches]
    warmed_up = time.perf_counter() - start
    wall, cpu = [], []
    for _ in range(repeats):
        start, start_cpu = time.perf_counter(), time.process_time()
        losses += [step(batch) for batch in batches]
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    return {
        "warm_up_seconds": round(warmed_up, 2),
        "pass_seconds": [round(seconds, 4) for seconds in wall],
        "cpu_seconds_per_step": round(statistics.median(cpu) / len(batches), 4),
        "losses": [round(losses[0], 3), round(losses[-1], 3)],
    }


def record(facts: Record, shape: Shape, work_done: Sequence[Sequence[Pair]], timed: Record, peak: float) -> Record:
    """One case as a record: `facts` about it, and what the passes took."""
    seconds, tokens = statistics.median(timed["pass_seconds"]), target_tokens(work_done)
    return {
        **facts,
        "tokens_per_second": round(tokens / seconds, 1),
        "seconds_per_step": round(seconds / len(work_done), 4),
        "peak_rss_mib": peak_rss_mib(),
        "gemm_peak_gflops": round(peak, 1),
        "mfu": round(work(shape, work_done) / seconds / 1e9 / peak, 4),
        "target_tokens": tokens,
        "steps": len(work_done),
        "padding": round(padding(work_done), 4),
        **timed,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
