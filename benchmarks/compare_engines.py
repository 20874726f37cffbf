"""Our engine and CTranslate2 in one run, in turn, on the same weights, each in every setting that it has here.

    python -m benchmarks.compare_engines --mode throughput --json
    python -m benchmarks.compare_engines --mode latency
    python -m benchmarks.compare_engines --bundle runs/mine --source test.en --reference test.de
    python -m benchmarks.compare_engines --huggingface peers/hf

With --json a line for each case, as `benchmarks.decode` prints it; without, a table, the ratio of the best settings and
the share of sentences for which the first two give the same output, in float32 and at their best. Each case is a
process of its own, so its peak memory is its own. `--huggingface` adds Hugging Face's `generate` from the environment
named (benchmarks/README.md), on random weights of its own for a model of the same size: it cannot take ours.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import ctranslate2

from benchmarks.cases import ROOT, isa_environment
from benchmarks.decoding import Outputs, options

Case = dict[str, str]
SETTING = ("engine", "precision", "batch", "threads", "workers")
SHOWN = ("output_tokens_per_second", "cpu_ms_per_sentence", "p50_ms", "p95_ms", "peak_rss_mib", "bandwidth_share")


def cases(mode: str, cores: int, batches: Sequence[str], with_huggingface: bool = False) -> Iterator[tuple[str, Case]]:
    """Engine and settings, the engines in turn."""
    kinds = sorted(ctranslate2.get_supported_compute_types("cpu"))
    sizes = batches if mode == "throughput" else ["1"]
    shapes = [("1", str(cores)), (str(cores), "1")] if mode == "throughput" and cores > 1 else [("1", "1")]
    if mode == "latency" and cores > 1:
        shapes.append((str(cores), "1"))
    all_kinds = {"torch": ["fp32", "bf16", "int8"], "ctranslate2": kinds}
    if with_huggingface:
        all_kinds["huggingface"] = ["fp32", "bf16"]
    each = {
        engine: [
            (engine, {"--precision": precision, "--batch": batch, "--threads": threads, "--workers": workers})
            for batch in sizes
            for threads, workers in shapes
            if engine != "huggingface" or workers == "1"  # it has no workers
            for precision in precisions
        ]
        for engine, precisions in all_kinds.items()
    }
    for turn in zip_longest(*each.values()):
        yield from (case for case in turn if case is not None)


def run(command: list[str], settings: Case, rest: list[str], folder: Path, hide_amx: bool) -> dict[str, Any]:
    """One line of the program that `command` begins, and its outputs."""
    outputs = folder / "outputs.json"
    command = [*command, *(word for pair in settings.items() for word in pair), *rest, "--outputs", str(outputs)]
    hidden = isa_environment("avx2") | {"CT2_FORCE_CPU_ISA": "AVX2"} if hide_amx else {}
    variables = os.environ | hidden
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=variables)
    record: dict[str, Any] = json.loads(done.stdout)
    return record | {"outputs": json.loads(outputs.read_text(encoding="utf-8"))}


def alike(ours: Outputs, theirs: Outputs) -> float:
    """The share of sentences with the same output, but for the last step's end symbol."""
    pairs = list(zip(ours, theirs, strict=True))
    return sum(all(i == j for i, j in zip(x, y, strict=False)) for x, y in pairs) / len(pairs)


def row(record: dict[str, Any], columns: Sequence[str]) -> str:
    """One line of the table."""
    return "".join(f"{record.get(name, ''):>{max(15, len(name) + 2)}}" for name in columns)


def main() -> None:
    """Compare as the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON line a case")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--shortlist", action="store_true", help="for both: the bundle's, or a random one")
    parser.add_argument("--hide-amx", action="store_true", help="and AVX512, from all but MKL")
    parser.add_argument("--batches", default="1,16,64", help="sizes for --mode throughput")
    parser.add_argument("--huggingface", type=Path, metavar="VENV", help="its `generate` too; only random weights")
    parser.add_argument("--cpu", action="store_true", help="compare processor time, for machines that are busy")
    a = parser.parse_args()
    if a.huggingface is not None and a.bundle is not None:
        parser.error("--huggingface: it cannot load a bundle. Leave one of the two out.")
    if a.huggingface is not None and a.shortlist:
        parser.error("--huggingface: it has no shortlist. Leave one of the two out.")
    if a.huggingface is not None and a.alpha is not None:
        parser.error("--huggingface: it has a length penalty of its own. Leave --alpha out.")
    names = ("mode", "model", "beam", "sentences", "out_len", "repeats", "bundle", "source", "reference", "alpha")
    given = {f"--{name.replace('_', '-')}": getattr(a, name) for name in names}
    given = {name: value.absolute() if isinstance(value, Path) else value for name, value in given.items()}
    rest = [word for name, value in given.items() if value is not None for word in (name, str(value))]
    rest += ["--shortlist"] if a.shortlist else []
    best: dict[str, dict[str, Any]] = {}
    exact: dict[str, dict[str, Any]] = {}
    by = "cpu_ms_per_sentence" if a.cpu else "p50_ms" if a.mode == "latency" else "sentences_per_second"
    sign = 1 if by == "sentences_per_second" else -1
    columns = [*SETTING, by, *(name for name in SHOWN if name != by), *(["bleu"] if a.reference else [])]
    if not a.json:
        print(row({name: name for name in columns}, columns))
    with tempfile.TemporaryDirectory() as folder:
        own = [sys.executable, "-m", "benchmarks.decode", "--conversion", f"{folder}/converted", "--engine"]
        programs = {engine: [*own, engine] for engine in ("torch", "ctranslate2")}
        if a.huggingface is not None:
            programs["huggingface"] = [f"{a.huggingface.absolute()}/bin/python", "-m", "benchmarks.generate"]
        for engine, settings in cases(a.mode, a.cores, a.batches.split(","), a.huggingface is not None):
            record = run(programs[engine], settings, rest, Path(folder), a.hide_amx)
            if engine not in best or sign * record[by] > sign * best[engine][by]:
                best[engine] = record
            if record["precision"] in ("fp32", "float32"):
                exact[engine] = record
            shown = {name: value for name, value in record.items() if name != "outputs"}
            print(json.dumps(shown) if a.json else row(shown, columns), flush=True)
    if a.json:
        return
    for engine, record in best.items():
        setting = ", ".join(f"{name} {record[name]}" for name in SETTING[1:])
        print(f"best {engine}: {setting}: {by} = {record[by]}")
    for engine in list(best)[1:]:
        print(f"ours over {engine}: {(best['torch'][by] / best[engine][by]) ** sign:.2f}")
    for which, found in (("in float32", exact), ("at their best", best)):
        print(f"the same outputs {which}: {alike(found['torch']['outputs'], found['ctranslate2']['outputs']):.1%}")


if __name__ == "__main__":
    main()
