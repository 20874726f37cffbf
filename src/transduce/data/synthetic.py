"""Pairs of which a model writes one side: distillation (Kim and Rush 2016), back-translation (Sennrich et al. 2016).

Long work that may be interrupted. What is done stands in `<out>.part`, and `<out>.json` says what decided it, so that
the same call goes on and another one is refused.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from transduce.data.formats import format_of
from transduce.errors import DataError, cannot_write
from transduce.files import locked, sync, write_json

WINDOW = 2000  # lines: so much is lost at most
LATER = ("settings", "precision")  # what decides, and was not written down before 2026-11-30
_TAB = str.maketrans("\t", " ")


def make_pairs(
    out: Path,
    read: Callable[[], Iterable[str]],
    write: Callable[[list[str], int], list[str]],
    decided_by: Mapping[str, Any],
    *,
    target_is_read: bool,
    window: int = WINDOW,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> bool:
    """Write `out`, a pair for every line: JSON lines where it is called so, else tab-separated.

    Args:
        out: Where to. It appears when everything is done.
        read: The lines, each time it is called; none may be blank.
        write: The other side of some lines, and the number of the first of them.
        decided_by: All that decides what `write` gives, as JSON has it.
        target_is_read: The lines are targets, and `write` gives sources; or the other way.
        window: Lines at a time.
        progress: Told how many of how many lines are done.

    Returns:
        Whether there was anything to do.

    Raises:
        DataError: `out` was made, or begun, from something else, or by something else; another process makes it.
        SaveError: the disk is full.
    """
    lines, digest = _identity(read())
    if not lines:
        raise DataError(f"{out}: there is no line with text to make pairs of. Give other text.")
    record = {**decided_by, "lines": lines, "sha256": digest}
    part, beside = (out.with_name(out.name + suffix) for suffix in (".part", ".json"))
    known = _known(out, beside) or record
    for key in known | record:
        if (key in known or key not in LATER) and known.get(key) != record.get(key):
            raise DataError(
                f"{out}: begun with {key} = {known.get(key)!r}, now it is {record.get(key)!r}. "
                "Use another --out, or --fresh to start over."
            )
    if out.exists():
        return False
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        row = _json if format_of(out) == "jsonl" else _columns
        with part.open("ab") as file, _alone(out):
            write_json(beside, record)
            done = _whole_windows(part, window)
            for first, chunk in _windows(read(), window, done):
                progress(first, lines)
                pairs = zip(chunk, write(chunk, first), strict=True)
                file.write("".join(row(s, t) for s, t in _turned(pairs, target_is_read)).encode())
                file.flush()
            sync(part)
            part.replace(out)
            sync(out.parent)
    except OSError as error:
        raise cannot_write(part, error) from error
    return True


def forget_pairs(out: Path) -> None:
    """Delete what an earlier `make_pairs` left. Raises `DataError` where `out` is something else."""
    _known(out, out.with_name(out.name + ".json"))
    if out.with_name(out.name + ".part").exists():
        with _alone(out):
            pass
    for suffix in ("", ".part", ".json"):
        out.with_name(out.name + suffix).unlink(missing_ok=True)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Raise `DataError` where another process makes `out`; while the block runs, none can."""
    with locked(out.with_name(out.name + ".part")) as free:
        if not free:
            raise DataError(f"{out}: another process makes it. Wait for it, stop it, or choose another --out.")
        yield


def _known(out: Path, beside: Path) -> dict[str, Any] | None:
    """What decided `out`, or what there is of it."""
    try:
        found: Any = json.loads(beside.read_text(encoding="utf-8"))
        if not (isinstance(found, dict) and {"lines", "sha256"} <= found.keys()):
            raise ValueError("a file of another kind")
        return found
    except (OSError, ValueError) as error:
        if out.exists() or beside.exists():
            raise DataError(f"{out}: exists, and {beside.name} does not tell of what. Choose another --out.") from error
        return None


def _identity(lines: Iterable[str]) -> tuple[int, str]:
    n, digest = 0, hashlib.sha256()
    for line in lines:
        n += 1
        digest.update(line.encode() + b"\n")
    return n, digest.hexdigest()


def _whole_windows(part: Path, window: int) -> int:
    """How many lines of `part` are in whole windows; cuts off what is not."""
    if not part.exists():
        return 0
    done = end = at = 0
    with part.open("rb+") as file:
        for number, line in enumerate(file, start=1):
            at += len(line)
            if number % window == 0 and line.endswith(b"\n"):
                done, end = number, at
        file.truncate(end)
    return done


def _windows(lines: Iterable[str], window: int, done: int) -> Iterator[tuple[int, list[str]]]:
    rest, first = islice(lines, done, None), done
    while chunk := list(islice(rest, window)):
        yield first, chunk
        first += len(chunk)


def _turned(pairs: Iterable[tuple[str, str]], turn: bool) -> Iterator[tuple[str, str]]:
    return ((b, a) if turn else (a, b) for a, b in pairs)


def _json(source: str, target: str) -> str:
    return json.dumps({"source": source, "target": target}, ensure_ascii=False) + "\n"


def _columns(source: str, target: str) -> str:
    return f"{source.translate(_TAB)}\t{target.translate(_TAB)}\n"
