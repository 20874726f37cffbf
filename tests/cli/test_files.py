"""Standard input, whatever is behind it: all lines, and no waiting where nothing is there."""

import io
import os
import random
from pathlib import Path

import pytest

from transduce.cli.files import Lines, StandardInput
from transduce.errors import DataError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("block", [1, 2, 7, 2**16])
@pytest.mark.parametrize(
    "content", [b"", b"\n", b"a", b"a\n", b"a\r\n\r\nb", b"one\n\n\ntwo three\n", b"x" * 40 + b"\n" + b"y" * 40]
)
def test_lines_however_the_bytes_come(content: bytes, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transduce.cli.files._BLOCK", block)
    expected = [line.removesuffix(b"\r").decode() for line in content.split(b"\n")]
    expected = expected[:-1] if not expected[-1] else expected
    assert list(StandardInput(io.BytesIO(content))) == expected
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        assert list(StandardInput(stream)) == expected


def test_ready_is_a_whole_line_or_the_end() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream:
        lines = StandardInput(stream)
        given = iter(lines)
        assert not lines.ready()
        os.write(writing, b"one\ntw")
        assert lines.ready()
        assert next(given) == "one"
        assert not lines.ready()
        os.write(writing, b"o\n\n")
        assert lines.ready()
        assert [next(given), next(given)] == ["two", ""]
        assert not lines.ready()
        os.close(writing)
        assert lines.ready()
        assert list(given) == []


def test_what_is_in_memory_is_ready() -> None:
    lines = StandardInput(io.BytesIO(b"a\nb"))
    assert [(text, lines.ready()) for text in lines] == [("a", True), ("b", True)]


def test_a_stream_that_cannot_be_read() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(DataError, match=r"standard input: cannot be read \(Input/output error\)"):
        list(StandardInput(Broken()))


def test_bytes_that_are_no_text() -> None:
    chosen = random.Random(1)
    lines = [b"line"] * chosen.randint(3, 9)
    with pytest.raises(DataError, match=f"standard input:{len(lines) + 1}: not UTF-8"):
        list(StandardInput(io.BytesIO(b"\n".join([*lines, b"\xff"]))))


def test_the_size_is_known_of_plain_files(tmp_path: Path) -> None:
    path = tmp_path / "a.en"
    path.write_bytes(b"one\ntwo\n")
    assert Lines(str(path)).size == 8
    packed = path.rename(tmp_path / "a.en.gz")
    assert Lines(str(packed)).size == 0
