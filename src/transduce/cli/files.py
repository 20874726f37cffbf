"""Lines in and out: files (plain, .gz, .xz), standard input and output."""

import contextlib
import gzip
import io
import lzma
import os
import select
import stat
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TextIO, final, runtime_checkable

from transduce.cli.console import say
from transduce.errors import ConfigError, DataError, SaveError
from transduce.files import NEW, is_special

PACKED = (".gz", ".xz")
_BLOCK = 2**16


@final
class Lines:
    """Lines of a file, or of standard input for `-`, as they come.

    `size` is the number of bytes in all, 0 where nobody can know. Raises `DataError` with path and line, and
    `ConfigError` as `check_lines`.
    """

    def __init__(self, path: str) -> None:
        from transduce.data.corpus import check_lines, read_lines

        self.size = 0
        check_lines(Path(path))
        if path == "-" and sys.stdin is None:
            raise DataError("standard input: it is closed. Give a text, or --input with a file.")
        self._standard = StandardInput(sys.stdin.buffer) if path == "-" else None
        self._lines = iter(self._standard or read_lines(Path(path)))
        with contextlib.suppress(OSError):
            status = os.fstat(sys.stdin.fileno()) if path == "-" else Path(path).stat()
            if stat.S_ISREG(status.st_mode) and Path(path).suffix.lower() not in PACKED:
                self.size = status.st_size

    def __iter__(self) -> Iterator[str]:
        return self._lines

    def ready(self) -> bool:
        """Whether the next line can be had without waiting for anybody."""
        return self._standard is None or self._standard.ready()


@runtime_checkable  # so that tests can check annotations at run time
class Stream(Protocol):
    """What standard input is, and what stands for it."""

    def fileno(self) -> int:
        """The file behind it. Raises io.UnsupportedOperation where there is none."""
        ...

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...


@final
class StandardInput:
    """Lines of a stream that may be a file, a pipe or somebody who types."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        try:
            self._file: int | None = stream.fileno()
        except io.UnsupportedOperation:  # in memory
            self._file = None
        self._lines: deque[bytes] = deque()  # read and not yet given
        self._begun: list[bytes] = []  # of the line after them
        self._ended = False

    def __iter__(self) -> Iterator[str]:
        from transduce.data.corpus import first_line

        number = 0
        while True:
            while not (self._lines or self._ended):
                self._read()
            if not self._lines:
                return
            number += 1
            line = self._lines.popleft()
            if number == 1:
                line = first_line("standard input", line)
            try:
                text = line.removesuffix(b"\r").decode()
            except UnicodeDecodeError as error:
                raise DataError(
                    f"standard input:{number}: not UTF-8. Convert it with `iconv -f latin1 -t utf-8`."
                ) from error
            yield text

    def ready(self) -> bool:
        """Whether a whole line, or the end, is there already."""
        while not (self._lines or self._ended):
            if self._file is not None and not _readable(self._file):
                return False
            self._read()
        return True

    def _read(self) -> None:
        """What is there, or the next that comes."""
        try:
            block = self._stream.read(_BLOCK) if self._file is None else os.read(self._file, _BLOCK)
        except OSError as error:
            raise DataError(f"standard input: cannot be read ({error.strerror or error}).") from error
        *lines, rest = block.split(b"\n")
        if lines:
            self._lines.append(b"".join([*self._begun, lines[0]]))
            self._lines.extend(lines[1:])
            self._begun = []
        self._begun.append(rest)
        if not block:
            self._ended = True
            if last := b"".join(self._begun):
                self._lines.append(last)


def _readable(file: int) -> bool:
    try:
        return bool(select.select([file], [], [], 0)[0])
    except OSError:  # nobody can know
        return False


def read_all(path: Path) -> list[str]:
    """All lines of a file, or of standard input for `-`. Raises `DataError`; `ConfigError` as `check_lines`."""
    return list(Lines(str(path)))


def check_name(path: Path) -> None:
    """Raise `ConfigError` where `path` is no name that a file or folder can be given."""
    if not path.name:
        raise ConfigError(f"{str(path)!r}: no name for what is written. Give one.")
    _check_no_stream(path)
    check_spelling(path)


def check_spelling(path: Path) -> None:
    """Raise `ConfigError` where a recipe, which is UTF-8, cannot say `path`."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{str(path)!r}: its name is not UTF-8. Give it another.") from error


def check_place(path: Path | None) -> None:
    """Raise `ConfigError` where no file can come to `path`, so that it is known before the work and not after."""
    if path is None:
        return
    _check_no_stream(path)
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: {path.parent} is no folder. Make it first, or choose another name.")
    if not is_special(path) and not os.access(folder := path.resolve().parent, os.W_OK):
        raise ConfigError(f"{path}: {folder} cannot be written to. Choose another place.")
    if path.is_dir():
        raise ConfigError(f"{path}: this is a folder. Name a file in it.")


def _check_no_stream(path: Path) -> None:
    if str(path) == "-":
        raise ConfigError("-: this does not go to standard output. Name a file.")


def is_outputs(path: Path) -> bool:
    """Whether `path` is a file of lines (- is standard input), or a pipe or a device, and no model."""
    return path == Path("-") or (path.exists() and not path.is_dir())


def check_apart(option: str, path: Path | None, *others: Path | None) -> None:
    """Raise `ConfigError` where what `option` writes to `path` would take the place of one of `others`."""
    if path is not None and not is_special(path) and path.resolve() in {o.resolve() for o in others if o is not None}:
        raise ConfigError(f"{option} {path}: this file is read, or is written too. Give another name.")


@contextmanager
def open_output(path: str, *, keep: bool = False) -> Iterator[TextIO]:
    """Standard output for `-`; else a file that takes its name only when everything was written, `.gz` and `.xz`
    packed. A pipe or a device is written to as it is. What was written before an error or an interruption is gone; or,
    with `keep`, it becomes a file of that name with `.part` in it, and that is said.

    Raises:
        ConfigError: as `check_place`.
        SaveError: the file cannot be written.
    """
    if path == "-":
        if not sys.stdout.writable():
            sys.stdout.write("")  # says that it is closed
        yield sys.stdout
        sys.stdout.flush()
        return
    target = Path(path)
    check_place(target)
    special = is_special(target)
    if not special:
        target = target.resolve()  # what a link stands for is replaced, not the link
    # two processes that write the same file: each has its own, and the last one that is whole stays
    written = target if special else target.with_name(f"{target.name}.{os.getpid()}{NEW}")
    try:
        with _opened(written, "" if special else target.suffix.lower()) as file:
            yield file
        if not special:
            written.replace(target)
    except OSError as error:
        raise SaveError(f"{target}: cannot be written ({error.strerror or error}). Choose another --output.") from error
    finally:
        if not special and written.is_file():
            if keep and not _is_empty(written, target.suffix.lower()):
                _keep(written, target)
            else:
                written.unlink()


def _is_empty(path: Path, kind: str) -> bool:
    """Whether there is no text in a file that `_opened` made."""
    with gzip.open(path) if kind == ".gz" else lzma.open(path) if kind == ".xz" else path.open("rb") as file:
        return not file.read(1)


def _keep(written: Path, target: Path) -> None:
    """Give what was written, of what was to become `target`, a name that tells it from that."""
    part = target.with_name(f"{target.stem}.part{target.suffix}")
    if part.exists():
        part = target.with_name(f"{target.stem}.part{os.getpid()}{target.suffix}")
    with contextlib.suppress(OSError):
        written.replace(part)
        say(f"{part}: the lines before the error or interruption")


def _opened(path: Path, kind: str) -> TextIO:
    """A new file to write text to, packed as `kind`, a suffix, says."""
    match kind:
        case ".gz":
            return gzip.open(path, "wt", encoding="utf-8")
        case ".xz":
            return lzma.open(path, "wt", encoding="utf-8")
        case _:
            return path.open("w", encoding="utf-8")
