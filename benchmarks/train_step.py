"""How fast is a training step? Forward, loss, backward and Adam, on length-bucketed batches of like size.

    python -m benchmarks.train_step --model tiny --precision fp32

Prints one JSON line: non-padding target tokens a second (median of several passes), memory, and the rate of the step's
counted FLOPs beside that of a large matrix product measured just before in the same process. Other work on the machine
shows: repeat, interleave with what you compare with, and quote ratios.
"""

import argparse
import json
import platform
import resource
import statistics
import time

import numpy as np
import torch

from transduce.data.collate import Batch, collate
from transduce.device import Chosen, tune_process
from transduce.nn.transformer import TransformerConfig, build
from transduce.sizes import flops_per_token
from transduce.text.pieces import IDS
from transduce.training.optimizer import adam
from transduce.training.trainer import train_step
from transduce.training.world import default_threads, environment

MODELS: dict[str, tuple[TransformerConfig, int]] = {
    "base": (TransformerConfig(), 37_000),
    "small": (TransformerConfig(d_model=256, d_ff=1024, n_heads=4, d_k=64, d_v=64), 10_000),
    "tiny": (TransformerConfig(n_layers=4, d_model=128, d_ff=256, n_heads=4, d_k=32, d_v=32), 10_000),
}


def batches(vocabulary: int, tokens: int, n: int) -> list[Batch]:
    """`n` batches of about `tokens` target tokens each; lengths as in captions and news, alike inside a batch."""
    random = np.random.default_rng(0)
    found = []
    for mean in np.linspace(12, 40, n):
        lengths = np.clip(random.normal(mean, 1.0, int(tokens / mean)).astype(int), 2, 100)
        rows = [(random.integers(4, vocabulary, k), random.integers(4, vocabulary, k)) for k in lengths]
        found.append(collate(rows))
    return found


def gemm_gflops(precision: Chosen, size: int = 2048) -> float:
    """The best of five large matrix products."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.randn(size, size, dtype=dtype), torch.randn(size, size, dtype=dtype)
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds[1:]) / 1e9


def measure(name: str, precision: Chosen, threads: int, repeats: int, tokens: int) -> dict[str, object]:
    """One case as a record."""
    tune_process(threads)
    torch.manual_seed(0)
    config, vocabulary = MODELS[name]
    peak = gemm_gflops(precision)
    model = build(config, vocabulary, vocabulary, IDS.pad).train()
    optimizer = adam(model)
    work = batches(vocabulary, tokens, 4)
    passes = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        for batch in work:
            train_step(model, [batch], optimizer, rate=1e-4, eps_ls=0.1, clip=0.0, precision=precision)
        passes.append(time.perf_counter() - start)
    seconds = statistics.median(passes[1:])
    n = sum(batch.n_target_tokens for batch in work)
    flops = flops_per_token(config, vocabulary, vocabulary)
    return {
        "model": name,
        "precision": precision,
        "tokens_per_second": round(n / seconds, 1),
        "seconds_per_step": round(seconds / len(work), 4),
        "spread": round((max(passes[1:]) - min(passes[1:])) / seconds, 3),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "gemm_peak_gflops": round(peak, 1),
        "mfu": round(n / seconds * flops / 1e9 / peak, 3),
        "threads": threads,
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(MODELS), default="tiny")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--threads", type=int, default=default_threads(environment()))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=4096, help="target tokens a batch")
    a = parser.parse_args()
    print(json.dumps(measure(a.model, a.precision, a.threads, a.repeats, a.tokens)), flush=True)


if __name__ == "__main__":
    main()
