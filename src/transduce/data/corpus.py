"""Parallel text as people have it: two aligned files, or one file of pairs in any format; plain, `.gz` or `.xz`."""

import gzip
import lzma
import random
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

from transduce.data.formats import Column, format_of, read_json, read_po
from transduce.data.markup import read_tmx, read_xliff, tmx_languages
from transduce.errors import ConfigError, DataError
from transduce.text.form import Normal, normalise, one_line, put_tag

Pair = tuple[str, str]
Numbered = tuple[int, Pair]
"""A pair and its number, which is that of its line."""

_BLOCK = 2**16
_BOM = b"\xef\xbb\xbf"
_PACKED = {b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip", b"7z\xbc\xaf\x27\x1c": "7-Zip"}
_PACKED |= {b"BZh%d1AY&SY" % level: "bzip2" for level in range(1, 10)} | {b"\x1f\x8b": "gzip", b"\xfd7zXZ\0": "xz"}
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_DAMAGE = (EOFError, OSError, lzma.LZMAError, zlib.error)


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignedFiles:
    """Line N of `source` and line N of `target` are a pair. `tag` is put in front of every source."""

    source: Path
    target: Path
    tag: str = ""
    normalise: Normal = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class PairsFile:
    """One file of pairs, in the format that its suffix says. A side that takes several columns has them joined with a
    space.

    In text there is a pair a line, in columns counted from 1. They are divided by tabs; or, with `pattern`, they are
    the groups of a regular expression that has to match the whole line, for instance `IN: (.*) OUT: (.*)`. The columns
    of JSON lines are names of fields. PO, TMX and XLIFF have two, source and target; `languages` says which those are
    in a TMX, and may be empty where there are only two.

    Raises:
        ConfigError: no column, a column below 1 or beyond what there is, a pattern that is no regular expression.
    """

    pairs: Path
    source_columns: tuple[Column, ...] = (1,)
    target_columns: tuple[Column, ...] = (2,)
    pattern: str = ""
    languages: tuple[str, str] = ("", "")
    tag: str = ""
    normalise: Normal = "none"

    def __post_init__(self) -> None:
        columns = self.source_columns + self.target_columns
        numbers = [column for column in columns if isinstance(column, int)]
        if not self.source_columns or not self.target_columns or min(numbers, default=1) < 1:
            raise ConfigError(
                f"{self.pairs}: columns {self.source_columns} -> {self.target_columns}: each side needs at least one, "
                "and the first column is number 1."
            )
        kind = format_of(self.pairs)
        if kind != "text" and self.pattern:
            raise ConfigError(f"{self.pairs}: data.pattern is for lines of text, this is {kind}. Leave it out.")
        if kind == "jsonl":
            return
        if len(numbers) < len(columns):
            raise ConfigError(f"{self.pairs}: columns {columns}: names are for JSON lines; here they are numbers.")
        if kind != "text" and max(numbers) > 2:
            raise ConfigError(f"{self.pairs}: columns {columns}: {kind} has two, source (1) and target (2).")
        if self.pattern:
            try:
                groups = re.compile(self.pattern).groups
            except re.error as error:
                raise ConfigError(f"pattern {self.pattern!r} is not a regular expression: {error}.") from error
            if max(numbers) > groups:
                raise ConfigError(
                    f"pattern {self.pattern!r} has {groups} groups, but column {max(numbers)} was asked for. "
                    "Put each column in parentheses."
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """Several sets, one after the other."""

    parts: tuple[AlignedFiles | PairsFile, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixed:
    """`new`, then so many pairs of `old`, picked by `seed`, that they are `share` of the whole; all of them when there
    are not so many."""

    new: "Files"
    old: "Files"
    share: float
    seed: int


Files = AlignedFiles | PairsFile | Joined | Mixed


def paths(files: Files) -> list[Path]:
    """Every file that is read."""
    match files:
        case AlignedFiles():
            return [files.source, files.target]
        case PairsFile():
            return [files.pairs]
        case Joined():
            return [path for part in files.parts for path in paths(part)]
        case Mixed():
            return paths(files.new) + paths(files.old)


@contextmanager
def open_text(path: Path) -> Iterator[Iterator[str]]:
    r"""Lines of a UTF-8 file, without their ends: `\n` or `\r\n`, nothing else. A byte order mark is dropped.

    Raises:
        DataError: missing, a folder, unreadable, empty, truncated or damaged compression, not UTF-8 (path and line).
    """
    with _open_binary(path) as file:
        yield _decoded(path, file)


def check_lines(path: Path) -> None:
    """Raise `ConfigError` where the name says that the file is of pairs in some format, not of lines of text."""
    if (kind := format_of(path)) != "text":
        raise ConfigError(
            f"{path}: this is {kind}, and its lines are not text. Give its text alone; or, where pairs are taken "
            "(--pairs, `pairs` in a recipe), the file as it is."
        )


def check_columns(path: Path, columns: tuple[tuple[Column, ...], tuple[Column, ...]]) -> None:
    """Raise `ConfigError` for columns of a translation memory, which names its languages instead."""
    if format_of(path) == "tmx" and columns != ((1,), (2,)):
        raise ConfigError(
            f"{path}: columns {columns[0]} -> {columns[1]}: a translation memory names its languages. For the other "
            "direction exchange those of --langs, and leave the columns out."
        )


def check_formats(files: Files) -> None:
    """Raise `ConfigError` as `check_lines` and `check_columns` do, for every file."""
    match files:
        case AlignedFiles(source=source, target=target):
            check_lines(source)
            check_lines(target)
        case PairsFile(pairs=pairs, source_columns=source_columns, target_columns=target_columns):
            check_columns(pairs, (source_columns, target_columns))
        case Joined(parts=parts):
            for part in parts:
                check_formats(part)
        case Mixed(new=new, old=old):
            check_formats(new)
            check_formats(old)


def read_lines(path: Path) -> Iterator[str]:
    """Every line of one file. Raises as `open_text` does."""
    with open_text(path) as lines:
        yield from lines


def read_pairs(files: Files) -> Iterator[tuple[str, str]]:
    """Every pair, in order, each side one line: line breaks that a format allows inside become spaces (a carriage
    return inside a line of text stays, and is counted before training). Empty sides of lines are kept, so that pair N
    stays line N; whoever has no use for them drops them.

    Raises:
        DataError: as `open_text`; aligned files of unequal length (at the end); a line without the columns asked for; a
            file that is not of its format, or has no pair.
        ConfigError: a library that the format needs is not installed; as `check_formats`.
    """
    check_formats(files)
    match files:
        case AlignedFiles():
            yield from _formed(_read_aligned(files), files.tag, files.normalise)
        case PairsFile():
            yield from _formed(_read_file(files), files.tag, files.normalise)
        case Joined():
            for part in files.parts:
                yield from read_pairs(part)
        case Mixed():
            yield from read_pairs(files.new)
            yield from _picked(files)


def languages_of(files: Files) -> tuple[str, str]:
    """Source and target language as the first TMX in `files` has them; empty strings when there is none."""
    match files:
        case PairsFile() if format_of(files.pairs) == "tmx":
            return tmx_languages(files.pairs, _blocks(files.pairs), files.languages)
        case Joined():
            return next((found for part in files.parts if any(found := languages_of(part))), ("", ""))
        case _:
            return "", ""


def _formed(pairs: Iterator[tuple[str, str]], tag: str, form: Normal) -> Iterator[tuple[str, str]]:
    if not tag and form == "none":
        return pairs
    return ((put_tag(normalise(source, form), tag), normalise(target, form)) for source, target in pairs)


def _picked(files: Mixed) -> Iterator[tuple[str, str]]:
    n_new, n_old = (sum(1 for _ in read_pairs(part)) for part in (files.new, files.old))
    n = min(n_old, round(n_new * files.share / (1 - files.share)))
    chosen = set(random.Random(files.seed).sample(range(n_old), n))
    return (pair for i, pair in enumerate(read_pairs(files.old)) if i in chosen)


def chunks(pairs: Iterable[Numbered], n: int, characters: int = 4_000_000) -> Iterator[list[Numbered]]:
    """`pairs` in lists of `n`, or of fewer once a list has so many characters."""
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


def _read_file(files: PairsFile) -> Iterator[tuple[str, str]]:
    path, kind = files.pairs, format_of(files.pairs)
    found: Iterator[tuple[str, str]]
    match kind:
        case "text":
            yield from _read_columns(files)
            return
        case "jsonl":
            found = read_json(path, read_lines(path), files.source_columns, files.target_columns)
        case "po":
            found = read_po(path, b"".join(_blocks(path)))
        case "tmx":
            found = read_tmx(path, _blocks(path), tmx_languages(path, _blocks(path), files.languages))
        case "xliff":
            found = read_xliff(path, _blocks(path))
    some = False
    for source, target in found:
        some = True
        pair = one_line(source), one_line(target)
        yield pair if kind == "jsonl" else (_join(pair, files.source_columns), _join(pair, files.target_columns))
    if not some:
        raise DataError(f"{path}: nothing in it is translated, read as {kind}. Check the file.")


def _read_columns(files: PairsFile) -> Iterator[tuple[str, str]]:
    pattern = re.compile(files.pattern) if files.pattern else None
    last = max(c for c in files.source_columns + files.target_columns if isinstance(c, int))

    def columns_of(line: str) -> list[str] | None:
        """None where there are not as many as are needed."""
        match = None if pattern is None else pattern.fullmatch(line)
        columns = line.split("\t") if pattern is None else [group or "" for group in match.groups()] if match else []
        return columns if len(columns) >= last else None

    lines = enumerate(read_lines(files.pairs), start=1)
    for number, line in lines:
        if not line.strip():
            yield "", ""
            continue
        columns = columns_of(line)
        if columns is None:
            more = 0
            with suppress(DataError):  # what else is wrong comes after this
                for _, other in lines:
                    more += bool(other.strip()) and columns_of(other) is None
            raise DataError(f"{files.pairs}:{number}: {_lacking(line, last, files.pattern, more)}")
        yield _join(columns, files.source_columns), _join(columns, files.target_columns)


def _lacking(line: str, last: int, pattern: str, more: int) -> str:
    others = f" (and {more:,} more like it)" if more else ""
    if pattern:
        return f"does not match the pattern {pattern!r}: {line[:80]!r}{others}. Correct the line or the pattern."
    return (
        f"{line.count(chr(9)) + 1} tab-separated columns, but column {last} is needed: {line[:80]!r}{others}. Correct "
        "the line, or choose other columns."
    )


def _join(columns: Sequence[str], chosen: tuple[Column, ...]) -> str:
    return " ".join(columns[c - 1] for c in chosen if isinstance(c, int))


def _open_binary(path: Path) -> BufferedIOBase:
    if path.is_dir():
        raise DataError(f"{path}: this is a folder. Give a file of text.")
    try:
        return open_unpacked(path)
    except OSError as error:
        raise DataError(f"{path}: cannot open it ({error.strerror or error}). Check the path.") from error


def open_unpacked(path: Path) -> BufferedIOBase:
    """The bytes of a file, of which `.gz` and `.xz` are unpacked. Raises `OSError`."""
    match path.suffix.lower():
        case ".gz":
            return gzip.open(path, "rb")
        case ".xz":
            return lzma.open(path, "rb")
        case _:
            return path.open("rb")


def _blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file that is not read by lines. Raises as `open_text`, but for what is in the text."""
    empty = True
    with _open_binary(path) as file:
        try:
            while block := file.read(_BLOCK):
                empty = False
                yield block
        except _DAMAGE as error:
            raise DataError(f"{path}: cannot read on ({error}). Truncated, or damaged? Copy it again.") from error
    if empty:
        raise DataError(f"{path}: the file is empty. Give a file with text in it.")


def _decoded(path: Path, file: BufferedIOBase) -> Iterator[str]:
    number = 0
    try:
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = first_line(path, line)
            yield line.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{number}: not UTF-8 (byte 0x{error.object[error.start]:02X} at column {error.start + 1}). "
            "Convert the file, for instance with `iconv -f latin1 -t utf-8`."
        ) from error
    except _DAMAGE as error:
        raise DataError(
            f"{path}:{number + 1}: cannot read on ({error}). Truncated, or damaged? Copy it again."
        ) from error
    if number == 0:
        raise DataError(f"{path}: the file is empty. Give a file with text in it.")
    if number == 1 and line.count(b"\r") >= 10:
        raise DataError(f"{path}: its lines end in CR alone. Convert it, for instance with `tr '\\r' '\\n'`.")


def first_line(name: Path | str, line: bytes) -> bytes:
    """The line without its byte order mark. Zero bytes so early mean UTF-16 or no text at all, though it may decode."""
    for mark, kind in _PACKED.items():
        if line.startswith(mark):
            raise DataError(
                f"{name}: packed by {kind}, as spreadsheets are too. Unpack it, or save it as tab-separated text; "
                "files in .gz and .xz are unpacked by their names."
            )
    if line.startswith(_UTF16_BOMS) or b"\0" in line:
        raise DataError(
            f"{name}:1: this is UTF-16, or no text. Convert it, for instance with `iconv -f utf-16 -t utf-8`."
        )
    return line.removeprefix(_BOM)
