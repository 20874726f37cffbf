import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results
from transduce.config import load_recipe, to_toml, to_values

pytestmark = pytest.mark.unit


def test_the_committed_page_is_that_of_the_records() -> None:
    records = [json.loads(line) for line in results.RECORDS.read_text(encoding="utf-8").splitlines()]
    assert results.PAGE.read_text(encoding="utf-8") == results.page(records)


def test_a_run_that_was_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, runs, measured = tmp_path / "results.jsonl", tmp_path / "runs", list[str]()
    known = json.loads(results.RECORDS.read_text(encoding="utf-8").splitlines()[0])
    scored = {name: known.pop(name) for name in ("date", "commit", "hardware", "scores")}

    def measure(recipe: str, run: Path) -> dict[str, Any]:
        measured.append(run.name)
        return scored

    monkeypatch.setattr(results, "TRANSDUCE", [sys.executable, "-c", ""])  # trains nothing
    monkeypatch.setattr(results, "RECORDS", records)
    monkeypatch.setattr(results, "PAGE", tmp_path / "results.md")
    monkeypatch.setattr(
        results, "made", lambda recipe, run, settings, minutes: known | {"recipe": recipe, "seed": len(settings)}
    )
    monkeypatch.setattr(results, "measured", measure)
    more = ["--set", "training.seed=2"]
    monkeypatch.setattr(sys, "argv", ["results", "cmudict", *more, "--runs", str(runs)])
    results.main()
    results.main()
    assert measured == ["cmudict-training.seed=2"]
    assert [json.loads(line)["recipe"] for line in records.read_text(encoding="utf-8").splitlines()] == ["cmudict"]


def test_what_is_told_without_a_recipe() -> None:
    told = results.without_recipe(load_recipe("sigmorphon2020_inflection", ["data.root=D", "data.lang=ood"]), 10)
    folder = "D/sigmorphon2020_inflection/ood."
    assert told == [
        "--minutes", "10", "--pairs", f"{folder}train.tsv", "--dev-pairs", f"{folder}dev.tsv", "--columns", "1+3,2",
        "--set", 'evaluation.tokenize="none"', "--set", "evaluation.by_line=true",
        "--set", f'data.test={{pairs = "{folder}test.tsv"}}',
    ]  # fmt: skip
    told = results.without_recipe(load_recipe("scan_simple"), 15)
    assert 'data.pattern="IN: (.*) OUT: (.*)"' in told
    assert "--dev-pairs" not in told
    assert "data.pretokenised=true" in results.without_recipe(load_recipe("multi30k_ende"), 60)


def test_without_a_recipe_beside_the_mean_of_its_seeds() -> None:
    def record(wer: float, seed: int, **settings: object) -> dict[str, Any]:
        scores = {"per": {"score": 7.0}, "wer": {"score": wer}}
        return {"recipe": "cmudict", "seed": seed, "steps": 7000, "settings": settings, "scores": scores}

    seeds = [record(90.0, 1) | {"steps": 10}, record(99.0, 1), record(27.0, 1), record(29.0, 2, **{"training.seed": 2})]
    others = [record(50.0, 1, **{"model.norm": "post"})]
    without = record(29.4, 1, **{results.WITHOUT: 30})
    assert results.page_without([*seeds, *others]) == []
    assert results.page_without([record(29.4, 1, **{results.WITHOUT: 30})]) == []
    *_, row = results.page_without([*seeds, *others, without])
    assert row == "| `cmudict` | 30 | wer | 28.00 | 29.40 | 5.0% |"


def test_without_a_recipe_languages_have_a_mean() -> None:
    def record(lang: str, wer: float, **settings: object) -> dict[str, Any]:
        scores = {"wer": {"score": wer}}
        settings = {"data.lang": lang, **settings}
        return {"recipe": "sigmorphon2020_g2p", "seed": 1, "steps": 9, "settings": settings, "scores": scores}

    own = [record("ady", 28.0), record("arm", 12.0), record("bul", 40.0)]
    without = [record("ady", 30.0, **{results.WITHOUT: 7}), record("arm", 11.0, **{results.WITHOUT: 7})]
    again = record("ady", 50.0, **{results.WITHOUT: 7})  # of a language the last row
    *_, ady, arm, both = results.page_without([*own, again, *without])
    assert ady == "| `sigmorphon2020_g2p`, data.lang = ady | 7 | wer | 28.00 | 30.00 | 7.1% |"
    assert arm.endswith("| 12.00 | 11.00 | -8.3% |")
    assert both == "| `sigmorphon2020_g2p`, mean of 2 languages | 7 | wer | 20.00 | 20.50 | 2.5% |"


def test_the_command_of_a_run_without_its_recipe(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "x"
    run.mkdir(parents=True)
    (run / "recipe.toml").write_text(to_toml(to_values(load_recipe("cmudict"))), encoding="utf-8")
    model = {"event": "model", "step": 9, "choice": "best", "score": 27.0}
    session = {"event": "session", "wall_seconds": 60.0, "cpu_seconds": 66.0}
    (run / "events.jsonl").write_text(json.dumps(session) + "\n" + json.dumps(model) + "\n", encoding="utf-8")
    facts = results.made("sigmorphon2020_g2p", run, ["data.lang=ady", "data.root=D"], minutes=15)
    assert facts["settings"] == {"data.lang": "ady", results.WITHOUT: 15}
    train, evaluate = facts["command"].split("; ")
    folder = "D/sigmorphon2020_g2p/ady_"
    assert train.startswith(f"transduce train --minutes 15 --pairs {folder}train.tsv --dev-pairs {folder}dev.tsv --set")
    assert train.endswith(" --out runs/x")
    assert evaluate == "transduce evaluate runs/x --metric wer,per,accuracy"
    assert (facts["dev"], facts["cpu_minutes"]) == (27.0, 1.1)
