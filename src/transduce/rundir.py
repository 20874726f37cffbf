"""The RUN directory: what was asked (recipe.toml), what was used (resolved.toml), what happened (events.jsonl)."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from transduce.bundle import is_bundle
from transduce.config import RunConfig, build_config, differences, parse_toml, to_toml, to_values
from transduce.device import Precision
from transduce.errors import CheckpointError, ConfigError, SaveError
from transduce.evaluation.metrics import MetricScore
from transduce.files import NEW, OLD, locked, write_atomically

T = TypeVar("T")

MAY_BE_RAISED = ("training.max_steps", "training.minutes", "training.patience")
OURS = ("data-new", "recipe.toml", "resolved.toml", "events.jsonl", "data", "checkpoints", "model", "tensorboard")


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """What was decided before step 1, by the machine or the clock, and never again: nothing timed steers a run.

    `warmup` is the one asked for, or a fifth of the steps where minutes leave too few for it. `seconds_per_step` is
    what was measured for `training.minutes` (0 when there is no such limit); it includes each step's share of the
    validations. `command` is the one that started the run.
    """

    max_steps: int
    checkpoint_every: int
    warmup: int
    precision: Precision
    device: str
    threads: int
    seconds_per_step: float
    command: str
    start_from: str


def is_begun(run: Path) -> bool:
    """Whether `run` is a run that can be continued; False if a new one may be made there. Writes nothing.

    Raises:
        CheckpointError: there is something in `run` that is not ours. A folder of the user's may well be called `data`.
    """
    _check_folder(run)
    if not (run / "resolved.toml").is_file():
        for name in OURS:
            if not _may_be_ours(run / name):
                raise CheckpointError(f"{run / name}: not made by transduce, and in the way. Choose another --out.")
    if (run / "recipe.toml").is_file():
        if not ((run / "resolved.toml").is_file() or (run / "data").is_dir()):  # the recipe is written after the data
            raise CheckpointError(f"{run}: has a recipe.toml, but is not a run of transduce. Choose another --out.")
        return True
    ours = {name + suffix for name in OURS for suffix in ("", NEW, OLD)}
    if run.is_dir() and any(f.name not in ours and not _is_average(f) for f in run.iterdir()):
        raise CheckpointError(f"{run}: not empty, and not a run of transduce. Choose another --out.")
    return False


def _check_folder(run: Path) -> None:
    if run.exists() and not run.is_dir():
        raise CheckpointError(f"{run}: a file, not a run directory. Choose another --out.")


@contextmanager
def alone(run: Path) -> Iterator[None]:
    """This process is the only one that works in the folder `run`, which is made if need be, while the block runs.

    When the block fails, a folder that was made and is empty is removed. Where the file system has no locks, nobody is
    kept out.

    Raises:
        CheckpointError: it is a file, or another process works there.
        SaveError: it cannot be made, or opened.
    """
    _check_folder(run)
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(f"{run}: cannot be made ({error.strerror}). Choose another --out.") from error
    try:
        with ExitStack() as held:
            try:
                free = held.enter_context(locked(run))
            except OSError as error:
                raise SaveError(f"{run}: cannot be opened ({error.strerror}). Choose another --out.") from error
            if not free:
                raise CheckpointError(
                    f"{run}: another process is at work there. Wait for it, stop it, or choose another --out."
                )
            yield
    except BaseException:
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise


@contextmanager
def new_data(run: Path) -> Iterator[Path]:
    """Where to prepare the data of a run that starts, or starts over. Once it is there, the old run is deleted.

    When preparing fails, an old run is as it was.
    """
    yield run / "data-new"
    try:
        # from here on the old run is not begun: a kill cannot mix the two
        (run / "recipe.toml").unlink(missing_ok=True)
        for name in OURS:
            if name != "data-new":
                _delete(run / name)
        (run / "data-new").rename(run / "data")
    except OSError as error:
        raise SaveError(f"{run}: cannot be cleared ({error}). Choose another --out.") from error


def record(run: Path, config: RunConfig) -> None:
    """Write recipe.toml: from now on `run` is this recipe's. One that says so already is left as it is."""
    _write(run / "recipe.toml", to_values(config))


def _write(path: Path, values: Mapping[str, Any]) -> None:
    text = to_toml(values).encode()
    if not path.is_file() or path.read_bytes() != text:
        write_atomically(path, text)


def check_same(run: Path, config: RunConfig) -> None:
    """Raise `ConfigError` unless `config` is what `run` was begun with; steps, minutes and patience may be raised."""
    for key, (old, new) in differences(load_asked(run), config).items():
        if key in MAY_BE_RAISED and load_chosen(run) is None:  # its data was prepared, and nothing more
            continue
        if key not in MAY_BE_RAISED:
            raise ConfigError(
                f"{run}: this run was begun with {key} = {old!r}, now it is {new!r}. "
                f"Use another --out, the old value, or --fresh to start over."
            )
        unlimited = key != "training.max_steps" and new == 0
        lowered = new < old or (key != "training.max_steps" and old == 0)
        if lowered and not unlimited:
            was = "had no limit" if old == 0 else f"was {old}"
            raise ConfigError(f"{run}: {key} {was}; it may be raised on continuing, but not lowered to {new}.")


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
    if not (run / "resolved.toml").is_file():
        return None
    return _resolved(run, lambda values: Chosen(**{"warmup": values["training"]["warmup"]} | values["chosen"]))


def load_reasons(run: Path) -> dict[str, tuple[Any, str]]:
    """Settings that were chosen for the data, by `section.key`: the value that is used, and why it was chosen.

    Empty where a recipe said all. Raises `CheckpointError` where `run` has no resolved.toml that can be read.
    """

    def reasons(values: dict[str, Any]) -> dict[str, tuple[Any, str]]:
        split = ((key, *key.partition(".")[::2], text) for key, text in values["facts"].get("why", {}).items())
        return {key: (values[section][name], str(text)) for key, section, name, text in split}

    return _resolved(run, reasons)


def load_facts(run: Path) -> dict[str, Any]:
    """Versions, data and reasons when `run` was begun. Raises `CheckpointError` as `load_reasons` does."""
    return _resolved(run, lambda values: dict(values["facts"]))


def _resolved(run: Path, read: Callable[[dict[str, Any]], T]) -> T:
    """What `read` finds in resolved.toml."""
    path = run / "resolved.toml"
    try:
        return read(parse_toml(path.read_text(encoding="utf-8"), str(path)))
    except (OSError, UnicodeDecodeError, LookupError, AttributeError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{path}: broken ({error}). Start over with --fresh.") from error


def save_resolved(run: Path, config: RunConfig, chosen: Chosen, facts: Mapping[str, Any]) -> None:
    """Write resolved.toml: every value that is used, what was chosen, and facts about data and versions."""
    values = to_values(resolve(config, chosen))
    record = {name: getattr(chosen, name) for name in chosen.__slots__}
    _write(run / "resolved.toml", values | {"chosen": record, "facts": dict(facts)})


def resolve(config: RunConfig, chosen: Chosen) -> RunConfig:
    """`config` with what was chosen in the place of what was asked."""
    c = chosen
    training = replace(config.training, max_steps=c.max_steps, checkpoint_every=c.checkpoint_every, warmup=c.warmup)
    return replace(config, training=training)


def sessions(run: Path) -> list[dict[str, Any]]:
    """What each session of `run` took, as events.jsonl tells; none before the first one ends."""
    return [event for _, event in _events(run / "events.jsonl") if event.get("event") == "session"]


def dev_score(run: Path) -> MetricScore | None:
    """What the model of a finished `run` has on the dev set."""
    models = [event for _, event in _events(run / "events.jsonl") if event.get("event") == "model"]
    return MetricScore(score=models[-1]["score"], signature=models[-1]["signature"]) if models else None


def truncate_events(run: Path, step: int) -> None:
    """Forget events after `step`: the work they tell of was lost with the process, and is done again."""
    path = run / "events.jsonl"
    if path.is_file():
        kept = [line for line, e in _events(path) if e.get("step", 0) <= step and e.get("event") != "model"]
        write_atomically(path, b"".join(line + b"\n" for line in kept))


def _events(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Every line of events.jsonl that is whole, and what it says; none where there is no file."""
    for line in path.read_bytes().split(b"\n") if path.is_file() else ():
        try:
            event = json.loads(line)
        except ValueError:  # cut off in the middle of a line
            continue
        if isinstance(event, dict):
            yield line, event


def _is_average(path: Path) -> bool:
    """Whether `path` is a model that `transduce average` put into the run."""
    return path.name.startswith("average-") and is_bundle(path)


def _may_be_ours(path: Path) -> bool:
    """Whether `path` is missing, or holds what we put there: it may be deleted."""
    inside = [f.name for f in path.iterdir()] if path.is_dir() else []
    match path.name:
        case _ if not inside:
            return True
        case "data" | "data-new":
            return "manifest.json" in inside
        case "model":
            return is_bundle(path)
        case "checkpoints":
            return all(name.startswith("step-") for name in inside)
        case "tensorboard":
            return all(name.startswith("events.out.") for name in inside)
        case _:
            return False  # a folder where we have files


def _delete(path: Path) -> None:
    """Delete a file, or a folder under another name: one that is half deleted could not be told from a foreign one."""
    leavings = [path.with_name(path.name + suffix) for suffix in (NEW, OLD)]
    for leaving in leavings:
        _remove(leaving)
    if path.exists() or path.is_symlink():
        _remove(path.rename(leavings[0]))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
