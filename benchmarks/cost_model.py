"""How well does the cost model tell time and memory? Predicted beside measured, for models and batches of many sizes.

    python -m benchmarks.cost_model --seconds 10

Trains every case for some seconds in a process of its own, on invented pairs whose lengths vary as those of captions,
and prints a JSON line: seconds an update and peak memory, predicted and measured. After each precision come the
constants of `transduce.cost` that fit these measurements best. Time is the processor's, of one thread, so that other
work on the machine shows little.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from transduce.calibration import calibrated_machine, step_ratio
from transduce.checkpoint import Progress
from transduce.cli.main import LIBRARIES
from transduce.cost import KEPT, KERNELS, WEIGHT_MOVES, Work, count, kept_bytes, step_memory, update_seconds
from transduce.data.shards import ShardReport, TokenisedCorpus
from transduce.device import Precision, tune_process
from transduce.machine import measure_machine, peak_resident, resident
from transduce.nn.sublayer import Norm
from transduce.nn.transformer import TransformerConfig, build
from transduce.text.pieces import IDS
from transduce.training.optimizer import Adam
from transduce.training.parallel import cut
from transduce.training.trainer import BatchingConfig, Trainer, TrainingConfig
from transduce.training.world import World, environment

PAIRS = 20_000


@dataclass(frozen=True)
class Case:
    """A model, its vocabulary, and how it is trained; `length` is the mean of the invented sentences."""

    n_layers: int
    d_model: int
    d_ff: int
    vocabulary: int
    max_tokens: int
    accumulate: int = 1
    length: float = 14.0
    norm: Norm = "pre"

    @property
    def model(self) -> TransformerConfig:
        """The settings of the model: heads are 32 or 64 wide."""
        d_k = 32 if self.d_model < 256 else 64
        shape = TransformerConfig(n_layers=self.n_layers, d_model=self.d_model, d_ff=self.d_ff, norm=self.norm)
        return replace(shape, n_heads=self.d_model // d_k, d_k=d_k, d_v=d_k)


CASES = {
    "symbols": Case(3, 128, 256, 60, 512, accumulate=8),
    "letters": Case(4, 128, 512, 60, 2048, length=9),
    "tiny": Case(4, 128, 256, 6000, 2048),
    "tiny, large batch": Case(4, 128, 256, 10_000, 4096),
    "small": Case(6, 256, 1024, 8000, 2048),
    "small, long lines": Case(6, 256, 1024, 8000, 4096, length=50),
    "base": Case(6, 512, 2048, 8000, 1024, norm="post"),
    "base, large vocabulary": Case(6, 512, 2048, 32_000, 1024, norm="post"),
}


def measure(name: str, precision: Precision, seconds: float, threads: int) -> dict[str, Any]:
    """One case, in this process. The batch that needs the most memory is the first; it is not timed."""
    case, sizes = CASES[name], (CASES[name].vocabulary,) * 2
    corpus, batching = invent(case), BatchingConfig(max_tokens=case.max_tokens, accumulate=case.accumulate)
    parts = cut(threads, batching.tokens, case.d_model)
    machine = measure_machine(threads // parts.lanes)
    tune_process(threads)
    base = resident()  # before calibration, as the plan has it
    calibrated = calibrated_machine(threads // parts.lanes, precision)
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    work = Work.of(corpus, batching, parts, seed=1)
    model = build(case.model, *sizes, IDS.pad)
    world = World(device=torch.device("cpu"))
    trainer = Trainer(
        model, Adam(model), corpus, lambda step: 1e-4, batching, TrainingConfig(), precision, world, threads
    )
    longest = max(trainer.epoch_batches(0), key=lambda batch: int(corpus.target_lengths[batch].max()))
    trainer.update(Progress(step=1, batch=1), [longest])
    times: list[float] = []
    start = time.perf_counter()
    for progress, numbers in trainer.updates(Progress()):
        began = clock()
        trainer.update(progress, numbers)
        times.append(clock() - began)
        if len(times) >= 4 and time.perf_counter() - start > seconds:
            break
    counted = count(case.model, *sizes, work)
    weights = (16 + 4 * (work.lanes - 1)) * counted.weights
    memory = base + weights + KERNELS[precision] + step_memory(case.model, sizes[1], work, precision)
    return {
        "case": name,
        "precision": precision,
        "updates": len(times),
        "seconds_predicted": round(update_seconds(counted, calibrated, precision), 4),
        "step_ratio": round(step_ratio(precision), 3),
        "seconds_measured": round(float(np.mean(times[1:])), 4),
        "memory_predicted": round(memory),
        "memory_measured": peak_resident(),
        "kept": work.lanes * kept_bytes(case.model, work),
        "kernels": KERNELS[precision],
        "base": base,
        "counted": counted._asdict(),
        "machine": asdict(machine),
    }


def invent(case: Case) -> TokenisedCorpus:
    """A corpus of random pieces, in memory."""
    random = np.random.default_rng(1)
    source = np.clip(random.gamma(7, case.length / 7, PAIRS), 1, 4 * case.length).astype(np.int64)
    target = np.clip(source * random.normal(1, 0.15, PAIRS), 1, 4 * case.length).astype(np.int64)
    sides = {
        side: (random.integers(10, case.vocabulary, lengths.sum()), lengths.cumsum())
        for side, lengths in (("source", source), ("target", target))
    }
    return TokenisedCorpus(ShardReport(kept=PAIRS), {}, [sides])


def fitted(lines: list[dict[str, Any]], precision: Precision) -> dict[str, float]:
    """The constants with the smallest relative errors, in the mean square, over the measurements of one precision."""
    times, memories = [], []
    for line in lines:
        n, m = line["counted"], line["machine"]
        rest = line["seconds_measured"] - 4 * WEIGHT_MOVES * n["weights"] / m["memory"]
        columns = 6 * n["multiplied"] / m[precision], 4 * n["kept"] / m["cache"], 4 * n["logits"] / m["cache"]
        times.append([column / rest for column in (*columns, n["sublayers"] * m["call"])])
        fixed = line["memory_predicted"] - KEPT[precision] * line["kept"] - line["kernels"]
        rest = line["memory_measured"] - fixed
        memories.append([line["kept"] / rest, 1 / rest])
    products, moves, logits, calls = _smallest_errors(times)
    kept, loaded = _smallest_errors(memories)
    names = ("GEMM", "MOVES", "LOGIT_MOVES", "CALLS", "KEPT", "KERNELS")
    found = (1 / products, moves, logits, calls, kept, loaded)
    return {name: float(f"{value:.2g}") for name, value in zip(names, found, strict=True)}


def _smallest_errors(rows: list[list[float]]) -> list[float]:
    """Factors of the columns that bring every row's sum nearest to 1; none is negative."""
    a, kept = np.array(rows), list(range(len(rows[0])))
    while True:
        found = np.linalg.lstsq(a[:, kept], np.ones(len(a)), rcond=None)[0]
        if (found > 0).all():
            factors = np.full(a.shape[1], 1e-9)
            factors[kept] = found
            return [float(factor) for factor in factors]
        del kept[int(found.argmin())]


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="of training for each case")
    parser.add_argument("--case", choices=sorted(CASES), help="this one alone")
    parser.add_argument("--precision", choices=["fp32", "bf16"], help="this one alone")
    parser.add_argument("--threads", type=int, default=1, help="with 1 it is processor time, else wall time")
    parser.add_argument("--here", action="store_true", help="in this process (needs --case and --precision)")
    a = parser.parse_args()
    if a.here:
        print(json.dumps(measure(a.case, a.precision, a.seconds, a.threads)), flush=True)
        return
    env = {**LIBRARIES, **environment()}  # as the command line has it
    precisions: list[Precision] = [a.precision] if a.precision else ["fp32", "bf16"]
    for precision in precisions:
        lines = []
        for name in [a.case] if a.case else CASES:
            child = [sys.executable, "-m", "benchmarks.cost_model", "--here", "--case", name, "--precision", precision]
            out = subprocess.run(
                [*child, "--seconds", str(a.seconds), "--threads", str(a.threads)],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
                env=env,
            ).stdout
            print(out, end="", flush=True)
            lines.append(json.loads(out))
        if not a.case:
            print(json.dumps({"precision": precision, **fitted(lines, precision)}), flush=True)


if __name__ == "__main__":
    main()
