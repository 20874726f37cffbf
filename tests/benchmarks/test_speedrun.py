"""The race ends by the dev set's word, and the test set is scored once; the page tells all of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import speedrun
from benchmarks.speedrun import PAGE, RECIPE, RECORDS, page, race
from benchmarks.speedrun_peer import WITH_ADAM, generated, training_options, write_pieces
from tests.tiny import tiny_config
from transduce.config import load_recipe

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


def test_a_peer_gets_the_same(tmp_path: Path) -> None:
    """Its commands are not here; what they are given, and what is read of what they print, is."""
    config = load_recipe(RECIPE, list(WITH_ADAM))
    options = dict(zip(training_options(config)[6::2], training_options(config)[7::2], strict=True))
    assert [options[f"--{side}-ffn-embed-dim"] for side in ("encoder", "decoder")] == [256, 256]
    assert (options["--dropout"], options["--lr"], options["--max-update"]) == (0.2, 0.004, 4000)
    assert (options["--max-tokens"], options["--update-freq"]) == (1024, 2)
    small = tiny_config(tmp_path, "tokenizer.size=400")
    texts = write_pieces(small, tmp_path)
    for part, sides in texts.items():
        for side, lines in zip(("source", "target"), sides, strict=True):
            written = (tmp_path / f"{part}.{side}").read_text(encoding="utf-8").splitlines()
            assert [line.replace(" ", "").replace("\u2581", " ").strip() for line in written] == lines
    printed = "S-1\tx\nH-1\t-0.5\tb c\nD-1\t-0.5\tb c\nS-0\ty\nH-0\t-0.25\ta\nH-10\t-1\t\n"
    assert generated(printed) == ["a", "b c", ""]


def test_the_page_tells_a_peer_s_run_apart() -> None:
    ours = {"date": "d", "commit": "c", "wall_minutes": 1, "cpu_minutes": 2, "threads": 2, "hardware": "h", "note": "n"}
    ours |= {
        "step": 9,
        "seed": 1,
        "dev": 40.0,
        "test": 39.0,
        "signature": "s",
        "seconds": {"data": 1},
        "command": "one",
    }
    text = page([ours | {"goal": 38.5}, ours | {"tool": "fairseq 0.12.2", "command": "other"}])
    assert "| transduce | 1, 2 | 9 |" in text
    assert "| fairseq 0.12.2 | 1, 2 | 9 |" in text
    assert "`one`, seed 1, until 38.5 on dev" in text
    assert "`other`, seed 1, to the last step" in text


def test_the_committed_page_is_that_of_the_records() -> None:
    lines = RECORDS.read_text(encoding="utf-8").splitlines() if RECORDS.is_file() else []
    assert PAGE.read_text(encoding="utf-8") == page([json.loads(line) for line in lines])
