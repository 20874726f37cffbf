"""Which model to keep, judged on lines that did not choose it: single checkpoints, or the average of the last n.

    python -m benchmarks.choosing runs/a runs/b

A finished run keeps its last n checkpoints and some more. All are decoded on the dev set with the run's own beam; then
the dev set is cut in halves, `HALVES` times: one half chooses the best checkpoint, the other says how good it is
beside the average of the last n, and beside whichever of the two had the larger score where it was chosen. The best of
many checkpoints looks better on the lines that chose it than it is. Prints one JSON line a run; "better" is in points
of the run's metric, above 0 where it is better.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from transduce.bundle import load_bundle, load_weights_into
from transduce.checkpoint import load_progress, load_weights, saved_steps
from transduce.data.prepare import load_prepared
from transduce.evaluation.metrics import higher_is_better
from transduce.evaluation.statistics import LineStatistics, check_metric, line_statistics
from transduce.rundir import load_asked
from transduce.training.averaging import average
from transduce.validation import DevSet

HALVES = 400


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    for run in parser.parse_args().runs:
        print(json.dumps(judge(run)), flush=True)


def judge(run: Path) -> dict[str, Any]:
    """The candidates of `run` on halves of its dev set."""
    config, n = load_asked(run), load_asked(run).training.average
    steps = saved_steps(run)
    validated = [r.step for r in load_progress(run, steps[-1]).history if r.step in steps]
    candidates = {"average": validated[-n:]} | {str(step): [step] for step in validated}
    found = [decoded(run, of) for of in candidates.values()]
    sign = 1 if higher_is_better(config.evaluation.metric) else -1
    lines, draw = len(found[0].rows), np.random.default_rng(1)
    flattered, better, larger = [], [], []
    for _ in range(HALVES):
        order = draw.permutation(lines).tolist()
        choosing, judging = order[: lines // 2], order[lines // 2 :]
        on_choosing = [sign * one.of(choosing).total for one in found]
        best = 1 + int(np.argmax(on_choosing[1:]))
        on_judging = [sign * one.of(judging).total for one in (found[0], found[best])]
        flattered.append(on_choosing[0] - on_choosing[best])
        better.append(on_judging[0] - on_judging[1])
        larger.append(better[-1] if flattered[-1] < 0 else 0.0)
    return {
        "run": run.name,
        "metric": config.evaluation.metric,
        "lines": lines,
        "all_lines": {name: one.total for name, one in zip(candidates, found, strict=True)},
        "average_better_where_chosen": round(float(np.mean(flattered)), 2),
        "average_better_elsewhere": round(float(np.mean(better)), 2),
        "average_better_than_the_larger_score": round(float(np.mean(larger)), 2),
    }


def decoded(run: Path, steps: list[int]) -> LineStatistics:
    """The dev set by the average of the checkpoints `steps`, line by line."""
    config, prepared, cpu = load_asked(run), load_prepared(run / "data"), torch.device("cpu")
    model = load_bundle(run / "model", cpu).model
    load_weights_into(model, average(load_weights(run, step) for step in steps), run)
    whole = replace(config, evaluation=replace(config.evaluation, sentences=len(prepared.dev)))
    dev = DevSet(whole, prepared, cpu, "fp32")
    outputs = dev.decode(model, config.decoding)
    return line_statistics(check_metric(config.evaluation.metric), outputs, dev.references, config.evaluation.tokenize)


if __name__ == "__main__":
    main()
