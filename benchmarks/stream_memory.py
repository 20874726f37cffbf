"""Does the memory of `transduce translate` grow with its input? Peak memory and time for 5,000 to 40,000 short lines.

    python -m benchmarks.stream_memory
    OMP_NUM_THREADS=2 python -m benchmarks.stream_memory --workers 2

A tiny model with random weights translates each file in a process of its own (and its workers). Prints a JSON line for
each, then the slope of a straight line through them in bytes a line, and what a million lines add by it.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LINES = (5_000, 10_000, 20_000, 40_000)
WORDS = [a + b + c for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]


def write_model(folder: Path) -> None:
    """A bundle with random weights."""
    import torch

    from transduce.bundle import BundleConfig, save_bundle, unique_weights
    from transduce.nn import TransformerConfig, build
    from transduce.text.pieces import IDS
    from transduce.text.tokenizer import Tokenizer, TokenizerPair

    torch.manual_seed(1)
    words = Tokenizer.train([" ".join(WORDS)] * 2, "words", len(WORDS) + 100, pretokenised=False)
    config = TransformerConfig(n_layers=1, d_model=32, d_ff=64, n_heads=2, d_k=16, d_v=16)
    model = build(config, words.size, words.size, IDS.pad)
    settings = BundleConfig(
        model=config, source_size=words.size, target_size=words.size, max_length=50, beam=2, extra_length=2
    )
    save_bundle(folder, settings, unique_weights(model), TokenizerPair(words, words), "")


def write_lines(path: Path, n: int) -> None:
    """Lines of 1 to 6 words."""
    choose = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(n):
            file.write(" ".join(choose.choices(WORDS, k=choose.randint(1, 6))) + "\n")


def translate(folder: Path, workers: int) -> dict[str, float]:
    """Translate the file in `folder`, in this process, as the command does."""
    from transduce.cli.main import run

    start = time.perf_counter()
    files = ["--input", str(folder / "in"), "--output", str(folder / "out"), "--workers", str(workers)]
    if status := run(["translate", str(folder / "model"), *files]):
        raise SystemExit(status)
    return {
        "written": (folder / "out").read_bytes().count(b"\n"),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "largest_worker_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        "seconds": round(time.perf_counter() - start, 1),
    }


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=LINES)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # what a process of its own is given
    a = parser.parse_args()
    if a.folder is not None:
        print(json.dumps(translate(a.folder, a.workers)), flush=True)
        return
    peaks = []
    for n in a.lines:
        with tempfile.TemporaryDirectory() as folder:
            write_model(Path(folder) / "model")
            write_lines(Path(folder) / "in", n)
            command = [sys.executable, "-m", "benchmarks.stream_memory", "--folder", folder]
            command += ["--workers", str(a.workers)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        result = {"lines": n, "workers": a.workers} | json.loads(done.stdout)
        peaks.append(result["peak_rss_bytes"] + a.workers * (a.workers > 1) * result["largest_worker_bytes"])
        print(json.dumps(result), flush=True)
    if len(peaks) > 1:
        slope = float(np.polyfit(a.lines, peaks, 1)[0])
        found = {"slope_bytes_per_line": round(slope, 1), "million_lines_add_mib": round(slope * 1e6 / 2**20, 1)}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
