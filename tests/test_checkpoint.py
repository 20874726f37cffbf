"""Checkpoints: what goes in comes out, what is broken is noticed, and the last good one survives."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.disk import contents, full_disk
from transduce.checkpoint import (
    DevResult,
    Progress,
    load_optimizer,
    load_progress,
    load_weights,
    prune,
    save_checkpoint,
    saved_steps,
    step_folder,
)
from transduce.errors import CheckpointError, SaveError
from transduce.files import NEW, OLD

pytestmark = pytest.mark.unit

FILES = ("weights.safetensors", "optimizer.safetensors", "state.json")


def result(step: int, score: float, loss: float = 1.0, higher_is_better: bool = True) -> DevResult:
    return DevResult(step=step, loss=loss, metric="bleu", score=score, higher_is_better=higher_is_better)


def weights(step: int) -> dict[str, Tensor]:
    return {"a.weight": torch.full((3, 2), step / 3), "b": torch.arange(4).float().requires_grad_()}


def save(run: Path, step: int, **fields: Any) -> Progress:
    progress = Progress(step=step, epoch=2, batch=7, history=(result(1, 0.1), result(2, 1 / 3)), **fields)
    moments = {"exp_avg.b": torch.randn(5, 3).T, "exp_avg_sq.b": torch.tensor(1e-45)}  # not contiguous; denormal
    save_checkpoint(run, progress, weights(step), moments)
    return progress


def load_all(run: Path, step: int) -> None:
    load_progress(run, step)
    load_weights(run, step)
    load_optimizer(run, step)


# ---- there and back


@pytest.mark.parametrize(("interim", "finished"), [(False, False), (True, False), (False, True)])
def test_what_goes_in_comes_out(tmp_path: Path, interim: bool, finished: bool) -> None:
    progress = save(tmp_path, 5, interim=interim, finished=finished)
    torch.manual_seed(0)
    assert load_progress(tmp_path, 5) == progress
    found = load_weights(tmp_path, 5)
    assert found.keys() == weights(5).keys()
    assert all(torch.equal(found[name], value) for name, value in weights(5).items())
    moments = load_optimizer(tmp_path, 5)
    assert moments["exp_avg.b"].shape == (3, 5)
    assert moments["exp_avg_sq.b"].item() == torch.tensor(1e-45).item()
    assert sorted(f.name for f in step_folder(tmp_path, 5).iterdir()) == sorted(FILES)


def test_before_the_first_update_there_are_no_moments(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Progress(), weights(0), {})
    assert load_optimizer(tmp_path, 0) == {}
    assert load_progress(tmp_path, 0) == Progress()


def test_numbers_survive_exactly(tmp_path: Path) -> None:
    history = (result(1, 0.1 + 0.2, loss=1e-300), result(2, 100 / 3, loss=2**-52))
    save_checkpoint(tmp_path, Progress(step=2, history=history), {}, {})
    assert load_progress(tmp_path, 2).history == history


def test_saved_steps_are_the_whole_ones_in_order(tmp_path: Path) -> None:
    assert saved_steps(tmp_path) == []
    for step in (30, 4, 200):
        save(tmp_path, step)
    for name in (
        f"step-00000005{NEW}",
        f"step-00000006{OLD}",
        "step-00000007.gone",
        "step-8",
        "steps",
        "step-0000000x",
    ):
        (tmp_path / "checkpoints" / name).mkdir()
    assert saved_steps(tmp_path) == [4, 30, 200]


# ---- broken ones


@pytest.mark.parametrize("name", FILES)
def test_truncation_anywhere_is_noticed_and_the_file_named(tmp_path: Path, name: str) -> None:
    save(tmp_path, 5)
    path = step_folder(tmp_path, 5) / name
    content = path.read_bytes()
    assert len(content) > 50
    for length in {*range(0, len(content) - 1, 7), len(content) - 2}:  # the very last byte of JSON is only a line's end
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=f"step-00000005/{name}: missing, truncated or .* Delete"):
            load_all(tmp_path, 5)
    path.unlink()
    with pytest.raises(CheckpointError, match=f"step-00000005/{name}: missing, .* start over with --fresh"):
        load_all(tmp_path, 5)
    path.mkdir()
    with pytest.raises(CheckpointError, match=f"step-00000005/{name}: "):
        load_all(tmp_path, 5)


def test_a_step_without_checkpoint_is_an_error(tmp_path: Path) -> None:
    for load in (load_progress, load_weights, load_optimizer):
        with pytest.raises(CheckpointError, match="step-00000003/.*: missing"):
            load(tmp_path, 3)


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: [],
        lambda fields: None,
        lambda fields: "state",
        lambda fields: {},
        lambda fields: {"format": 1},
        lambda fields: fields | {"colour": 1},
        lambda fields: fields | {"history": [{"step": 1}]},
        lambda fields: fields | {"history": 3},
        lambda fields: fields | {"step": 6},
        lambda fields: fields | {"step": "5"},
    ],
)
def test_foreign_states_are_noticed(tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    progress = save(tmp_path, 5)
    fields = {"format": 1} | asdict(progress)
    (step_folder(tmp_path, 5) / "state.json").write_text(json.dumps(change(fields)))
    with pytest.raises(CheckpointError, match="state.json: missing, truncated or not a checkpoint"):
        load_progress(tmp_path, 5)


def test_not_utf_8_is_noticed(tmp_path: Path) -> None:
    save(tmp_path, 5)
    (step_folder(tmp_path, 5) / "state.json").write_bytes(b"\xff{}")
    with pytest.raises(CheckpointError, match="state.json"):
        load_progress(tmp_path, 5)


def test_another_format_is_noticed(tmp_path: Path) -> None:
    save(tmp_path, 5)
    path = step_folder(tmp_path, 5) / "state.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(CheckpointError, match="made by another version of transduce. Start over with --fresh."):
        load_progress(tmp_path, 5)


# ---- disks


@pytest.mark.parametrize("room", [0, 100, 210])
def test_a_full_disk_leaves_the_checkpoints_before(tmp_path: Path, room: int) -> None:
    save(tmp_path, 4)
    before = contents(tmp_path)
    with pytest.raises(SaveError, match="cannot be written .*File too large.*Free space"), full_disk(room):
        save(tmp_path, 5)
    assert contents(tmp_path) == before
    assert saved_steps(tmp_path) == [4]
    save(tmp_path, 5)
    assert saved_steps(tmp_path) == [4, 5]


def test_a_full_disk_leaves_the_checkpoint_that_was_to_be_replaced(tmp_path: Path) -> None:
    save(tmp_path, 4)
    before = contents(tmp_path)
    with pytest.raises(SaveError), full_disk(100):
        save(tmp_path, 4, finished=True)
    assert contents(tmp_path) == before


# ---- pruning


def test_pruning_keeps_what_it_is_told(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        save(tmp_path, step)
    for name in (f"step-00000007{NEW}", "step-00000006.gone"):  # of a process that was killed
        (tmp_path / "checkpoints" / name).mkdir()
    prune(tmp_path, keep=[2, 4], keep_optimizer=[4])
    prune(tmp_path, keep=[2, 4], keep_optimizer=[4])
    assert sorted(f.name for f in (tmp_path / "checkpoints").iterdir()) == ["step-00000002", "step-00000004"]
    load_all(tmp_path, 4)
    assert load_progress(tmp_path, 2).step == 2
    assert torch.equal(load_weights(tmp_path, 2)["a.weight"], weights(2)["a.weight"])
    with pytest.raises(CheckpointError):
        load_optimizer(tmp_path, 2)


# ---- progress


def test_the_best_is_the_highest_score_then_the_lowest_loss_then_the_earliest() -> None:
    scores = [
        result(1, 5.0),
        result(2, 7.0, loss=0.9),
        result(3, 7.0, loss=0.8),
        result(4, 7.0, loss=0.8),
        result(5, 6.0),
    ]
    progress = Progress(step=5, history=tuple(scores))
    assert progress.best == scores[2]
    assert progress.stale == 2


def test_the_best_of_error_rates_is_the_lowest() -> None:
    rates = [result(1, 30.0, higher_is_better=False), result(2, 20.0, higher_is_better=False)]
    progress = Progress(step=2, history=tuple(rates))
    assert progress.best == rates[1]
    assert progress.stale == 0


def test_without_validations_there_is_no_best() -> None:
    assert Progress().best is None
    assert Progress().stale == 0
