"""Pairs of which a model writes one side: what is there in the end does not depend on interruptions."""

from collections.abc import Callable
from pathlib import Path

import pytest

from transduce.data.corpus import PairsFile, read_pairs
from transduce.data.synthetic import forget_pairs, make_pairs
from transduce.errors import DataError, SaveError

pytestmark = pytest.mark.unit

LINES = [f"line {i} of\ttext" if i % 4 == 3 else f"line {i}" for i in range(23)]
Write = Callable[[list[str], int], list[str]]


def upper(lines: list[str], first: int) -> list[str]:
    return [f"{first + i}: {line.upper()}" for i, line in enumerate(lines)]


def dies_at(limit: int) -> Write:
    def write(lines: list[str], first: int) -> list[str]:
        if first >= limit:
            raise KeyboardInterrupt
        return upper(lines, first)

    return write


def make(out: Path, write: Write = upper, lines: list[str] = LINES, turned: bool = False, **decided: object) -> bool:
    return make_pairs(out, lambda: lines, write, decided, target_is_read=turned, window=5)


def pairs(out: Path) -> list[tuple[str, str]]:
    return list(read_pairs(PairsFile(pairs=out)))


@pytest.mark.parametrize("name", ["made.tsv", "made.jsonl"])
@pytest.mark.parametrize("turned", [False, True])
def test_every_line_has_its_pair(tmp_path: Path, name: str, turned: bool) -> None:
    out = tmp_path / "new" / name
    assert make(out, turned=turned)
    kept = [line if name.endswith("l") else line.replace("\t", " ") for line in LINES]
    expected = list(zip(kept, upper(kept, 0), strict=True))
    assert pairs(out) == [(b, a) if turned else (a, b) for a, b in expected]
    assert {path.name for path in out.parent.iterdir()} == {name, f"{name}.json"}
    assert not make(out, dies_at(0), turned=turned)  # nothing is left to do


@pytest.mark.parametrize("torn", [b"", b"line 10\t10: LI", b"line 10\t10: LINE 10\nline 11\t11: LINE 11\n"])
def test_it_goes_on_where_it_was(tmp_path: Path, torn: bytes) -> None:
    whole, out = tmp_path / "whole.tsv", tmp_path / "made.tsv"
    make(whole)
    with pytest.raises(KeyboardInterrupt):
        make(out, dies_at(10))
    assert not out.exists()
    with (tmp_path / "made.tsv.part").open("ab") as file:
        file.write(torn)  # what a kill in the middle of writing leaves
    asked: list[int] = []

    def write(lines: list[str], first: int) -> list[str]:
        asked.append(first)
        return upper(lines, first)

    assert make(out, write)
    assert asked == [10, 15, 20]
    assert out.read_bytes() == whole.read_bytes()


def test_another_model_or_other_lines_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "made.tsv"
    with pytest.raises(KeyboardInterrupt):
        make(out, dies_at(10), beam=4)
    with pytest.raises(DataError, match=r"begun with beam = 4, now it is 5\. Use another --out, or --fresh"):
        make(out, beam=5)
    with pytest.raises(DataError, match=r"begun with beam = 4, now it is None"):
        make(out)
    with pytest.raises(DataError, match=r"begun with lines = 23, now it is 22"):
        make(out, lines=LINES[1:], beam=4)
    forget_pairs(out)
    assert list(tmp_path.iterdir()) == []
    assert make(out, beam=5)


def test_two_do_not_make_the_same_file(tmp_path: Path) -> None:
    out = tmp_path / "made.tsv"

    def meanwhile(lines: list[str], first: int) -> list[str]:
        for second in (lambda: make(out), lambda: forget_pairs(out)):
            with pytest.raises(DataError, match="made.tsv: another process makes it. Wait for it, stop it, or choose"):
                second()
        return upper(lines, first)

    assert make(out, meanwhile)
    assert len(pairs(out)) == len(LINES)


def test_a_file_of_somebody_s_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "mine.tsv"
    out.write_text("mine\n")
    for call in (make, forget_pairs):
        with pytest.raises(DataError, match=r"mine\.tsv: exists, and mine\.tsv\.json does not tell of what"):
            call(out)
    assert out.read_text() == "mine\n"


@pytest.mark.parametrize("mine", ['{"mine": 1}', "[1]"])
def test_json_of_somebody_s_is_left_alone(tmp_path: Path, mine: str) -> None:
    (tmp_path / "made.tsv.json").write_text(mine)
    for call in (make, forget_pairs):
        with pytest.raises(DataError, match=r"made\.tsv\.json does not tell of what"):
            call(tmp_path / "made.tsv")
    assert (tmp_path / "made.tsv.json").read_text() == mine


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "made.tsv.part").mkdir()
    with pytest.raises(SaveError, match=r"made\.tsv\.part: cannot be written"):
        make(tmp_path / "made.tsv")
