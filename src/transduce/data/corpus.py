"""Parallel text as people have it: two aligned files, or one file with a pair a line; plain, `.gz` or `.xz`."""

import gzip
import lzma
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

from transduce.errors import ConfigError, DataError

Pair = tuple[str, str]
Numbered = tuple[int, Pair]
"""A pair and its number, which is that of its line."""

_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignedFiles:
    """Line N of `source` and line N of `target` are a pair."""

    source: Path
    target: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class PairsFile:
    """One pair a line, in columns counted from 1. A side that takes several has them joined with a space.

    Columns are divided by tabs; or, with `pattern`, they are the groups of a regular expression that has to match the
    whole line, for instance `IN: (.*) OUT: (.*)`.

    Raises:
        ConfigError: no column, a column below 1 or beyond the groups, a pattern that is no regular expression.
    """

    pairs: Path
    source_columns: tuple[int, ...] = (1,)
    target_columns: tuple[int, ...] = (2,)
    pattern: str = ""

    def __post_init__(self) -> None:
        columns = self.source_columns + self.target_columns
        if not self.source_columns or not self.target_columns or min(columns) < 1:
            raise ConfigError(
                f"{self.pairs}: columns {self.source_columns} -> {self.target_columns}: each side needs at least one, "
                "and the first column is number 1."
            )
        if self.pattern:
            try:
                groups = re.compile(self.pattern).groups
            except re.error as error:
                raise ConfigError(f"pattern {self.pattern!r} is not a regular expression: {error}.") from error
            if max(columns) > groups:
                raise ConfigError(
                    f"pattern {self.pattern!r} has {groups} groups, but column {max(columns)} was asked for. "
                    "Put each column in parentheses."
                )


@contextmanager
def open_text(path: Path) -> Iterator[Iterator[str]]:
    r"""Lines of a UTF-8 file, without their ends: `\n` or `\r\n`, nothing else. A byte order mark is dropped.

    Raises:
        DataError: missing, a folder, unreadable, empty, truncated or damaged compression, not UTF-8 (path and line).
    """
    if path.is_dir():
        raise DataError(f"{path}: this is a folder. Give a file of text.")
    try:
        file = _open_binary(path)
    except OSError as error:
        raise DataError(f"{path}: cannot open it ({error.strerror or error}). Check the path.") from error
    with file:
        yield _decoded(path, file)


def read_lines(path: Path) -> Iterator[str]:
    """Every line of one file. Raises as `open_text` does."""
    with open_text(path) as lines:
        yield from lines


def read_pairs(files: AlignedFiles | PairsFile) -> Iterator[tuple[str, str]]:
    """Every pair, in order. Empty sides are kept, so that pair N stays line N; whoever has no use for them drops them.

    Raises:
        DataError: as `open_text`; aligned files of unequal length (at the end); a line without the columns asked for.
    """
    match files:
        case AlignedFiles():
            yield from _read_aligned(files)
        case PairsFile():
            yield from _read_columns(files)


def chunks(pairs: Iterable[Numbered], n: int, characters: int = 4_000_000) -> Iterator[list[Numbered]]:
    """`pairs` in lists to work on at once: of `n`, or of fewer where these have so many characters already."""
    chunk: list[Numbered] = []
    size = 0
    for number, pair in pairs:
        chunk.append((number, pair))
        size += len(pair[0]) + len(pair[1])
        if len(chunk) == n or size >= characters:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _read_aligned(files: AlignedFiles) -> Iterator[tuple[str, str]]:
    with open_text(files.source) as sources, open_text(files.target) as targets:
        n = 0
        for source in sources:
            target = next(targets, None)
            if target is None:
                raise _unequal(files, n + 1 + sum(1 for _ in sources), n)
            yield source, target
            n += 1
        surplus = sum(1 for _ in targets)
        if surplus:
            raise _unequal(files, n, n + surplus)


def _unequal(files: AlignedFiles, n_source: int, n_target: int) -> DataError:
    return DataError(
        f"{files.source} has {n_source:,} lines, {files.target} has {n_target:,}: not line by line translations. "
        "Find where they part; often one was cut off, or has an extra line break."
    )


def _read_columns(files: PairsFile) -> Iterator[tuple[str, str]]:
    pattern = re.compile(files.pattern) if files.pattern else None
    last = max(files.source_columns + files.target_columns)
    for number, line in enumerate(read_lines(files.pairs), start=1):
        if not line.strip():
            yield "", ""
            continue
        if pattern is None:
            columns = line.split("\t")
        else:
            match = pattern.fullmatch(line)
            if match is None:
                raise DataError(
                    f"{files.pairs}:{number}: does not match the pattern {files.pattern!r}: {line[:80]!r}. "
                    "Correct the line or the pattern."
                )
            columns = [group or "" for group in match.groups()]
        if len(columns) < last:
            raise DataError(
                f"{files.pairs}:{number}: {len(columns)} tab-separated columns, but column {last} is needed: "
                f"{line[:80]!r}. Correct the line, or choose other columns."
            )
        yield _join(columns, files.source_columns), _join(columns, files.target_columns)


def _join(columns: list[str], chosen: tuple[int, ...]) -> str:
    return " ".join(columns[c - 1] for c in chosen)


def _open_binary(path: Path) -> BufferedIOBase:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if path.suffix == ".xz":
        return lzma.open(path, "rb")
    return path.open("rb")


def _decoded(path: Path, file: BufferedIOBase) -> Iterator[str]:
    number = 0
    try:
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = _first_line(path, line)
            yield line.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{number}: not UTF-8 (byte 0x{error.object[error.start]:02X} at column {error.start + 1}). "
            "Convert the file, for instance with `iconv -f latin1 -t utf-8`."
        ) from error
    except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        raise DataError(
            f"{path}:{number + 1}: cannot read on ({error}). Truncated, or damaged? Copy it again."
        ) from error
    if number == 0:
        raise DataError(f"{path}: the file is empty. Give a file with text in it.")


def _first_line(path: Path, line: bytes) -> bytes:
    """The line without its byte order mark. Zero bytes so early mean UTF-16 or no text at all, though it may decode."""
    if line.startswith(_UTF16_BOMS) or b"\0" in line:
        raise DataError(
            f"{path}:1: this is UTF-16, or no text. Convert it, for instance with `iconv -f utf-16 -t utf-8`."
        )
    return line.removeprefix(_BOM)
