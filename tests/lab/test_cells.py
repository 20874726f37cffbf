"""Grids that go on where they were."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.disk import full_disk
from transduce.errors import ConfigError, SaveError
from transduce.lab.cells import Cell, Result, measure

pytestmark = pytest.mark.unit

CELLS = [{"n": n} for n in range(4)]


def squares(computed: list[int], until: int = 99) -> Callable[[Cell], Result]:
    def compute(cell: Cell) -> Result:
        if cell["n"] == until:
            raise KeyboardInterrupt
        computed.append(cell["n"])
        return {"square": cell["n"] ** 2}

    return compute


def silent(done: int, of: int) -> None:
    pass


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    path, computed = tmp_path / "out" / "cells.jsonl", list[int]()
    with pytest.raises(KeyboardInterrupt):
        measure(path, CELLS, squares(computed, until=2), silent)
    assert computed == [0, 1]
    with path.open("a", encoding="utf-8") as file:
        file.write('{"cell": {"n": 2}, "resu')  # killed while writing
    told: list[tuple[int, int]] = []
    found = measure(path, CELLS, squares(computed), lambda *n: told.append(n))
    assert computed == [0, 1, 2, 3]
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert found == [(cell, {"square": cell["n"] ** 2}) for cell in CELLS]
    assert measure(path, CELLS, squares(computed, until=0), silent) == found


def test_other_cells_are_measured_and_the_old_ones_kept(tmp_path: Path) -> None:
    path, computed = tmp_path / "cells.jsonl", list[int]()
    measure(path, CELLS[:2], squares(computed), silent)
    assert measure(path, CELLS[1:3], squares(computed), silent) == [
        (CELLS[1], {"square": 1}),
        (CELLS[2], {"square": 4}),
    ]
    assert computed == [0, 1, 2]


@pytest.mark.parametrize("text", [b"not json\n", b'{"cell": 1}\n', b"[]\n", b"one line", b"two\nlines", b"\xff\xfe"])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "cells.jsonl"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match="not the results of a laboratory"):
        measure(path, CELLS, squares([]), silent)
    assert path.read_bytes() == text


@pytest.mark.parametrize("text", ["", '{"ce', '{"cell": {"n": 0}, "resu'])
def test_killed_while_the_first_cell_was_written(tmp_path: Path, text: str) -> None:
    path, computed = tmp_path / "cells.jsonl", list[int]()
    path.write_text(text)
    measure(path, CELLS, squares(computed), silent)
    assert computed == [0, 1, 2, 3]
    assert len(path.read_text().splitlines()) == 4


def test_a_full_disk_costs_nothing_that_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    measure(path, CELLS[:2], squares([]), silent)
    whole = path.read_text()
    path.write_text(whole + '{"cell": {"n"')
    for room in (1, len(whole) + 5):  # for the file without the half line; for another cell
        with full_disk(room), pytest.raises(SaveError, match=r"cells.jsonl.*Free space, then go on"):
            measure(path, CELLS, squares([]), silent)
        assert path.read_text().startswith(whole)


def test_what_another_machine_measured_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, computed = tmp_path / "cells.jsonl", list[int]()
    monkeypatch.setattr("transduce.lab.cells.hardware", lambda: "another")
    measure(path, CELLS[:2], squares(computed), silent)
    monkeypatch.undo()
    measure(path, CELLS[:2], squares(computed), silent)
    measure(path, CELLS[:2], squares(computed), silent)
    assert computed == [0, 1, 0, 1]


def test_what_other_code_measured_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, computed = tmp_path / "cells.jsonl", list[int]()
    measure(path, CELLS[:2], squares(computed), silent)
    monkeypatch.setattr("transduce.lab.cells.code", lambda: "other")
    measure(path, CELLS[:2], squares(computed), silent)
    assert computed == [0, 1, 0, 1]
