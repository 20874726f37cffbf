"""What is timed: models, their states and their counted work. No torch: whoever starts the timed processes stays small.

(On Linux a process starts with the peak memory of the one that started it.)
"""

import json
import os
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.batches import Pair, captions, drawn

ROOT = Path(__file__).parents[1]
P_DROP, EPS_LS, RATE = 0.1, 0.1, 1e-4
SPREAD = 20.0  # standard deviation of the logits in the early state: many of exp(z - max) are 0 or denormal
Precision = Literal["fp32", "bf16"]
State = Literal["early", "later"]
Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A Transformer of equal stacks whose embeddings and output share one matrix."""

    n_layers: int
    d_model: int
    d_ff: int
    n_heads: int
    vocabulary: int

    def flops(self, source: int, target: int) -> int:
        """Useful floating-point operations of training on one pair of `source` and `target` positions (eos counted).

        Matrix products only: two operations for each multiplication, three products for each (forward, gradient of the
        input, gradient of the weight). Attention is over the pair's own lengths; what causality masks is counted, as is
        usual. Padding, recomputation, softmax, norms and the optimizer are not work that the model asks for.
        """
        square, feed_forward = self.d_model**2, 2 * self.d_model * self.d_ff
        encoder = source * (4 * square + feed_forward) + 2 * self.d_model * source**2
        own = target * (4 * square + feed_forward) + 2 * self.d_model * target**2
        memory = (2 * target + 2 * source) * square + 2 * self.d_model * source * target
        return 6 * (self.n_layers * (encoder + own + memory) + target * self.d_model * self.vocabulary)


SHAPES = {
    "base": Shape(n_layers=6, d_model=512, d_ff=2048, n_heads=8, vocabulary=37_000),
    "small": Shape(n_layers=6, d_model=256, d_ff=1024, n_heads=4, vocabulary=10_000),
    "tiny": Shape(n_layers=4, d_model=128, d_ff=256, n_heads=4, vocabulary=10_000),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One thing to time. `early`: the tied matrix is so large that logits spread, as in the first steps of models whose
    embeddings begin with a variance of 1. `later`: it is as it is initialised here, and logits are close together."""

    model: str
    precision: Precision
    state: State = "later"

    @property
    def options(self) -> list[str]:
        """On the command line of `benchmarks.ours` and `benchmarks.peers`."""
        return ["--model", self.model, "--precision", self.precision, "--state", self.state]


def cases(models: Sequence[str], precisions: Sequence[Precision]) -> list[Case]:
    """Every model in every precision; the tiny one early in training too."""
    states: dict[str, tuple[State, ...]] = {"tiny": ("later", "early")}
    return [
        Case(model=model, precision=precision, state=state)
        for model in models
        for state in states.get(model, ("later",))
        for precision in precisions
    ]


def batches_of(model: str, tokens: int, n: int, data: Path | None) -> list[list[Pair]]:
    """`n` batches for `model`: for the tiny one Multi30k's captions, if `data` is there; else drawn."""
    vocabulary = SHAPES[model].vocabulary
    if model == "tiny" and data is not None:
        return captions(data / "multi30k", vocabulary, tokens, n)
    return drawn(vocabulary, tokens, n)


def work(shape: Shape, batches: Sequence[Sequence[Pair]]) -> int:
    """The useful operations of one pass over `batches`."""
    return sum(shape.flops(len(s) + 1, len(t) + 1) for batch in batches for s, t in batch)


def run_one(command: Sequence[str], environment: Mapping[str, str], seconds: float = 900.0) -> Record:
    """A process of its own, which prints one JSON line last. Its `error` instead, when it fails or takes too long."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {seconds:.0f} s"}
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return {"error": (done.stderr.splitlines() or ["nothing printed"])[-1]}
    record: Record = json.loads(lines[-1])
    return record


def merged(records: Sequence[Record]) -> Record:
    """The rounds of one case as one record: medians of all passes of all rounds; the largest memory."""
    whole = next((r for r in records if "error" in r), None) or dict(records[0])
    if "error" in whole:
        return whole
    passes = [seconds for r in records for seconds in r["pass_seconds"]]
    median, steps = statistics.median(passes), whole["steps"]
    rate = whole["target_tokens"] / median
    peak = statistics.median(r["gemm_peak_gflops"] for r in records)
    return whole | {
        "tokens_per_second": round(rate, 1),
        "seconds_per_step": round(median / steps, 4),
        "warm_up_seconds": max(r["warm_up_seconds"] for r in records),
        "cpu_seconds_per_step": statistics.median(r["cpu_seconds_per_step"] for r in records),
        "spread": round((max(passes) - min(passes)) / median, 3),
        "peak_rss_mib": max(r["peak_rss_mib"] for r in records),
        "gemm_peak_gflops": peak,
        "mfu": round(statistics.median(r["mfu"] for r in records), 4),
        "pass_seconds": passes,
        "rounds": len(records),
    }


def isa_environment(isa: str) -> dict[str, str]:
    """For oneDNN and PyTorch: nothing for `native`; `avx2` hides AVX512 and AMX."""
    return {} if isa == "native" else {"ONEDNN_MAX_CPU_ISA": isa.upper(), "ATEN_CPU_CAPABILITY": isa}
