"""Does the memory of `transduce translate` grow with its input? What it holds while 40,000 short lines pass through.

    python -m benchmarks.stream_memory
    OMP_NUM_THREADS=2 python -m benchmarks.stream_memory --workers 2

A tiny model with random weights reads lines from a pipe. Prints a JSON line for every tenth of them: bytes that the
process and its workers hold, and seconds so far. The last is the slope of a straight line through the second half in
bytes a line, and what a million lines add by it.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

LINES = 40_000
PARTS = 10
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


def lines(n: int) -> Iterator[bytes]:
    """Lines of 1 to 6 words."""
    choose = random.Random(1)
    for _ in range(n):
        yield (" ".join(choose.choices(WORDS, k=choose.randint(1, 6))) + "\n").encode()


def resident(pid: int) -> int:
    """Bytes that process `pid` and its children hold now (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    own = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return own + sum(resident(int(child)) for child in children)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--workers", type=int, default=1)
    a = parser.parse_args()
    held: list[tuple[int, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder))
        command = [sys.executable, "-m", "transduce", "translate", folder, "--workers", str(a.workers)]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        feeding = threading.Thread(target=_feed, args=(process, a.lines))
        feeding.start()
        n = 0
        for n, _ in enumerate(process.stdout, start=1):
            if n % max(1, a.lines // PARTS) == 0:
                held.append((n, resident(process.pid)))
                seconds = round(time.perf_counter() - start, 1)
                print(json.dumps({"lines": n, "resident_bytes": held[-1][1], "seconds": seconds}), flush=True)
        feeding.join()
        if process.wait() or n != a.lines:
            raise SystemExit(f"translate ended with {process.returncode} after {n} of {a.lines} lines")
    late = np.array(held[len(held) // 2 :], dtype=np.float64)
    slope = float(np.polyfit(late[:, 0], late[:, 1], 1)[0])
    found = {"workers": a.workers, "slope_bytes_a_line": round(slope, 1)}
    print(json.dumps(found | {"a_million_lines_add_mib": round(slope * 1e6 / 2**20, 1)}), flush=True)


def _feed(process: "subprocess.Popen[bytes]", n: int) -> None:
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.writelines(lines(n))


if __name__ == "__main__":
    main()
