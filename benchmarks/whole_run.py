"""Where the time of a whole `transduce train` goes: starting up, the updates, and everything around them.

    python -m benchmarks.whole_run --data DIR
    python -m benchmarks.whole_run --data DIR --recipe scan_simple --set training.max_steps=400

`transduce prepare` makes the data in one process; what counts is `transduce train` in the next one, from before Python
starts: the seconds until the first update is done, and what then goes to the updates, their input (the batches of an
epoch, padding), validations, checkpoints, the log, and choosing the final model. Prints one JSON line.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.results import commit
from transduce.cli.main import LIBRARIES, run
from transduce.machine import hardware

RECIPE = "multi30k_ende"
STEPS = 700  # two validations of that recipe


class Watch:
    """Seconds spent in functions, by a name for what they do."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self.first_update = 0.0

    def on(self, owner: Any, function: str, name: str) -> None:
        """From now on, time `owner.function`."""
        inner: Callable[..., Any] = getattr(owner, function)

        @functools.wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
                self.calls[name] = self.calls.get(name, 0) + 1
                if name == "updates" and not self.first_update:
                    self.first_update = time.time()

        setattr(owner, function, timed)


def inside(arguments: list[str], started: float) -> dict[str, Any]:
    """Run `transduce` with `arguments` here, and say where the time since `started` (the process, that is) went."""
    from transduce import compose
    from transduce.training import trainer
    from transduce.training.meters import EventLog
    from transduce.validation import DevSet

    watch = Watch()
    watch.on(trainer.Trainer, "update", "updates")
    watch.on(trainer.Trainer, "epoch_batches", "input: batches of an epoch")
    watch.on(trainer, "collate", "input: padding")
    watch.on(DevSet, "validate", "validations")
    watch.on(compose, "save_checkpoint", "checkpoints")
    watch.on(compose, "_prune", "checkpoints: old ones removed")
    watch.on(EventLog, "stepped", "log")
    watch.on(EventLog, "write", "log: validations and samples")
    watch.on(compose, "choose_model", "choosing the model")
    status = run(arguments)
    if status:
        raise SystemExit(status)
    ended = time.time()
    updates = watch.seconds["updates"]
    return {
        "wall_seconds": round(ended - started, 2),
        "until_first_update": round(watch.first_update - started, 2),
        "seconds": {name: round(seconds, 3) for name, seconds in watch.seconds.items()},
        "calls": watch.calls,
        "of_updates": {name: round(s / updates, 4) for name, s in watch.seconds.items() if name != "updates"},
    }


def main() -> None:
    """Prepare, then start the process that is watched; or, inside, watch."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--recipe", default=RECIPE)
    options.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    options.add_argument("--data", type=Path, default=os.environ.get("TRANSDUCE_DATA"), help="else $TRANSDUCE_DATA")
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument("--inside", type=float, help=argparse.SUPPRESS)
    options.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    a = options.parse_args()
    if a.data is None:
        options.error("--data: the folder with the recipe's data")
    settings = [f"data.root={a.data}", *(a.set or [f"training.max_steps={STEPS}"])]
    rest = [part for setting in settings for part in ("--set", setting)]
    if a.inside is not None:
        found = inside(["train", a.recipe, "--out", str(a.out), *rest], a.inside)
        print(json.dumps(found))
        return
    environment = LIBRARIES | dict(os.environ) | {"OMP_NUM_THREADS": str(a.threads)}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        prepare = [sys.executable, "-m", "transduce", "prepare", a.recipe, "--out", str(out), *rest]
        subprocess.run(prepare, env=environment, check=True, stdout=subprocess.DEVNULL)
        command = [sys.executable, "-m", "benchmarks.whole_run", *sys.argv[1:], "--out", str(out), "--inside"]
        done = subprocess.run(
            [*command, str(time.time())], env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
    facts = {"recipe": a.recipe, "threads": a.threads, "hardware": hardware(), "commit": commit()}
    print(json.dumps(facts | json.loads(done.stdout.splitlines()[-1])))


if __name__ == "__main__":
    main()
