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
    records, runs, measured = tmp_path / "results.jsonl", tmp_path / "runs", list[str]()
    known = json.loads(results.RECORDS.read_text(encoding="utf-8").splitlines()[0])
    scored = {name: known.pop(name) for name in ("date", "commit", "hardware", "scores")}

    def measure(run: Path) -> dict[str, Any]:
        measured.append(run.name)
        return scored

    monkeypatch.setattr(results, "TRANSDUCE", [sys.executable, "-c", ""])  # trains nothing
    monkeypatch.setattr(results, "RECORDS", records)
    monkeypatch.setattr(results, "PAGE", tmp_path / "results.md")
    monkeypatch.setattr(
        results, "made", lambda recipe, run, settings: known | {"recipe": recipe, "seed": len(settings)}
    )
    monkeypatch.setattr(results, "measured", measure)
    more = ["--set", "training.seed=2"]
    monkeypatch.setattr(sys, "argv", ["results", "cmudict", *more, "--runs", str(runs)])
    results.main()
    results.main()
    assert measured == ["cmudict-training.seed=2"]
    assert [json.loads(line)["recipe"] for line in records.read_text(encoding="utf-8").splitlines()] == ["cmudict"]
