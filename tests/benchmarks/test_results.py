import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results

pytestmark = pytest.mark.unit


def test_the_committed_page_is_that_of_the_records() -> None:
    records = [json.loads(line) for line in results.RECORDS.read_text(encoding="utf-8").splitlines()]
    assert results.PAGE.read_text(encoding="utf-8") == results.page(records)


def test_a_run_that_was_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, runs, measured = tmp_path / "results.jsonl", tmp_path / "runs", []
    known = json.loads(results.RECORDS.read_text(encoding="utf-8").splitlines()[0])

    def record(recipe: str, run: Path, settings: list[str]) -> Any:
        measured.append((recipe, run.name, settings))
        return known | {"recipe": recipe}

    monkeypatch.setattr(results, "TRANSDUCE", [sys.executable, "-c", ""])  # trains nothing
    monkeypatch.setattr(results, "RECORDS", records)
    monkeypatch.setattr(results, "PAGE", tmp_path / "results.md")
    monkeypatch.setattr(results, "record", record)
    more = ["--set", "training.seed=2"]
    monkeypatch.setattr(sys, "argv", ["results", "cmudict", *more, "--runs", str(runs)])
    (runs / "cmudict-training.seed=2").mkdir(parents=True)
    results.main()
    results.main()
    assert measured == [("cmudict", "cmudict-training.seed=2", ["training.seed=2"])]
    assert [json.loads(line)["recipe"] for line in records.read_text(encoding="utf-8").splitlines()] == ["cmudict"]
