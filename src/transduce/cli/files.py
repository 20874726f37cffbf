"""Lines in and out: files (plain, .gz, .xz), standard input and output."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from transduce.errors import DataError, SaveError


def read_input(path: str) -> Iterator[str]:
    """Lines of a file, or of standard input for `-`, as they come. Raises `DataError` with path and line."""
    from transduce.data.corpus import read_lines

    if path != "-":
        yield from read_lines(Path(path))
        return
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.removesuffix(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise DataError(
                f"standard input:{number}: not UTF-8. Convert it with `iconv -f latin1 -t utf-8`."
            ) from error


def read_all(path: Path) -> list[str]:
    """All lines of a file. Raises `DataError`."""
    from transduce.data.corpus import read_lines

    return list(read_lines(path))


@contextmanager
def open_output(path: str) -> Iterator[TextIO]:
    """Standard output for `-`; else a file that takes its name only when everything was written.

    Raises:
        SaveError: the file cannot be written.
    """
    if path == "-":
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        yield sys.stdout
        sys.stdout.flush()
        return
    target = Path(path)
    temporary = target.with_name(target.name + ".tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            yield file
        temporary.replace(target)
    except OSError as error:
        raise SaveError(f"{target}: cannot be written ({error.strerror or error}). Choose another --output.") from error
    finally:
        if temporary.is_file():
            temporary.unlink()
