"""Meters and the event log: what is counted, what is written, and where it may fail."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.disk import full_disk
from transduce.checkpoint import DevResult, Progress
from transduce.errors import SaveError
from transduce.training.meters import Curves, EventLog, Meter
from transduce.training.trainer import StepResult

pytestmark = pytest.mark.unit


def step(number: int, loss: float = 2.0, tokens: int = 10) -> StepResult:
    return StepResult(step=number, epoch=1, loss=loss, learning_rate=0.5, target_tokens=tokens)


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Points:
    """What of TensorBoard's writer is used."""

    def __init__(self) -> None:
        self.points: list[tuple[str, float, int]] = []
        self.flushed = 0
        self.closed = False

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.points.append((tag, scalar_value, global_step))

    def flush(self) -> None:
        self.flushed = len(self.points)

    def close(self) -> None:
        self.closed = True


# ---- Meter


def test_loss_is_per_piece_and_speed_per_second() -> None:
    now = 100.0
    meter = Meter(lambda: now)
    meter.add(step(1, loss=1.0, tokens=30))
    meter.add(step(2, loss=4.0, tokens=10))
    now = 104.0
    assert meter.read() == pytest.approx((1.75, 10.0))
    assert meter.steps == 2
    meter.reset()
    assert meter.steps == 0
    assert meter.read() == (0.0, 0.0)  # no division by nothing


# ---- EventLog


def test_steps_are_told_every_so_often_and_validations_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path, lambda: None, every=3)
    for i in range(1, 7):
        log.stepped(step(i, loss=float(i)))
    good = DevResult(step=6, loss=0.5, metric="bleu", score=30.0, higher_is_better=True)
    worse = DevResult(step=9, loss=0.4, metric="bleu", score=29.0, higher_is_better=True)
    log.validated(good, Progress(step=6, history=(good,)))
    log.validated(worse, Progress(step=9, history=(good, worse)))
    found = events(path)  # before it is closed: each was written at once
    log.close()
    assert [(e["event"], e["step"]) for e in found] == [("step", 3), ("step", 6), ("dev", 6), ("dev", 9)]
    assert [e["loss"] for e in found[:2]] == [2.0, 5.0]
    assert (found[0]["lr"], found[0]["epoch"]) == (0.5, 1)
    assert [e["best"] for e in found[2:]] == [True, False]
    assert found[2]["score"] == 30.0


def test_a_log_is_continued(tmp_path: Path) -> None:
    for text in ("Straße", "two\nlines"):
        log = EventLog(tmp_path / "x", lambda: None)
        log.write(event="sample", output=text)
        log.close()
    assert [e["output"] for e in events(tmp_path / "x")] == ["Straße", "two\nlines"]
    assert "Straße" in (tmp_path / "x").read_text(encoding="utf-8")


def test_curves_get_the_same_numbers(tmp_path: Path) -> None:
    curves = Points()
    assert isinstance(curves, Curves)
    log = EventLog(tmp_path / "x", lambda: curves, every=2)
    log.stepped(step(1))
    log.stepped(step(2))
    result = DevResult(step=2, loss=0.5, metric="wer", score=12.0, higher_is_better=False)
    log.validated(result, Progress(step=2, history=(result,)))
    log.close()
    assert [(tag, at) for tag, _, at in curves.points] == [
        ("loss", 2),
        ("lr", 2),
        ("tokens_per_second", 2),
        ("dev/loss", 2),
        ("dev/wer", 2),
    ]
    assert curves.points[-1][1] == 12.0
    assert curves.flushed == len(curves.points)
    assert curves.closed


def test_closing_opens_no_curves(tmp_path: Path) -> None:
    EventLog(tmp_path / "x", lambda: pytest.fail("opened")).close()


def test_a_full_disk_is_a_save_error_and_closing_is_not_another(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", lambda: None)
    log.write(event="first")
    with full_disk(5), pytest.raises(SaveError, match="events.jsonl: cannot be written .File too large.. Free space"):
        log.write(event="second")
    log.close()
    assert events(tmp_path / "events.jsonl") == [{"event": "first"}]
