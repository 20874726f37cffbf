"""`transduce lab`."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Transduce
from tests.tiny import write_corpus, write_lines, write_recipe

pytestmark = pytest.mark.unit


def test_residual_leaves_a_report(transduce: Transduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_table1_is_told_what_to_measure_and_what_it_saw_is_shown(
    transduce: Transduce, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measurements themselves: tests/lab/test_table1.py, and the README's command."""
    from transduce.lab import costs, table1
    from transduce.lab.report import Report

    asked: list[object] = []

    def investigate(settings: costs.Settings, out: Path, command: str, progress: Callable[[int, int], None]) -> Report:
        asked.extend((settings, out))
        progress(1, 2)
        return Report(
            title="",
            question="",
            command=command,
            settings={},
            seeds=(1,),
            seen=("One thing.", "Another."),
            parts=(),
            measured=None,
            seconds=90.0,
        )

    monkeypatch.setattr(table1, "investigate", investigate)
    said = transduce("lab", "table1", "--budget", "full")
    assert said.status == 0, said
    assert asked == [costs.BUDGETS["full"], Path("lab", "table1-full")]
    assert said.out == "One thing.\nAnother.\n"
    assert said.err == "lab/table1-full/report.html: 1.5 minutes of measurements\n"


def test_what_is_wrong_is_said_first(transduce: Transduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    transduce("lab", "table9").refused("lab table9: choose one of table1, residual, figures.")
    transduce("lab", "residual", "--budget", "none").refused("--budget none: choose one of quick")
    transduce("lab", "residual", "--data", tmp_path, "--out", tmp_path / "out").refused(
        "val.lc.norm.tok.en.gz", "No such file"
    )
    for option in ("--data", "--recipe"):
        transduce("lab", "table1", option, tmp_path).refused(option, "it is for `lab residual`. Leave it out.")
    assert not (tmp_path / "out" / "cells.jsonl").exists()
    transduce("lab", "residual", "--model", tmp_path).refused("--model", "it is for `lab figures`")
    transduce("lab", "figures", "--data", tmp_path).refused("--data", "it is for `lab residual`")
    transduce("lab", "figures", "--model", tmp_path / "none").refused("none")
    transduce("lab", "residual", "--data", r"my\data", "--out", tmp_path / "out").refused(r"my\data/multi30k/")
    (tmp_path / "file").touch()
    transduce("lab", "table1", "--out", tmp_path / "file").refused("file: there is a file of this name.")
    assert not (tmp_path / "lab").exists()


def test_figures_of_a_model(transduce: Transduce, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transduce.lab.figures.write_report", lambda folder, report: None)  # rendering takes seconds
    sentences = write_lines(tmp_path / "lines.txt", ["the dog", "the cat"])
    said = transduce("lab", "figures", "--model", run, "--input", sentences, "--out", tmp_path / "out")
    assert said.status == 0, said
    assert said.out.startswith("Sentences looked at: 2. ")
    assert (tmp_path / "out" / "attention.html").is_file()
