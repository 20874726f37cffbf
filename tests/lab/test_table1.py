"""The report of Table 1: whole, resumed, and saying what the numbers say, whichever way they fall."""

import json
import xml.etree.ElementTree as ET
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from tests.lab.test_costs import SETTINGS
from transduce.errors import ConfigError
from transduce.lab.cells import Measured, measure
from transduce.lab.costs import cells, compute
from transduce.lab.findings import RECURRENT
from transduce.lab.report import Report, Table
from transduce.lab.rivals import RIVALS
from transduce.lab.table1 import investigate, report

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished laboratory."""
    folder = tmp_path_factory.mktemp("table1") / "out"
    told: list[tuple[int, int]] = []
    investigate(SETTINGS, folder, "the command", lambda *n: told.append(n))
    assert told == [(n, len(told)) for n in range(1, len(told) + 1)]
    return folder


@pytest.fixture
def measured(out: Path) -> Measured:
    grid = cells(SETTINGS, torch.get_num_threads())
    return deepcopy(measure(out / "cells.jsonl", grid, compute, lambda *n: None))


def said(measured: Measured) -> Report:
    return report(SETTINGS, torch.get_num_threads(), measured, "")


def table(found: Report, start: str) -> dict[str, list[str | int | float]]:
    """Rows by their first cell."""
    (part,) = [part for part in found.parts if isinstance(part, Table) and part.caption.startswith(start)]
    return {str(row[0]): list(row[1:]) for row in part.rows}


def test_the_report_is_whole(out: Path) -> None:
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert len(found["measured"]) == len((out / "cells.jsonl").read_text().splitlines())
    assert all(line.replace("'", "&#x27;").replace(">", "&gt;").replace("<", "&lt;") in page for line in found["seen"])
    for name in ("reach", "crossing", "speed", "widths"):
        ET.parse(out / f"{name}.svg")
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert page.count("<svg") == 4


def test_every_table_says_where_it_is_from(out: Path) -> None:
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert len(found["tables"]) == page.count("<table>") >= 6
    for one in found["tables"]:
        assert one["command"] == "the command"
        assert one["seeds"] == [1]
        assert one["settings"]["lengths"] == [8, 16]
        assert one["settings"]["threads"] == torch.get_num_threads()
        assert one["hardware"]
        assert one["commit"]
        assert one["seconds"] > 0
    assert page.count("the command") == page.count("lengths = (8, 16)") == len(found["tables"]) + 1
    assert page.count(f"{found['hardware']}; seed 1; commit {found['commit']}.") == len(found["tables"]) + 1


def test_it_goes_on_where_it_was_and_writes_the_same(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "report.html").unlink()
    monkeypatch.setattr("transduce.lab.table1.compute", lambda cell: pytest.fail("it was measured already"))
    investigate(SETTINGS, out, "the command", lambda *n: None)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_results_of_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cells.jsonl").write_text("nothing\n")
    with pytest.raises(ConfigError, match="cells.jsonl: not the results of a laboratory"):
        investigate(SETTINGS, tmp_path, "", lambda *n: None)


def test_sequences_and_paths_are_as_the_paper_says(measured: Measured) -> None:
    found = said(measured)
    assert all(row[-1] == "yes" for row in table(found, "Sequential operations").values())
    assert table(found, "Sequential operations")["LSTM"][3] == "1 + 7 n"
    assert all(row[-1] == "yes" for row in table(found, "Path").values())
    assert f"Sequential operations: exactly O(1) or O(n), for all {len(RIVALS)} rows." in found.seen
    assert "Path lengths: the closed form, for all 7 rows." in found.seen


def test_a_departure_is_not_hidden(measured: Measured) -> None:
    for cell, result in measured:
        if cell["what"] == "path" and cell["rival"] == "convolution":
            result["reach"] = [4]
        if cell["what"] == "cost" and cell["rival"] == "self-attention (layer)" and cell["n"] == 16:
            result["forward"]["chain"] += 1
    found = said(measured)
    assert "Path lengths: not the closed form for convolution." in found.seen
    assert "Sequential operations: not exactly O(1) or O(n) for self-attention (layer)." in found.seen
    assert table(found, "Sequential operations")["self-attention (layer)"][-3:] == ["no line", "17", "NO"]
    assert table(found, "Path")["convolution"][-1] == "NO"


def timed(measured: Measured, recurrence: float) -> Measured:
    """As if a position took `recurrence` microseconds in a cell, and a pair of them a microsecond in attention."""
    for cell, result in measured:
        if cell["what"] == "cost":
            n, batch = cell["n"], cell["batch"]
            if cell["rival"] in RECURRENT:
                time = n * recurrence
            else:
                time = n * n * batch if cell["rival"].startswith("self") else n * batch
            result["seconds_forward"] = result["seconds_both"] = time * 1e-6
    return measured


@pytest.mark.parametrize(
    ("recurrence", "where"),
    [(10.0, "above n = 10 in time"), (1.0, "at every n from 8 on in time"), (99.0, "at no n up to 16 in time")],
)
def test_the_crossing_is_where_times_are_equal(measured: Measured, recurrence: float, where: str) -> None:
    (line,) = [line for line in said(timed(measured, recurrence)).seen if "costs more than LSTM" in line]
    assert line.endswith(f"operations, {where}.")


def test_what_a_machine_measured_too_slow_says_is_no_cause(measured: Measured) -> None:
    """A product that was measured while other work ran: arithmetic alone would take longer than all did."""
    for cell, result in measured:
        if cell["what"] == "machine":
            result["flops"] = 1.0
    lines = [line for line in said(measured).seen if "most of the time by itself" in line]
    assert lines
    for line in lines:
        assert "by itself: not known." in line
        assert f"Faster than the machine was measured to be: {', '.join(RIVALS)}." in line
        assert "less than half" not in line


def test_what_a_batch_gains_is_told_either_way(measured: Measured) -> None:
    lines = said(timed(measured, 2.0)).seen  # a batch takes recurrence as long as one sequence, attention n times
    assert sum("2.0 times faster with" in line and "become larger" in line for line in lines) == 2
    for cell, result in measured:
        if cell["what"] == "cost" and cell["batch"] > 1:
            result["seconds_both"] = 1.0
    assert sum("not clearly more" in line for line in said(measured).seen) == 2


def test_exponents_of_time_are_fitted_to_time(measured: Measured) -> None:
    found = said(timed(measured, 20.0))
    (part,) = [p for p in found.parts if isinstance(p, Table) and p.caption.startswith("Exponents")]
    timed_exponents = {(row[0], row[1]): row[5] for row in part.rows}
    assert timed_exponents["self-attention (mixing)", "n"] == "2.00"
    assert timed_exponents["LSTM", "n"] == "1.00"
    assert timed_exponents["LSTM", "d"] == "0.00"
    counted = {(row[0], row[1]): row[3] for row in part.rows}
    assert counted["self-attention (mixing)", "n"] == "2.00"
    assert counted["GRU", "d"] == "2.00"
    assert counted["convolution", "k"] == "1.00"
    why = {(row[0], row[1]): str(row[6]) for row in part.rows}
    assert "are the projections" in why["restricted (layer)", "d"]
    assert "GFLOP/s" in why["LSTM", "d"]
    assert why["self-attention (mixing)", "n"] == ""
