"""Timing decoding, ours and the peers', in one way. Without transduce, since peers' environments import it, and without
torch (see `benchmarks.cases`)."""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.cases import SHAPES, Record

Outputs = list[list[int]]


def options(parser: argparse.ArgumentParser) -> None:
    """What `benchmarks.decode`, `benchmarks.generate` and `benchmarks.compare_engines` all take."""
    parser.add_argument("--mode", choices=["throughput", "latency"], default="throughput")
    parser.add_argument("--model", choices=list(SHAPES), default="base")
    parser.add_argument("--beam", type=int, default=4)
    parser.add_argument("--sentences", type=int, default=128)
    parser.add_argument("--out-len", type=int, default=30, help="steps of every output, its end symbol included")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bundle", type=Path, help="a trained model with one vocabulary, instead of random weights")
    parser.add_argument("--source", type=Path, help="its inputs, one a line")
    parser.add_argument("--reference", type=Path, help="adds BLEU")
    parser.add_argument("--alpha", type=float, help="length penalty; the bundle's own, or 0.6")


def random_sentences(n: int, size: int) -> Outputs:
    """Sentences with lengths as in news: log-normal, 25 pieces on average, standard deviation 13."""
    random = np.random.default_rng(2)
    variance = np.log(1 + (13 / 25) ** 2)
    lengths = np.clip(np.rint(random.lognormal(np.log(25) - variance / 2, np.sqrt(variance), n)), 3, 100).astype(int)
    return [random.integers(4, size, length).tolist() for length in lengths]


def measure(decode: Callable[[Outputs], Outputs], sources: Outputs, a: argparse.Namespace) -> Record:
    """One record of times, and the outputs under `outputs`."""
    decode(sources[: min(len(sources), 4)])
    seconds, cpu, single = [], [], []
    outputs: Outputs = []
    for _ in range(a.repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        if a.mode == "throughput":
            outputs = decode(sources)
        else:
            outputs = []
            for source in sources:
                one = time.perf_counter()
                outputs += decode([source])
                single.append(1000 * (time.perf_counter() - one))
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - cpu_start)
    median = statistics.median(seconds)
    record: Record = {
        "sentences": len(sources),
        "sentences_per_second": round(len(sources) / median, 2),
        "output_tokens_per_second": round(sum(len(output) + 1 for output in outputs) / median, 1),
        "spread": round((max(seconds) - min(seconds)) / median, 3),
        "cpu_ms_per_sentence": round(1000 * min(cpu) / len(sources), 2),
    }
    if a.mode == "latency":
        record |= {"p50_ms": round(float(np.percentile(single, 50)), 1)}
        record |= {"p95_ms": round(float(np.percentile(single, 95)), 1)}
    return record | {"outputs": outputs}


def report(record: Record, to: Path | None) -> None:
    """Print `record` as one line of JSON, without its outputs; write these to a file if there is one for them."""
    outputs = record.pop("outputs")
    if to is not None:
        to.write_text(json.dumps(outputs), encoding="utf-8")
    print(json.dumps(record), flush=True)
