"""One file over HTTP: whole under its name, or a `.part` beside it from which the next call goes on."""

import hashlib
import http.client
import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from transduce.data.sources import Download
from transduce.errors import FetchError, SaveError

ATTEMPTS = 4  # at a connection that breaks off; each goes on where the one before stopped
TIMEOUT = 60.0  # seconds without a byte
BLOCK = 1 << 16
_MAGIC = {".gz": b"\x1f\x8b", ".tgz": b"\x1f\x8b", ".xz": b"\xfd7zXZ\0"}
_TRY_AGAIN = (408, 416, 429, 500, 502, 503, 504)
_HEADERS = {"User-Agent": "transduce", "Accept-Encoding": "identity"}


@runtime_checkable  # so that tests can check annotations at run time
class Progress(Protocol):
    """Who is told how downloads go."""

    def begin(self, url: str, done: int, total: int) -> None:
        """A download starts, or goes on at byte `done` of `total` (0: not known)."""
        ...

    def advance(self, n: int) -> None:
        """So many bytes more."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Version:
    """What a `.part` is a part of, as the server described it. A part of something else is not gone on with."""

    url: str
    total: int
    validator: str  # a strong ETag or a date, for If-Range


def download(file: Download, path: Path, progress: Progress, pause: Callable[[float], None]) -> None:
    """Put `file` at `path`. What an earlier call left in `path.part` is gone on with, if the server can.

    Its size is checked where `file` says it; the digest by `check_digest`. `pause(seconds)` waits between attempts.

    Raises:
        FetchError: no connection, not there, broken off once too often, or not what it should be.
        SaveError: the disk is full or not writable.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            trouble = _attempt(file, part, progress)
            if not trouble:
                break
            if attempt == ATTEMPTS:
                raise FetchError(
                    f"{file.url}: {trouble}, {ATTEMPTS} times. What came is kept: the same command goes on there."
                )
            pause(2.0**attempt)
        part.replace(path)
        _version_path(part).unlink(missing_ok=True)
    except OSError as error:
        raise SaveError(
            f"{path}: cannot be written ({error.strerror or error}). Free space, or choose another --to; "
            "then the same command goes on."
        ) from error


def check_digest(file: Download, path: Path) -> None:
    """Raise `FetchError` if `path` has not the digest that `file` says, if it says one."""
    if not file.digest:
        return
    kind, _, expected = file.digest.partition(":")
    with path.open("rb") as opened:
        found = hashlib.file_digest(opened, kind).hexdigest()
    if found != expected:
        raise FetchError(
            f"{file.url}: its {kind} is {found}, but {expected} was published. Damaged, or changed at its source: "
            "fetch it again with --fresh, which takes it as it is."
        )


def _attempt(file: Download, part: Path, progress: Progress) -> str:
    """Receive what is missing of `part`. What went wrong, if trying again may help; nothing once it is complete."""
    before = _read_version(part)
    done = part.stat().st_size if part.exists() and before is not None and before.url == file.url else 0
    headers = dict(_HEADERS)
    if before is not None and done:
        if done == before.total:
            return ""
        headers["Range"] = f"bytes={done}-"
        if before.validator:
            headers["If-Range"] = before.validator
    answer = _ask(file, headers, part)
    if isinstance(answer, str):
        return answer
    with answer:
        goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {done}-")
        version = _version(file, answer, done if goes_on else 0)
        if answer.status == 200:
            done = 0  # from the beginning: the server cannot go on, or has another file now
        elif not goes_on or version != before:
            part.unlink(missing_ok=True)
            return "what the server has changed meanwhile"
        return _receive(file, answer, part, done, version, progress)


def _ask(file: Download, headers: dict[str, str], part: Path) -> http.client.HTTPResponse | str:
    """The server's answer, or what went wrong if trying again may help."""
    try:
        answer = urllib.request.urlopen(urllib.request.Request(file.url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the server has no such byte: what is here is of another file
            part.unlink(missing_ok=True)
        if error.code in _TRY_AGAIN:
            return f"the server answered {error.code} {error.reason}"
        raise FetchError(
            f"{file.url}: the server answered {error.code} {error.reason}. "
            "It may have moved: open the address in a browser, and put the file where the recipe looks for it."
        ) from error
    except urllib.error.URLError as error:
        raise FetchError(
            f"{file.url}: cannot be reached ({error.reason}). Check the connection; the same command goes on."
        ) from error
    except (OSError, http.client.HTTPException) as error:
        return f"the connection broke off ({error or type(error).__name__})"
    assert isinstance(answer, http.client.HTTPResponse)
    return answer


def _version(file: Download, answer: http.client.HTTPResponse, done: int) -> _Version:
    """What the server has. Raises `FetchError` when its size is not the published one, or when it is a web page."""
    if "html" in answer.headers.get_content_type():
        raise _is_a_page(file)
    length = answer.headers.get("Content-Length", "")
    total = done + int(length) if length.isdecimal() else 0
    if file.size and total and total != file.size:
        raise _has_another_size(file, total)
    etag = answer.headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")
    return _Version(url=file.url, total=total, validator=validator)


def _receive(
    file: Download,
    answer: http.client.HTTPResponse,
    part: Path,
    done: int,
    version: _Version,
    progress: Progress,
) -> str:
    """Append the answer to the first `done` bytes of `part`. What went wrong, if anything."""
    free = shutil.disk_usage(part.parent).free
    if version.total - done > free:
        raise SaveError(
            f"{part.parent}: {version.total - done:,} bytes are to come from {file.url}, {free:,} are free. "
            "Free space, or choose another --to."
        )
    progress.begin(file.url, done, version.total)
    with part.open("r+b" if done else "wb") as out:
        if not done:
            _version_path(part).write_text(json.dumps(asdict(version)), encoding="utf-8")
        out.seek(done)
        while block := _read(answer):
            if not done:
                _check_beginning(file, block)
            out.write(block)
            done += len(block)
            progress.advance(len(block))
        out.flush()
        os.fsync(out.fileno())
    if done == 0 and block is not None:
        raise FetchError(f"{file.url}: the server sent nothing. Try again later, or open the address in a browser.")
    if block is None or done < (version.total or file.size):
        return f"the connection broke off at byte {done:,}"
    if file.size and done > file.size:  # where the server did not say before
        part.unlink()
        raise _has_another_size(file, done)
    return ""


def _read(answer: http.client.HTTPResponse) -> bytes | None:
    """The next block; empty at the end, none where the connection broke off."""
    try:
        return answer.read(BLOCK)
    except (OSError, http.client.HTTPException):
        return None


def _check_beginning(file: Download, block: bytes) -> None:
    """Raise `FetchError` if what comes cannot be the file: an error page, for instance."""
    if block[:512].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise _is_a_page(file)
    magic = _MAGIC.get(Path(file.url).suffix, b"")
    if not block.startswith(magic):
        raise FetchError(
            f"{file.url}: begins with {block[:8]!r}, which is no {Path(file.url).suffix} file. "
            "Open the address in a browser: it may have moved."
        )


def _is_a_page(file: Download) -> FetchError:
    return FetchError(
        f"{file.url}: the server sent a web page instead of the file (an error, or a login?). "
        "Open the address in a browser; if it moved, put the file where the recipe looks for it."
    )


def _has_another_size(file: Download, size: int) -> FetchError:
    return FetchError(
        f"{file.url}: has {size:,} bytes, but {file.size:,} were published. "
        "It changed at its source: look at it there, or take it as it is with --fresh."
    )


def _version_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_version(part: Path) -> _Version | None:
    try:
        return _Version(**json.loads(_version_path(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
