"""How fast is our training step? Forward, loss, backward and Adam on batches of about 4,096 target tokens.

    make bench
    python -m benchmarks.train_step --model tiny --precision fp32,bf16 --threads 1

Each case runs in a process of its own, several rounds of all cases in turn; prints one JSON line a case: medians of all
passes. Other work on the machine shows in `spread`. `python -m benchmarks.compare_peers` puts other toolkits beside it.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.batches import write
from benchmarks.cases import SHAPES, Case, Record, batches_of, cases, isa_environment, merged, run_one
from transduce.cli.main import LIBRARIES


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that say what to time and how long."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=_names, default=list(SHAPES), metavar="A,B", help="base, small, tiny; all")
    options.add_argument("--precision", type=_names, default=["fp32", "bf16"], metavar="A,B", help="fp32, bf16; both")
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument("--rounds", type=int, default=3, help="processes for each case, all cases in turn")
    options.add_argument("--repeats", type=int, default=2, help="timed passes over the batches in each process")
    options.add_argument("--batches", type=int, default=2, help="batches in a pass, from short sentences to long")
    options.add_argument("--tokens", type=int, default=4096, help="target positions in a batch, at most")
    options.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("TRANSDUCE_DATA"),
        help="with multi30k/ in it: the tiny model then gets its captions as batches; else $TRANSDUCE_DATA",
    )
    options.add_argument("--isa", choices=["native", "avx2"], default="native", help="what oneDNN and PyTorch may use")
    options.add_argument("--hide-amx", dest="isa", action="store_const", const="avx2", help="the same as --isa avx2")
    return options


def check(options: argparse.ArgumentParser, a: argparse.Namespace) -> list[Case]:
    """The cases asked for; says what is wrong and exits with 2 where there are none."""
    for name, given, known in (("--model", a.model, list(SHAPES)), ("--precision", a.precision, ["fp32", "bf16"])):
        if wrong := [value for value in given if value not in known]:
            options.error(f"{name} {','.join(wrong)}: choose from {', '.join(known)}")
    for name in ("threads", "rounds", "repeats", "batches"):
        if getattr(a, name) < 1:
            options.error(f"--{name} {getattr(a, name)}: at least 1")
    return cases(a.model, a.precision)


class Runner:
    """Starts timed processes: ours and the peers' with the same batches, threads and instructions."""

    def __init__(self, a: argparse.Namespace, folder: Path) -> None:
        self._files = {model: folder / f"{model}.jsonl" for model in a.model}
        for model, path in self._files.items():
            write(path, batches_of(model, a.tokens, a.batches, a.data))
        self._options = ["--threads", str(a.threads), "--repeats", str(a.repeats)]
        self._environment = {"OMP_NUM_THREADS": str(a.threads), "HF_HUB_OFFLINE": "1", **isa_environment(a.isa)}

    def ours(self, case: Case) -> Record:
        """One process of ours, in the environment that the command line makes for itself."""
        kept = {name: os.environ.get(name, value) for name, value in LIBRARIES.items()}
        return run_one([sys.executable, "-m", "benchmarks.ours", *self._rest(case)], kept | self._environment)

    def peer(self, name: str, python: str, case: Case) -> Record:
        """One process of a peer, in the environment as it is."""
        return run_one([python, "-m", "benchmarks.peers", name, *self._rest(case)], self._environment)

    def _rest(self, case: Case) -> Sequence[str]:
        return [*case.options, "--batches", str(self._files[case.model]), *self._options]


def _names(text: str) -> list[str]:
    return text.split(",")


def main() -> None:
    """Measure what the command line asks for."""
    options = parser(__doc__)
    a = options.parse_args()
    asked = check(options, a)
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(a, Path(folder))
        rounds = [[runner.ours(case) for case in asked] for _ in range(a.rounds)]
    for case, *records in zip(asked, *rounds, strict=True):
        merged_record = merged(records)
        print(json.dumps({"model": case.model, "precision": case.precision, "state": case.state} | merged_record))
    if any("error" in record for records in rounds for record in records):
        sys.exit(1)


if __name__ == "__main__":
    main()
