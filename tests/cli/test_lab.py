"""`transduce lab`."""

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Transduce
from tests.tiny import write_corpus, write_recipe

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where laboratories of a few cells are run."""
    from transduce.lab import costs, residual

    networks = residual.Settings(
        depths=(1, 2), identity_depths=(1, 2), seeds=(1,), steps=2, identity_steps=2, vocabulary=100
    )
    layers = costs.Settings(
        lengths=(8, 16), at_widths=(8,), widths=(8, 16), at_length=8, sizes=(2, 3), paths=(3,), repeats=1, sentence=8
    )
    monkeypatch.setitem(residual.BUDGETS, "quick", networks)
    monkeypatch.setitem(costs.BUDGETS, "quick", layers)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_residual_leaves_a_report(transduce: Transduce, folder: Path) -> None:
    write_corpus(folder)
    recipe = write_recipe(folder, root="nowhere")
    said = transduce("lab", "residual", "--recipe", recipe, "--data", folder, "--budget", "quick")
    assert said.status == 0, said
    assert said.out.count("\n") == 8
    assert re.search(r"lab/residual-quick/report.html: \d\.\d minutes of measurements\n$", said.err)
    assert (folder / "lab" / "residual-quick" / "report.html").is_file()


def test_table1_leaves_a_report(transduce: Transduce, folder: Path) -> None:
    said = transduce("lab", "table1", "--budget", "quick", "--out", folder / "here")
    assert said.status == 0, said
    assert said.out.startswith("Exponents of operations: ")
    assert re.search(r"here/report.html: \d\.\d minutes of measurements\n$", said.err)
    assert (folder / "here" / "report.html").is_file()


def test_what_is_wrong_is_said_first(transduce: Transduce, tmp_path: Path) -> None:
    transduce("lab", "table9").refused("lab table9: choose one of table1, residual.")
    transduce("lab", "residual", "--budget", "none").refused("--budget none: choose one of quick")
    transduce("lab", "residual", "--data", tmp_path, "--out", tmp_path / "out").refused(
        "val.lc.norm.tok.en.gz", "No such file"
    )
    for option in ("--data", "--recipe"):
        transduce("lab", "table1", option, tmp_path).refused(f"{option}: lab table1 reads no data. Leave it out.")
    assert not (tmp_path / "out" / "cells.jsonl").exists()
