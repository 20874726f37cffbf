"""Writing that cannot be half done: a file or folder appears whole, by a rename, or not at all."""

import errno
import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from transduce.errors import cannot_write

# Behind the name of what is being written, and of what is being replaced. Nobody else has such names: `x.tmp` and
# `x.old` may well be somebody's.
NEW, OLD = ".transduce-new", ".transduce-old"
NO_SYNC = (errno.EINVAL, errno.EBADF, errno.ENOTSUP)  # so some file systems say that they cannot do it for a folder


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill; when the block ends well it is flushed to disk and takes the place of `path`.

    A `path` that exists is replaced. When the block fails, or the process is killed, `path` is as it was. What a killed
    process left under temporary names is removed by the next call, or put back where it was.

    Raises:
        SaveError: the disk is full or not writable. Whatever stood at `path` before still does.
    """
    asked, path = path, path.resolve()  # what a link stands for is replaced, not the link
    temporary, old = path.with_name(path.name + NEW), path.with_name(path.name + OLD)
    try:
        _put_back(old, path)
        for leftover in (temporary, old):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for written in (*temporary.rglob("*"), temporary):
            sync(written)
        if path.exists():
            path.rename(old)
        temporary.rename(path)
        sync(path.parent)
    except OSError as error:
        raise cannot_write(asked, error) from error
    finally:
        _put_back(old, path)
        shutil.rmtree(temporary, ignore_errors=True)
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file at `path`, or what a link there stands for; a pipe or a device is written to.

    Raises `SaveError`; then the old file is untouched.
    """
    _replace(path, io.BytesIO(content))


def copy_atomically(source: Path, path: Path) -> None:
    """Replace the file at `path` by a copy of `source`. Raises as `write_atomically` does."""
    with source.open("rb") as file:
        _replace(path, file)


def write_json(path: Path, value: Any) -> None:
    """`value` as readable JSON, keys in the order given. Raises `SaveError`."""
    write_atomically(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def is_special(path: Path) -> bool:
    """Whether `path` is a pipe or a device, or a link to one: it is written to, not replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def for_others(path: Path) -> None:
    """Let those read a file who may read its folder, whatever the library that wrote it thought; where the file system
    has such rights."""
    with suppress(OSError):
        path.chmod(path.parent.stat().st_mode & 0o666)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Whether this process has the file or folder `path` for itself while the block runs. Yes where nothing can be
    locked: on some network file systems, and on Windows. Raises `OSError` where it cannot be opened.
    """
    if sys.platform == "win32":
        yield True
        return
    import fcntl

    descriptor = os.open(path, os.O_RDONLY)
    try:
        free = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            free = False
        except OSError:  # no locks there
            pass
        yield free
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Of the content of a file, in hexadecimal digits. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Make the content of a file, or the names inside a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno in NO_SYNC):
            raise
    finally:
        os.close(descriptor)


def _replace(path: Path, content: io.BufferedIOBase) -> None:
    if is_special(path):
        try:
            path.write_bytes(content.read())
        except OSError as error:
            raise cannot_write(path, error) from error
        return
    path = path.resolve()
    temporary = path.with_name(path.name + NEW)
    try:
        with temporary.open("wb") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def _put_back(old: Path, path: Path) -> None:
    """Undo a replacement of `path` that ended between its two renames."""
    if old.exists() and not path.exists():
        with suppress(OSError):
            old.rename(path)
