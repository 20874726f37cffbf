"""The race ends by the dev set's word, and the test set is scored once; the page tells all of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import speedrun
from benchmarks.speedrun import PAGE, RECORDS, page, race
from tests.tiny import tiny_config

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("start", "goal", "step", "reached"),
    [
        (0.0, 0.0, 4, True),  # the first validation is enough
        (0.0, 101.0, 12, False),  # every average is looked at, none is good enough
        (101.0, 0.0, 12, True),  # none is looked at before the end
    ],
)
def test_the_dev_set_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: float, goal: float, step: int, reached: bool
) -> None:
    config = tiny_config(tmp_path, "evaluation.metric=bleu")
    scored: list[Any] = []
    kept = speedrun.score

    def score(bundle: Path, config: Any, part: Any) -> Any:
        scored.append(part)
        return kept(bundle, config, part)

    monkeypatch.setattr(speedrun, "score", score)
    done = race(config, tmp_path / "run", start=start, goal=goal)
    assert (done.step, done.reached) == (step, reached)
    assert scored.count(config.data.test) == 1
    assert scored[-1] == config.data.test
    assert all(seconds >= 0 for seconds in done.seconds.values())


def test_a_race_needs_a_test_set(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    with pytest.raises(SystemExit, match="needs a dev and a test set"):
        race(replace(config, data=replace(config.data, test=None)), tmp_path / "run", start=0.0, goal=0.0)


def test_the_page_says_whether_it_was_reached() -> None:
    one = {
        "date": "2026-11-24",
        "commit": "abc",
        "command": "python -m benchmarks.speedrun",
        "wall_minutes": 9.5,
        "cpu_minutes": 12.0,
        "threads": 2,
        "hardware": "a processor, 2 cores",
        "goal": 38.5,
        "note": "first",
        "step": 3000,
        "seed": 1,
        "dev": 38.6,
        "test": 38.01,
        "signature": "tok:none",
        "seconds": {"data": 5.7, "test score": 54.2},
    }
    text = page([one, one | {"test": 37.99}])
    assert (
        "| 2026-11-24 | abc | transduce | 9.5, 12.0 | 3000 | 38.60 | 38.01 | yes | 2, a processor, 2 cores | first |"
        in text
    )
    assert "37.99 | **no**" in text
    assert "data 6, test score 54" in text


def test_the_committed_page_is_that_of_the_records() -> None:
    lines = RECORDS.read_text(encoding="utf-8").splitlines() if RECORDS.is_file() else []
    assert PAGE.read_text(encoding="utf-8") == page([json.loads(line) for line in lines])
