"""The laboratory of residual connections, on a tiny language: what it measures, what it says, what it writes."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import run_time_checks
from tests.tiny import tiny_config
from transduce.data.prepare import Prepared, load_prepared
from transduce.errors import ConfigError, DataError
from transduce.lab.cells import Cell, Result
from transduce.lab.report import provenance
from transduce.lab.residual import VARIANTS, Settings, _seen, cells, compute, investigate, report

SETTINGS = Settings(
    depths=(1, 3),
    identity_depths=(1, 3),
    seeds=(1, 2),
    steps=12,
    identity_steps=12,
    d_model=16,
    d_ff=32,
    n_heads=2,
    max_tokens=128,
    warmup=4,
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished laboratory."""
    folder = tmp_path_factory.mktemp("residual")
    told: list[tuple[int, int]] = []
    settings = replace(SETTINGS, vocabulary=100)
    with run_time_checks(on=False):
        investigate(tiny_config(folder), settings, folder / "out", "the command", print, lambda *n: told.append(n))
    assert told == [(n, 32) for n in range(1, 33)]
    return folder / "out"


@pytest.fixture(scope="module")
def prepared(out: Path) -> Prepared:
    (data,) = out.glob("data-*")
    return load_prepared(data)


def cell(what: str, **changes: object) -> Cell:
    (found,) = [
        c
        for c in cells(replace(SETTINGS, depths=(3,), identity_depths=(3,), seeds=(1,)))
        if c["what"] == what and c["norm"] == "pre" and c["residual"]
    ]
    return found | changes


@pytest.mark.unit
def test_the_report_is_whole(out: Path) -> None:
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert found["command"] == "the command"
    assert found["settings"]["depths"] == [1, 3]
    assert found["hardware"]
    assert found["commit"]
    assert len(found["measured"]) == 32
    assert len(found["seen"]) == 8
    assert [len(table["rows"]) for table in found["tables"]] == [2, 2]
    assert all(table["command"] == "the command" and table["seeds"] == [1, 2] for table in found["tables"])
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4
    assert all(line.replace(">", "&gt;") in page for line in found["seen"])
    for name in ("task", "curves", "gradients", "identity"):
        ET.parse(out / f"{name}.svg")
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.unit
def test_it_goes_on_where_it_was_and_writes_the_same(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    (out / "report.html").unlink()
    monkeypatch.setattr("transduce.lab.residual.compute", lambda *a: pytest.fail("it was measured already"))
    settings = replace(SETTINGS, vocabulary=100)
    investigate(tiny_config(out.parent), settings, out, "the command", print, lambda *n: None)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


@pytest.mark.unit
@pytest.mark.parametrize("what", ["task", "identity"])
def test_a_cell_follows_from_its_settings(prepared: Prepared, what: str) -> None:
    def measured(**changes: object) -> dict[str, object]:
        found = compute(cell(what, **changes), prepared)
        assert found.pop("seconds") > 0
        return found

    assert measured() == measured()
    assert measured(seed=2) != measured()
    assert measured(residual=False) != measured()


@pytest.mark.unit
def test_every_layer_has_a_gradient(prepared: Prepared) -> None:
    first = compute(cell("task"), prepared)["first"]
    assert [len(norms) for norms in first.values()] == [3, 3]
    assert all(norm > 0 for norms in first.values() for norm in norms)


@pytest.mark.learn
def test_a_residual_stack_learns_the_identity_and_a_plain_one_does_not(prepared: Prepared) -> None:
    torch.manual_seed(0)
    learned = compute(cell("identity", steps=150, depth=4, learning_rate=0.003), prepared)["final"]
    plain = compute(cell("identity", steps=150, depth=4, learning_rate=0.003, residual=False), prepared)["final"]
    assert learned < 0.3
    assert plain > 2 * learned


@pytest.mark.unit
@pytest.mark.parametrize(
    ("deep", "verdict"),
    [((2.0, 2.1), "Degradation, in all 2 seeds."), ((1.9, 0.9), "Within the spread"), ((0.5, 0.6), "No degradation.")],
)
def test_degradation_is_said_when_every_seed_shows_it(deep: tuple[float, float], verdict: str) -> None:
    finals = {1: (1.0, 1.1), 3: deep}
    measured = []
    for c in cells(SETTINGS):
        final = finals[c["depth"]][c["seed"] - 1]
        norms = {"encoder": [1.0] * c["depth"], "decoder": [1.0] * c["depth"]}
        measured.append((c, {"final": final, "losses": [final], "first": norms, "last": norms, "seconds": 1.0}))
    seen = report(SETTINGS, measured, "", "tiny").seen
    assert len(seen) == 2 * len(VARIANTS)
    assert all(verdict in line for line in seen)
    one = replace(SETTINGS, seeds=(1,))
    of_one = report(one, [(c, r) for c, r in measured if c["seed"] == 1], "", "tiny").seen
    assert all("One seed: no verdict." in line for line in of_one)


@pytest.mark.unit
def test_changed_data_is_not_mixed_in(tmp_path: Path) -> None:
    settings = replace(
        SETTINGS, depths=(1,), identity_depths=(1,), seeds=(1,), steps=1, identity_steps=1, vocabulary=100
    )
    config = tiny_config(tmp_path)
    investigate(config, settings, tmp_path / "out", "", print, lambda *n: None)
    (tmp_path / "out" / "cells.jsonl").write_text("nothing\n")
    with pytest.raises(ConfigError, match="cells.jsonl: not the results of a laboratory"):
        investigate(config, settings, tmp_path / "out", "", print, lambda *n: None)
    (tmp_path / "out" / "cells.jsonl").unlink()
    with (tmp_path / "train.aa").open("a") as file:
        file.write("one more\n")
    with pytest.raises(DataError, match=r"train.aa: changed since .*\. Delete .*out/data-.*, or choose another --out"):
        investigate(config, settings, tmp_path / "out", "", print, lambda *n: None)
    next((tmp_path / "out").glob("data-*/manifest.json")).write_text("{")
    with pytest.raises(DataError, match=r"Delete .*out/data-.*, or choose another --out"):
        investigate(config, settings, tmp_path / "out", "", print, lambda *n: None)


@pytest.mark.unit
def test_data_that_other_code_prepared_is_prepared_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(
        SETTINGS, depths=(1,), identity_depths=(1,), seeds=(1,), steps=1, identity_steps=1, vocabulary=100
    )
    config = tiny_config(tmp_path)
    for digest in ("one", "one", "another"):
        monkeypatch.setattr("transduce.lab.residual.code", lambda digest=digest: digest)
        investigate(config, settings, tmp_path / "out", "", print, lambda *n: None)
    assert len(list((tmp_path / "out").glob("data-*"))) == 2


@pytest.mark.unit
def test_another_task_is_measured_beside_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other pieces of the same files are another task."""
    tasks: list[int] = []

    def compute(cell: Cell, prepared: Prepared) -> Result:
        tasks.append(prepared.tokenizers.source.size)
        norms = {"encoder": [1.0], "decoder": [1.0]}
        return {"final": 1.0, "losses": [1.0], "first": norms, "last": norms, "seconds": 1.0}

    monkeypatch.setattr("transduce.lab.residual.compute", compute)
    settings = replace(SETTINGS, depths=(1,), identity_depths=(1,), seeds=(1,), vocabulary=300)
    config = tiny_config(tmp_path)
    other = replace(config, tokenizer=replace(config.tokenizer, source="bpe", target="bpe"))
    for one in (config, other, config):
        investigate(one, settings, tmp_path / "out", "", print, lambda *n: None)
    assert len(tasks) == (2 + 1) * len(VARIANTS), "the identity has no data"
    assert len(set(tasks)) == 2


@pytest.mark.unit
def test_one_seed_is_no_verdict() -> None:
    settings = replace(SETTINGS, seeds=(1,))
    norms = {"encoder": [1.0], "decoder": [1.0]}
    measured = [
        (c, {"final": float(c["depth"]), "losses": [1.0], "first": norms, "last": norms, "seconds": 1.0})
        for c in cells(settings)
    ]
    seen = list(_seen(settings, measured, "task"))
    assert len(seen) == len(VARIANTS)
    assert all("One seed: no verdict." in line for line in seen)


@pytest.mark.unit
def test_where_there_is_no_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance()["commit"] == "not a checkout"
