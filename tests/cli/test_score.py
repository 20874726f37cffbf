"""`transduce score`: one log-probability a line."""

import json
import math
from pathlib import Path

import pytest

from tests.cli.conftest import Transduce
from tests.tiny import mirror, write_lines
from transduce.decoding.translator import Translator

pytestmark = pytest.mark.unit

SOURCES = ["the dog runs", "cat", "green bird sees the cat"]


@pytest.fixture
def files(tmp_path: Path) -> list[object]:
    """The options that name a source and a target file."""
    source = write_lines(tmp_path / "s.aa", SOURCES)
    target = write_lines(tmp_path / "t.bb", [mirror(line) for line in SOURCES])
    return ["--source", source, "--target", target]


def test_the_scores_are_the_library_s(transduce: Transduce, run: Path, files: list[object]) -> None:
    said = transduce("score", run, *files, "--precision", "fp32")
    assert (said.status, said.err) == (0, "")
    expected = Translator.load(run, precision="fp32").score(SOURCES, [mirror(line) for line in SOURCES])
    assert [float(line) for line in said.out.splitlines()] == pytest.approx(expected, abs=1e-6)


def test_json_says_the_same(transduce: Transduce, run: Path, files: list[object]) -> None:
    plain, objects = transduce("score", run, *files).out, transduce("score", run, *files, "--json").out
    found = [json.loads(line) for line in objects.splitlines()]
    assert [f"{o['log_prob']:.6f}" for o in found] == plain.splitlines()


def test_an_output_of_the_model_scores_what_translate_says(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    said = transduce("translate", run, "--json", "--precision", "fp32", stdin="".join(s + "\n" for s in SOURCES))
    outputs = [json.loads(line)["outputs"][0] for line in said.out.splitlines()]
    source = write_lines(tmp_path / "s.aa", SOURCES)
    target = write_lines(tmp_path / "t.bb", [output["text"] for output in outputs])
    scores = transduce("score", run, "--source", source, "--target", target, "--precision", "fp32").out.splitlines()
    assert [float(s) for s in scores] == pytest.approx([o["log_prob"] for o in outputs], abs=1e-4)
    assert all(float(s) < 0 and math.isfinite(float(s)) for s in scores)


def test_unequal_files(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    source, target = write_lines(tmp_path / "s.aa", SOURCES), write_lines(tmp_path / "t.bb", ["TAC"])
    said = transduce("score", run, "--source", source, "--target", target)
    said.refused(f"error: {source} has 3 lines, {target} has 1: not line by line translations.")


def test_a_missing_file(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "s.aa", SOURCES)
    said = transduce("score", run, "--source", source, "--target", tmp_path / "t.bb")
    said.refused(f"error: {tmp_path / 't.bb'}: cannot open it (No such file or directory).")


def test_a_line_too_long_is_named(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "s.aa", ["dog", "dog " * 20])
    target = write_lines(tmp_path / "t.bb", ["GOD", "GOD"])
    said = transduce("score", run, "--source", source, "--target", target)
    said.refused("s.aa and ", "t.bb, line 2: 20 source pieces, but this model takes 12.")
