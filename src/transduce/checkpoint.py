"""Checkpoints of a run: `checkpoints/step-00001000/`, written whole or not at all, never with pickle.

`weights.safetensors`, `optimizer.safetensors` and `state.json`. Random state is not stored: every step seeds the
generator with (seed, step), and every epoch's batches follow from (seed, epoch), so the position says it all.
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from transduce.errors import CheckpointError
from transduce.files import atomic_folder, for_others, write_json
from transduce.shapes import Tensor

FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class DevResult:
    """What the model of one step did on the dev set. `loss` is nats per piece without smoothing."""

    step: int
    loss: float
    metric: str
    score: float
    higher_is_better: bool

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is better: the metric first, the loss decides ties."""
        return (self.score if self.higher_is_better else -self.score, -self.loss)


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a run is: everything that the next step depends on, weights and moments apart.

    `batch` is the number of batches of `epoch` that were used. `interim`: saved between two validations, because the
    user stopped, so the averages do not see it. `history` holds one result per validation, in order.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    interim: bool = False
    finished: bool = False
    history: tuple[DevResult, ...] = ()

    @property
    def epoch_read(self) -> int:
        """The epoch whose batches the last update read: the last update of an epoch ends it."""
        return self.epoch - (self.step > 0 and self.batch == 0)

    @property
    def best(self) -> DevResult | None:
        """The best validation so far, the earlier one in a tie."""
        return max(self.history, key=lambda r: r.rank, default=None)

    @property
    def stale(self) -> int:
        """Validations since the best one."""
        best = self.best
        return 0 if best is None else sum(1 for r in self.history if r.step > best.step)


def step_folder(run: Path, step: int) -> Path:
    """Where the checkpoint of `step` is."""
    return run / "checkpoints" / f"step-{step:08d}"


def saved_steps(run: Path) -> list[int]:
    """Steps that have a checkpoint, in order."""
    folders = (run / "checkpoints").glob("step-*")
    return sorted(int(f.name[5:]) for f in folders if re.fullmatch(r"step-\d{8}", f.name))


def save_checkpoint(
    run: Path, progress: Progress, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor]
) -> None:
    """Write the checkpoint of `progress.step`. Raises `SaveError`; the checkpoints before it are untouched."""
    with atomic_folder(step_folder(run, progress.step)) as folder:
        _save_tensors(weights, folder / "weights.safetensors")
        _save_tensors(optimizer, folder / "optimizer.safetensors")
        write_json(folder / "state.json", {"format": FORMAT} | asdict(progress))


def load_progress(run: Path, step: int) -> Progress:
    """The state of one checkpoint. Raises `CheckpointError` when it is missing, truncated or foreign."""
    path = step_folder(run, step) / "state.json"
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if fields.pop("format") != FORMAT:
            raise CheckpointError(f"{path}: made by another version of transduce. Start over with --fresh.")
        fields["history"] = tuple(DevResult(**r) for r in fields["history"])
        progress = Progress(**fields)
        if progress.step != step:
            raise ValueError(f"it is of step {progress.step}")
        return progress
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(path, error) from error


def load_weights(run: Path, step: int) -> dict[str, Tensor]:
    """Model weights of one checkpoint. Raises `CheckpointError`."""
    return _load_tensors(step_folder(run, step) / "weights.safetensors")


def load_optimizer(run: Path, step: int) -> dict[str, Tensor]:
    """The optimizer's tensors of one checkpoint. Raises `CheckpointError`."""
    return _load_tensors(step_folder(run, step) / "optimizer.safetensors")


def prune(run: Path, keep: Sequence[int], keep_optimizer: Sequence[int]) -> None:
    """Delete checkpoints that nothing needs any more, and optimizer states of those kept only for averaging.

    Also deletes what a process left that was killed while saving or pruning.
    """
    for leftover in (run / "checkpoints").glob("step-*.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for step in saved_steps(run):
        folder = step_folder(run, step)
        if step not in keep:
            doomed = folder.with_name(folder.name + ".gone")
            folder.rename(doomed)  # so that a kill in the middle of deleting leaves no half checkpoint
            shutil.rmtree(doomed, ignore_errors=True)
        elif step not in keep_optimizer:
            (folder / "optimizer.safetensors").unlink(missing_ok=True)


def _save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path)
        for_others(path)
    except SafetensorError as error:  # its I/O errors (a full disk) are not OSErrors
        raise OSError(None, str(error)) from error


def _load_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path}: missing, truncated or not a checkpoint of transduce ({error}). "
        f"Delete {path.parent} to go on without it (or from the one before), or start over with --fresh."
    )
