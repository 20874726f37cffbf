"""Does the memory of `transduce prepare` grow with the corpus? Peak memory and time for 0.1 to 1 million pairs.

    python -m benchmarks.prepare_memory

Invents corpora of sentences, prepares each in a process of its own with all cleaning rules on, and prints a JSON line
for each, then the slope of a straight line through them in bytes a pair.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

PAIRS = (100_000, 200_000, 500_000, 1_000_000)


def sentences(n: int) -> Iterator[tuple[str, str]]:
    """Sentences of 4 to 28 words of about Zipf's frequencies and their mirror images; one in 100 pairs is a copy."""
    choose = random.Random(1)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = ["".join(choose.choices(syllables, k=choose.randint(1, 4))) for _ in range(50_000)]
    weights = np.cumsum(1 / np.arange(1, len(words) + 1)).tolist()
    before: tuple[str, str] = ("a", "b")
    for i in range(n):
        if i % 100:
            line = choose.choices(words, cum_weights=weights, k=choose.randint(4, 28))
            before = " ".join(line) + ".", " ".join(word[::-1] for word in reversed(line)) + "!"
        yield before


def write(folder: Path, n: int) -> None:
    """`train.aa` and `train.bb` with `n` pairs."""
    paths = [folder / f"train.{side}" for side in ("aa", "bb")]
    with paths[0].open("w", encoding="utf-8") as sources, paths[1].open("w", encoding="utf-8") as targets:
        for source, target in sentences(n):
            sources.write(source + "\n")
            targets.write(target + "\n")


def prepare(folder: Path) -> dict[str, float]:
    """Prepare the corpus in `folder`, in this process, as the command does. Returns its peak memory and its time."""
    from transduce.cli.main import run

    start = time.perf_counter()
    files = ["--source", str(folder / "train.aa"), "--target", str(folder / "train.bb"), "--preset", "tiny"]
    status = run(["prepare", *files, "--set", "tokenizer.size=8000", "--out", str(folder / "run")])
    if status:
        raise SystemExit(status)
    manifest = json.loads((folder / "run" / "data" / "manifest.json").read_text(encoding="utf-8"))
    return {
        "kept": manifest["train"]["kept"],
        "duplicate": manifest["train"]["duplicate"],
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time(), 1),
    }


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=PAIRS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # what a process of its own is given
    a = parser.parse_args()
    if a.folder is not None:
        print(json.dumps(prepare(a.folder)), flush=True)
        return
    peaks = []
    for n in a.pairs:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), n)
            command = [sys.executable, "-m", "benchmarks.prepare_memory", "--folder", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        result = {"pairs": n} | json.loads(done.stdout)
        peaks.append(result["peak_rss_bytes"])
        print(json.dumps(result), flush=True)
    if len(peaks) > 1:
        print(json.dumps({"slope_bytes_per_pair": round(float(np.polyfit(a.pairs, peaks, 1)[0]), 1)}), flush=True)


if __name__ == "__main__":
    main()
