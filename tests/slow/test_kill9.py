"""`kill -9` at random moments of a run, again and again: it always ends in the very same model.

By hand: `python -m tests.slow.test_kill9 --kills 20 --seed 1`
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.disk import contents
from tests.tiny import EVERYTHING, new_life
from transduce.checkpoint import load_progress, saved_steps
from transduce.files import NEW

SETTINGS = [word for setting in EVERYTHING for word in ("--set", setting)]
COMMAND = [sys.executable, "-m", "transduce", "train", "tiny.toml", "--out", "run", *SETTINGS]


@dataclass
class Report:
    """What was done to how many lives: how long one takes unharmed, and in which phases the kills hit."""

    seconds: float = 0.0
    steps: int = 0
    lives: int = 0
    phases: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """One line."""
        phases = ", ".join(f"{n} {phase}" for phase, n in self.phases.most_common())
        return (
            f"{self.phases.total()} kills in {self.lives} lives of {self.steps} steps and {self.seconds:.1f} s "
            f"({phases}): every model/ the same, byte for byte"
        )


def start(folder: Path) -> subprocess.Popen[bytes]:
    """The same command as ever. What it says is in `log`, from the start."""
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(COMMAND, cwd=folder, stdout=log, stderr=log)


def phase(folder: Path, since: float) -> str:
    """What a process that started at `since` and is dead now was doing, by what it said and what it left."""

    def left(pattern: str) -> bool:
        return any(path.stat().st_mtime >= since for path in (folder / "run").glob(pattern))

    said = (folder / "log").read_text()
    if "finished at step" in said or "done: " in said:
        return "when it was done"
    if "choosing the model" in said:
        return "writing the model" if left(f"model{NEW}") else "choosing the model"
    if left(f"checkpoints/*{NEW}"):
        return "writing a checkpoint"
    if left("checkpoints/*.gone"):
        return "deleting a checkpoint"
    if "continuing" in said or "precision" in said:
        return "training or validating"
    return "preparing data" if "vocabulary" in said else "starting up"


def kill_and_continue(folder: Path, kills: int, seed: int) -> Report:
    """Raises `AssertionError` unless every life, killed `kills` times in all, ends as one that was never killed."""
    report, moments = Report(), random.Random(seed)
    began = time.monotonic()
    assert start(new_life(folder / "unharmed")).wait() == 0
    report.seconds = time.monotonic() - began
    report.steps = saved_steps(folder / "unharmed" / "run")[-1]
    assert report.steps < 2000, "patience should have ended it"
    expected = contents(folder / "unharmed" / "run" / "model")
    while report.phases.total() < kills:
        report.lives += 1
        life = new_life(folder / f"life{report.lives}")
        done = False
        while not done:
            since = time.time()
            process = start(life)
            # all kills done: this last life may live
            patience = moments.uniform(0, report.seconds) if report.phases.total() < kills else None
            try:
                status = process.wait(patience)
                assert status == 0, (life / "log").read_text()
                done = True
            except subprocess.TimeoutExpired:
                process.kill()
                assert process.wait() == -signal.SIGKILL
                report.phases[phase(life, since)] += 1
        assert load_progress(life / "run", saved_steps(life / "run")[-1]).step == report.steps
        assert contents(life / "run" / "model") == expected
    return report


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path) -> None:
    report = kill_and_continue(tmp_path, kills=20, seed=1)
    sys.stdout.write(f"{report}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(f"{kill_and_continue(Path(folder), options.kills, options.seed)}\n")


if __name__ == "__main__":
    main()
