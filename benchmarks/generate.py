"""Hugging Face's `generate` on the sentences of `benchmarks.decode`, in an environment that has `transformers`.

    peers/hf/bin/python -m benchmarks.generate --mode throughput --precision bf16 --batch 16 --threads 2

Prints one JSON line like that of `benchmarks.decode`. The model is Marian, of the same size, with random weights; every
output takes --out-len steps. Sentences are sorted by length, as the other engines do themselves.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import SHAPES, Record
from benchmarks.decoding import Outputs, measure, options, random_sentences, report
from benchmarks.peers import marian, padded
from benchmarks.timing import peak_rss_mib

PAD, EOS = 1, 2
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def generator(a: argparse.Namespace) -> Callable[[Outputs], Outputs]:
    """A function from sources to outputs."""
    torch.manual_seed(0)
    model: Any = marian(SHAPES[a.model]).eval().to(TYPES[a.precision])

    @torch.inference_mode()
    def decode(sources: Outputs) -> Outputs:
        found: Outputs = [[] for _ in sources]
        order = sorted(range(len(sources)), key=lambda i: -len(sources[i]))
        for rows in (order[i : i + a.batch] for i in range(0, len(order), a.batch)):
            ended = [[*sources[i], EOS] for i in rows]
            ids = padded(ended, PAD)
            outputs = model.generate(
                input_ids=ids,
                attention_mask=(ids != PAD).long(),
                num_beams=a.beam,
                do_sample=False,
                min_new_tokens=a.out_len,
                max_new_tokens=a.out_len,
            )
            for i, output in zip(rows, outputs.tolist(), strict=True):
                found[i] = output[1:-1]  # without the begin symbol, and the last piece, which is the end's
        return found

    return decode


def run(a: argparse.Namespace) -> Record:
    """Measure one case."""
    torch.set_num_threads(a.threads)
    sources = random_sentences(a.sentences, SHAPES[a.model].vocabulary)
    facts: Record = {"mode": a.mode, "engine": "huggingface", "precision": a.precision, "beam": a.beam}
    facts |= {"batch": a.batch, "threads": a.threads, "workers": 1} | measure(generator(a), sources, a)
    return facts | {"peak_rss_mib": peak_rss_mib()}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser)
    parser.add_argument("--precision", choices=list(TYPES), default="fp32")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, choices=[1], default=1)
    parser.add_argument("--outputs", type=Path, help="write the outputs there, as JSON")
    a = parser.parse_args()
    if a.mode == "latency":
        a.batch = 1
    report(run(a), a.outputs)


if __name__ == "__main__":
    main()
