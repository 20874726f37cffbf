"""Reading: every way that people store pairs, and every way that a file can be wrong."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transduce.data.corpus import AlignedFiles, PairsFile, open_text, read_lines, read_pairs
from transduce.errors import ConfigError, DataError

pytestmark = pytest.mark.unit

PACK: dict[str, Callable[[bytes], bytes]] = {".txt": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
one_line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0\ufeff"))


def write(folder: Path, content: bytes | str, name: str = "text") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


@pytest.mark.parametrize("suffix", PACK)
@given(
    lines=st.lists(one_line, min_size=1), ending=st.sampled_from(["\n", "\r\n"]), bom=st.sampled_from(["", "\ufeff"])
)
@settings(max_examples=40, deadline=None)
def test_lines_come_back_whatever_is_in_them(
    folder: Path, suffix: str, lines: list[str], ending: str, bom: str
) -> None:
    content = bom + "".join(line + ending for line in lines)
    path = write(folder, PACK[suffix](content.encode()), f"text{suffix}")
    assert list(read_lines(path)) == lines


def test_only_newlines_end_lines(tmp_path: Path) -> None:
    odd = "a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g\rh"
    assert list(read_lines(write(tmp_path, f"{odd}\nlast, without an end"))) == [odd, "last, without an end"]


def test_a_byte_order_mark_inside_is_text(tmp_path: Path) -> None:
    assert list(read_lines(write(tmp_path, "\ufeffa\n\ufeffb\n"))) == ["a", "\ufeffb"]


def test_zero_bytes_after_the_first_line_and_huge_lines_are_text(tmp_path: Path) -> None:
    huge = "x" * 3_000_000
    assert list(read_lines(write(tmp_path, f"a\nb\0c\n{huge}\n"))) == ["a", "b\0c", huge]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"good\ncaf\xe9 au lait\n", r":2: not UTF-8 \(byte 0xE9 at column 4\).*iconv"),
        (b"\xed\xa0\x80\n", ":1: not UTF-8"),
        (b"cut in a character \xf0\x9f\x99", ":1: not UTF-8"),
        ("\ufeffhallo\n".encode("utf-16-le"), ":1: this is UTF-16"),
        ("\ufeffhallo\n".encode("utf-16-be"), ":1: this is UTF-16"),
        ("hallo\n".encode("utf-16-le"), ":1: this is UTF-16"),
        (bz2.compress(b"hallo"), ": packed by bzip2"),
        (b"\x28\xb5\x2f\xfd\x04\x00", ": packed by zstd"),
        (b"PK\x03\x04\x14\x00", ": packed by zip, as spreadsheets are"),
        (b"old Mac\r" * 20, ": its lines end in CR alone"),
        (b"\x7fELF\x02\0\0\0", ":1: this is UTF-16, or no text"),
    ],
)
@pytest.mark.parametrize("suffix", PACK)
def test_what_is_no_text_is_an_error_with_path_and_line(
    tmp_path: Path, suffix: str, content: bytes, message: str
) -> None:
    path = write(tmp_path, PACK[suffix](content), f"text{suffix}")
    with pytest.raises(DataError, match=f"text\\{suffix}.*{message}"):
        list(read_lines(path))


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
@pytest.mark.parametrize("damage", ["cut", "foreign", "nothing", "flipped"])
def test_damaged_compression_is_an_error(tmp_path: Path, suffix: str, damage: str) -> None:
    packed = PACK[suffix]("".join(f"line {i} {i * i}\n" for i in range(5000)).encode())
    middle = len(packed) // 2
    content = {
        "cut": packed[:middle],
        "foreign": b"plain text with a wrong name\n",
        "nothing": b"",
        "flipped": packed[:middle] + bytes([packed[middle] ^ 0xFF]) * 50 + packed[middle + 50 :],
    }[damage]
    with pytest.raises(DataError, match="cannot read on|is empty|not UTF-8"):
        list(read_lines(write(tmp_path, content, f"text{suffix}")))


@pytest.mark.parametrize("suffix", PACK)
def test_missing_files_and_folders_are_errors(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(DataError, match=r"missing.*No such file"):
        list(read_lines(tmp_path / f"missing{suffix}"))
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(DataError, match="this is a folder"):
        list(read_lines(tmp_path / f"folder{suffix}"))


def test_errors_of_the_reader_are_not_mistaken_for_errors_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a\n")
    with pytest.raises(OSError, match="disk full"), open_text(path):
        raise OSError("disk full")


# ---- aligned files


def aligned(folder: Path, source: str, target: str) -> AlignedFiles:
    return AlignedFiles(source=write(folder, source, "source"), target=write(folder, target, "target"))


def test_empty_sides_are_kept_so_that_lines_stay_aligned(tmp_path: Path) -> None:
    files = aligned(tmp_path, "a\n\nc\n", "1\n2\n\n")
    assert list(read_pairs(files)) == [("a", "1"), ("", "2"), ("c", "")]


@pytest.mark.parametrize(("n_source", "n_target"), [(3, 1), (1, 3), (1200, 1199)])
def test_unequal_counts_are_an_error_with_both(tmp_path: Path, n_source: int, n_target: int) -> None:
    files = aligned(tmp_path, "a\n" * n_source, "b\n" * n_target)
    with pytest.raises(DataError, match=f"source has {n_source:,} lines, .*target has {n_target:,}"):
        list(read_pairs(files))


# ---- pairs files


def test_columns_are_chosen_and_joined(tmp_path: Path) -> None:
    path = write(tmp_path, "run\tran\tV;PST\tx\n\nsee\tsaw\tV;PST\ty\n")
    files = PairsFile(pairs=path, source_columns=(1, 3), target_columns=(2,))
    assert list(read_pairs(files)) == [("run V;PST", "ran"), ("", ""), ("see V;PST", "saw")]
    assert next(read_pairs(PairsFile(pairs=path))) == ("run", "ran")


def test_a_pattern_finds_the_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "IN: jump twice OUT: I_JUMP I_JUMP\n")
    files = PairsFile(pairs=path, pattern="IN: (.*) OUT: (.*)")
    assert list(read_pairs(files)) == [("jump twice", "I_JUMP I_JUMP")]
    optional = PairsFile(pairs=path, pattern="IN: (.*) (?:OUT|(NOT)): .*")
    assert list(read_pairs(optional)) == [("jump twice", "")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"pairs:2: 1 tab-separated columns, but column 2 is needed: 'b'"),
        ({"pattern": r"(\w)\t(\d)"}, r"pairs:2: does not match the pattern"),
        ({"pattern": r"(\w)\t(\d).*"}, r"pairs:2: does not match the pattern"),
    ],
)
def test_lines_without_the_columns_are_errors(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    files = PairsFile(pairs=write(tmp_path, "a\t1\nb\n", "pairs"), **options)
    with pytest.raises(DataError, match=message) as caught:
        list(read_pairs(files))
    assert "more like it" not in str(caught.value)
    more = PairsFile(pairs=write(tmp_path, "a\t1\nb\n\nc\nd\t2\ne\n", "more"), **options)
    with pytest.raises(DataError, match=r"more:2: .*'b' \(and 2 more like it\)\. Correct"):
        list(read_pairs(more))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source_columns": ()}, "at least one"),
        ({"target_columns": (0,)}, "number 1"),
        ({"pattern": "(a"}, "not a regular expression"),
        ({"pattern": "(a)"}, "has 1 groups, but column 2"),
    ],
)
def test_impossible_columns_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PairsFile(pairs=Path("pairs.tsv"), **options)


def test_a_translation_memory_has_no_columns_to_exchange() -> None:
    with pytest.raises(ConfigError, match="exchange those of --langs"):
        next(read_pairs(PairsFile(pairs=Path("m.tmx"), source_columns=(2,), target_columns=(1,))))


@pytest.mark.parametrize("name", ["m.po", "m.tmx", "m.xlf.gz", "m.jsonl"])
def test_files_of_pairs_are_no_lines(name: str) -> None:
    for sides in ((name, "a.de"), ("a.en", name)):
        with pytest.raises(ConfigError, match=f"{name}: this is .* where pairs are taken"):
            next(read_pairs(AlignedFiles(source=Path(sides[0]), target=Path(sides[1]))))


# ---- real data


def test_benchmark_files_have_the_counts_of_their_readme(benchmark_data: Path) -> None:
    multi30k = benchmark_data / "multi30k"
    files = AlignedFiles(source=multi30k / "val.en.gz", target=multi30k / "val.de.gz")
    assert sum(1 for _ in read_pairs(files)) == 1014
    assert sum(1 for _ in read_pairs(PairsFile(pairs=benchmark_data / "cmudict/dev.tsv.xz"))) == 6755
    scan = PairsFile(pairs=benchmark_data / "scan/tasks_test_simple.txt.xz", pattern="IN: (.*) OUT: (.*)")
    pairs = list(read_pairs(scan))
    assert len(pairs) == 4182
    assert {action for _, target in pairs for action in target.split(" ")} == {
        f"I_{action}" for action in ("JUMP", "WALK", "RUN", "LOOK", "TURN_LEFT", "TURN_RIGHT")
    }
    forms = PairsFile(
        pairs=benchmark_data / "sigmorphon2020_inflection/dak.dev.tsv", source_columns=(1, 3), target_columns=(2,)
    )
    assert sum(1 for _ in read_pairs(forms)) == 376
