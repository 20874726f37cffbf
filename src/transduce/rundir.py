"""The RUN directory: what was asked (recipe.toml), what was used (resolved.toml), what happened (events.jsonl)."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transduce.config import RunConfig, build_config, differences, parse_toml, to_toml, to_values
from transduce.errors import CheckpointError, ConfigError
from transduce.files import write_atomically

MAY_BE_RAISED = ("training.max_steps", "training.minutes", "training.patience")
OURS = ("recipe.toml", "resolved.toml", "events.jsonl", "data", "checkpoints", "model", "tensorboard")


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """What was decided before step 1, by the machine or the clock, and never again: nothing timed steers a run.

    `seconds_per_step` is what was measured for `training.minutes` (0 when there is no such limit); it includes each
    step's share of the validations. `command` is the one that started the run.
    """

    max_steps: int
    checkpoint_every: int
    precision: str
    device: str
    threads: int
    seconds_per_step: float
    command: str
    start_from: str


def claim(run: Path, config: RunConfig, fresh: bool) -> bool:
    """Make `run` this recipe's directory; True if it has been begun before and is to be continued.

    Raises:
        ConfigError: the run was begun with another recipe; names the first difference.
        CheckpointError: the directory holds something else, or a broken recipe.
    """
    if run.exists() and not run.is_dir():
        raise CheckpointError(f"{run}: a file, not a run directory. Choose another --out.")
    begun = (run / "recipe.toml").is_file()
    if not begun and run.is_dir() and any(f.name not in OURS and f.suffix != ".tmp" for f in run.iterdir()):
        raise CheckpointError(f"{run}: not empty, and not a run of transduce. Choose another --out.")
    if begun and fresh:
        for name in OURS:
            doomed = run / name
            if doomed.is_dir():
                shutil.rmtree(doomed)
            else:
                doomed.unlink(missing_ok=True)
        begun = False
    if begun:
        check_same(run, config)
    run.mkdir(parents=True, exist_ok=True)
    write_atomically(run / "recipe.toml", to_toml(to_values(config)).encode())
    return begun


def check_same(run: Path, config: RunConfig) -> None:
    """Raise `ConfigError` unless `config` is what `run` was begun with; steps, minutes and patience may be raised."""
    before = load_asked(run)
    for key in differences(before, config):
        section, _, name = key.partition(".")
        old = to_values(before).get(section, {})
        new = to_values(config).get(section, {})
        old, new = (old.get(name), new.get(name)) if name else (old, new)
        if key in MAY_BE_RAISED:
            if name == "max_steps" or 0 < old <= new or new == 0:
                if name != "max_steps" or new >= old:
                    continue
            raise ConfigError(f"{run}: {key} was {old}; it may be raised on continuing, but not lowered to {new}.")
        raise ConfigError(
            f"{run}: this run was begun with {key} = {old!r}, now it is {new!r}. Use another --out, the old value, "
            f"or --fresh to start over."
        )


def load_asked(run: Path) -> RunConfig:
    """The recipe that `run` was last started with. Raises `CheckpointError` when there is none."""
    path = run / "recipe.toml"
    try:
        return build_config(parse_toml(path.read_text(encoding="utf-8"), str(path)), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}): not a run of transduce. Give its directory."
        ) from error


def load_chosen(run: Path) -> Chosen | None:
    """What was decided when `run` was begun; None before that. Raises `CheckpointError` when it is broken."""
    path = run / "resolved.toml"
    if not path.is_file():
        return None
    try:
        return Chosen(**parse_toml(path.read_text(encoding="utf-8"), str(path))["chosen"])
    except (OSError, KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{path}: broken ({error}). Start over with --fresh.") from error


def save_resolved(run: Path, config: RunConfig, chosen: Chosen, facts: Mapping[str, Any]) -> None:
    """Write resolved.toml: every value that is used, what was chosen, and facts about data and versions."""
    values = to_values(resolve(config, chosen))
    record = {name: getattr(chosen, name) for name in chosen.__slots__}
    write_atomically(run / "resolved.toml", to_toml(values | {"chosen": record, "facts": dict(facts)}).encode())


def resolve(config: RunConfig, chosen: Chosen) -> RunConfig:
    """`config` with what was chosen in the place of what was asked."""
    training = replace(config.training, max_steps=chosen.max_steps, checkpoint_every=chosen.checkpoint_every)
    return replace(config, training=training)


def truncate_events(run: Path, step: int) -> None:
    """Forget events after `step`: the work they tell of was lost with the process, and is done again."""
    path = run / "events.jsonl"
    if not path.is_file():
        return
    kept = []
    for line in path.read_bytes().split(b"\n"):
        try:
            event = json.loads(line)
        except ValueError:  # cut off in the middle of a line
            continue
        if isinstance(event, dict) and event.get("step", 0) <= step and event.get("event") != "model":
            kept.append(line)
    write_atomically(path, b"".join(line + b"\n" for line in kept))
