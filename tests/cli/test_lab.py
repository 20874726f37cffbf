"""`transduce lab`."""

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Transduce
from tests.tiny import write_corpus, write_lines, write_recipe

pytestmark = pytest.mark.unit


def test_a_laboratory_leaves_a_report(transduce: Transduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transduce.lab import residual

    small = residual.Settings(
        depths=(1, 2), identity_depths=(1, 2), seeds=(1,), steps=2, identity_steps=2, vocabulary=100
    )
    monkeypatch.setitem(residual.BUDGETS, "quick", small)
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path)
    recipe = write_recipe(tmp_path, root="nowhere")
    said = transduce("lab", "residual", "--recipe", recipe, "--data", tmp_path, "--budget", "quick")
    assert said.status == 0, said
    assert said.out.count("\n") == 8
    assert re.search(r"lab/residual-quick/report.html: \d\.\d minutes of measurements\n$", said.err)
    assert (tmp_path / "lab" / "residual-quick" / "report.html").is_file()


def test_what_is_wrong_is_said_first(transduce: Transduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    transduce("lab", "table9").refused("lab table9: choose one of residual, figures.")
    transduce("lab", "residual", "--budget", "none").refused("--budget none: choose one of quick")
    transduce("lab", "residual", "--data", tmp_path, "--out", tmp_path / "out").refused(
        "val.lc.norm.tok.en.gz", "No such file"
    )
    assert not (tmp_path / "out" / "cells.jsonl").exists()
    transduce("lab", "residual", "--model", tmp_path).refused("--model", "it is for `lab figures`")
    transduce("lab", "figures", "--data", tmp_path).refused("--data", "reads no recipe's data")
    transduce("lab", "figures", "--model", tmp_path / "none").refused("none")
    assert not (tmp_path / "lab").exists()


def test_figures_of_a_model(transduce: Transduce, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transduce.lab.figures.write_report", lambda folder, report: None)  # rendering takes seconds
    sentences = write_lines(tmp_path / "lines.txt", ["the dog", "the cat"])
    said = transduce("lab", "figures", "--model", run, "--input", sentences, "--out", tmp_path / "out")
    assert said.status == 0, said
    assert said.out.startswith("Sentences looked at: 2. ")
    assert (tmp_path / "out" / "attention.html").is_file()
