"""`make speedrun`: how long from Multi30k's files to 38 BLEU on its test set, everything included?

    python -m benchmarks.speedrun
    python -m benchmarks.speedrun --note "bf16, packed batches"
    python -m benchmarks.speedrun --set training.max_steps=20 --goal 0 --start 0 --no-record     does it run?

One process does everything, starting with nothing; its wall and processor time are what counts, from before Python
starts to the test score: vocabulary, training, dev scores, averages. The dev set alone says when to stop. At every
validation from `--start` BLEU on (decoded greedily, as during training), the last checkpoints are averaged, and the
average decodes the dev set as users will, by beam; at `--goal` BLEU training ends, and the test set is scored, once.
The goal is a point above 38 because dev and test scores differ by about that much (docs/results.md). A run is one
line of docs/speedrun.jsonl, appended when it is done, and a row of docs/speedrun.md, whether it reached 38 or not.
The recipe is `multi30k_ende`, made shorter by `SHORTER`.
"""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from benchmarks.results import DOCS, commit
from transduce.checkpoint import DevResult, Progress
from transduce.cli.main import LIBRARIES
from transduce.compose import average_run, train
from transduce.config import DataSet, RunConfig, load_recipe
from transduce.data.corpus import read_pairs
from transduce.data.preflight import Preflight
from transduce.decoding.translator import Translator
from transduce.evaluation.metrics import MetricScore, evaluate, group_references
from transduce.machine import hardware
from transduce.reporter import Reporter

RECIPE = "multi30k_ende"
SHORTER = (
    "training.max_steps=3000",  # the rate ends at 0
    "training.checkpoint_every=250",
    "training.average=2",
    "training.learning_rate=0.008",  # what Muon does best with in few updates (docs/quality.md)
    "training.r_drop=0",
)
RECORDS = DOCS / "speedrun.jsonl"
PAGE = DOCS / "speedrun.md"
TARGET = 38.0


@final
class Pace(Reporter):
    """A reporter that asks for a stop after every validation that is good enough to look closer."""

    def __init__(self, start: float) -> None:
        self._start = start
        self.stop = False
        self.validations = 0
        self.prepared = time.perf_counter()

    def say(self, text: str) -> None:
        """On standard error."""
        print(text, file=sys.stderr)

    def surveyed(self, preflight: Preflight) -> None:
        """The data is ready."""
        self.prepared = time.perf_counter()

    def begin(self, progress: Progress, config: RunConfig) -> None:
        """On we go."""
        self.stop = False

    def validated(self, result: DevResult, progress: Progress) -> None:
        """Decide."""
        self.validations += 1
        self.stop = result.score >= self._start
        self.say(f"step {result.step}: dev {result.metric} {result.score:.2f}, loss {result.loss:.3f}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finish:
    """How a race ended. `reached`: the goal, and not the last step. `seconds`: wall time, by what it went to."""

    step: int
    reached: bool
    dev: MetricScore
    test: MetricScore
    seconds: dict[str, float]


def race(config: RunConfig, run: Path, *, start: float, goal: float) -> Finish:
    """Train `config` in `run` from nothing until an average reaches `goal` on dev; then score it on test."""
    if config.data.dev is None or config.data.test is None:
        raise SystemExit("speedrun: the recipe needs a dev and a test set.")
    began, closer = time.perf_counter(), 0.0
    pace, bundle, fresh = Pace(start), run / "averaged", True
    while True:
        outcome = train(config, run, fresh=fresh, reporter=pace, stop=lambda: pace.stop)
        fresh, looked = False, time.perf_counter()
        average_run(run, min(config.training.average, pace.validations), bundle)
        dev = score(bundle, config, config.data.dev)
        closer += time.perf_counter() - looked
        pace.say(f"step {outcome.step}: average {dev.score:.2f}")
        if dev.score >= goal or outcome.finished:
            break
    ended = time.perf_counter()
    test = score(bundle, config, config.data.test)
    seconds = {
        "data": pace.prepared - began,
        "training and greedy dev scores": ended - pace.prepared - closer,
        "averages and their dev scores": closer,
        "test score": time.perf_counter() - ended,
    }
    reached = dev.score >= goal
    return Finish(step=outcome.step, reached=reached, dev=dev, test=test, seconds=seconds)


def score(bundle: Path, config: RunConfig, part: DataSet) -> MetricScore:
    """What the bundle reaches on a whole set, decoded as `transduce evaluate` does."""
    pairs = list(read_pairs(config.data.files(part)))
    sources, references = group_references([s for s, _ in pairs], [t for _, t in pairs])
    outputs = Translator.load(bundle).translate(sources)
    metric = config.evaluation.metric
    return evaluate(outputs, references, [metric], config.evaluation.tokenize)[metric]


def page(records: Sequence[dict[str, Any]]) -> str:
    """docs/speedrun.md."""
    lines = [
        "# The speedrun",
        "",
        f"From Multi30k's files (`lc.norm.tok`, English to German) to {TARGET:g} BLEU on test_2016_flickr (beam 5,",
        "tokens as they stand). One process does everything, from nothing on: vocabulary, training, dev scores,",
        "averages. The dev set alone decides when to stop; the test set is scored once. `make speedrun` appends to",
        "`speedrun.jsonl`, from which this page is made. `benchmarks/speedrun.py` has the rule and names the recipe;",
        "`benchmarks/speedrun_peer.py` gives the same to a peer, which trains to the last step.",
        "",
        "| date | commit | tool | wall, processor minutes | steps | dev | test | reached | threads, machine | note |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in records:
        reached = "yes" if r["test"] >= TARGET else "**no**"
        minutes, machine = f"{r['wall_minutes']}, {r['cpu_minutes']}", f"{r['threads']}, {r['hardware']}"
        scores = f"{r['dev']:.2f} | {r['test']:.2f} | {reached}"
        tool, step = r.get("tool", "transduce"), r["step"]
        lines += [f"| {r['date']} | {r['commit']} | {tool} | {minutes} | {step} | {scores} | {machine} | {r['note']} |"]
    for tool, last in {r.get("tool", "transduce"): r for r in records}.items():
        parts = ", ".join(f"{name} {seconds:.0f}" for name, seconds in last["seconds"].items())
        goal = f"until {last['goal']:g} on dev, if it reached that" if "goal" in last else "to the last step"
        lines += ["", f"The last one of {tool}: `{last['command']}`, seed {last['seed']}, {goal}. Seconds: {parts}."]
        lines += [f"Test: `{last['signature']}`."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Start the process that does it, and time it; or, inside, do it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    options.add_argument("--start", type=float, default=36.5, help="greedy dev BLEU from which averages are looked at")
    options.add_argument("--goal", type=float, default=39.0, help="dev BLEU of the average that ends training")
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument("--note", default="", help="what is new, for the record")
    options.add_argument("--no-record", action="store_true", help="print the record only")
    options.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    a = options.parse_args()
    if a.inside is None:
        _time(a)
        return
    config = load_recipe(RECIPE, [*SHORTER, *a.set])
    done = race(config, a.inside, start=a.start, goal=a.goal)
    facts = {"step": done.step, "reached_goal": done.reached, "seed": config.training.seed}
    scores = {"dev": done.dev.score, "test": done.test.score, "signature": done.test.signature}
    print(json.dumps(facts | scores | {"seconds": {k: round(v, 1) for k, v in done.seconds.items()}}))


def _time(a: argparse.Namespace) -> None:
    environment = LIBRARIES | dict(os.environ) | {"OMP_NUM_THREADS": str(a.threads)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.speedrun", *sys.argv[1:], "--inside", str(Path(folder) / "run")]
        start = time.perf_counter()
        done = subprocess.run(command, env=environment, check=False, stdout=subprocess.PIPE, text=True)
        wall = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.returncode)
    keep("benchmarks.speedrun", a, wall, {"goal": a.goal, **json.loads(done.stdout.splitlines()[-1])})


def keep(module: str, a: argparse.Namespace, wall: float, facts: dict[str, Any]) -> None:
    """Print the record of a run of `wall` seconds, with the processor time of this process and those it waited for;
    append it to `docs/speedrun.jsonl` and make the page again, unless `a.no_record`."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "command": shlex.join(["python", "-m", module, *sys.argv[1:]]),
        "wall_minutes": round(wall / 60, 2),
        "cpu_minutes": round(sum(u.ru_utime + u.ru_stime for u in used) / 60, 2),
        "threads": a.threads,
        "hardware": hardware(),
        "note": a.note,
        **facts,
    }
    print(json.dumps(record))
    if a.no_record:
        return
    with RECORDS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")
    lines = RECORDS.read_text(encoding="utf-8").splitlines()
    PAGE.write_text(page([json.loads(line) for line in lines]), encoding="utf-8")


if __name__ == "__main__":
    main()
