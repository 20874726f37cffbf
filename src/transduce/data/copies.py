"""Which pairs of a corpus are there twice, and which sources have several targets: exact, in bounded memory.

A pair becomes 24 bytes on disk: 64 bits of a hash of each side, and its number. Equal sources go to the same one of 64
files, so each file can be sorted by itself. Two different lines are taken for equal with a probability of 2^-64 for
each two of them: one in 40 million for a corpus of a million pairs.
"""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, final

import numpy as np
import numpy.typing as npt

_BITS = 6
_RECORD = np.dtype([("source", "<u8"), ("target", "<u8"), ("number", "<u8")])


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """Different sources, different pairs, and sources with several different targets. `later[i]`: pair i was before."""

    sources: int
    pairs: int
    ambiguous: int
    later: npt.NDArray[np.bool_]


@final
class Copies:
    """Pairs by their hashes, in temporary files of `folder`: a context, after which the files are gone."""

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / f"hashes-{i:02d}.tmp" for i in range(2**_BITS)]
        self._stack = ExitStack()
        self._files = [self._stack.enter_context(path.open("w+b")) for path in self._paths]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()
        for path in self._paths:
            path.unlink(missing_ok=True)

    def add(self, numbers: Sequence[int], sources: Sequence[str], targets: Sequence[str]) -> None:
        """More pairs, and their numbers, which count from 0."""
        records = np.empty(len(numbers), _RECORD)
        records["source"], records["target"], records["number"] = _hashes(sources), _hashes(targets), numbers
        place = records["source"] >> np.uint64(64 - _BITS)
        records = records[np.argsort(place, kind="stable")]
        ends = np.cumsum(np.bincount(place.astype(np.int64), minlength=len(self._files)))
        for file, part in zip(self._files, np.split(records, ends[:-1]), strict=True):
            if len(part):
                file.write(part.tobytes())

    def count(self, n: int) -> Counted:
        """What was found among pairs with numbers below `n`."""
        sources = pairs = ambiguous = 0
        later = np.zeros(n, np.bool_)
        for file in self._files:
            file.seek(0)
            records = np.frombuffer(file.read(), _RECORD)
            if not len(records):
                continue
            records = records[np.lexsort((records["number"], records["target"], records["source"]))]
            new_source, new_pair = _changes(records["source"]), _changes(records["target"])
            new_pair |= new_source
            later[records["number"][~new_pair].astype(np.int64)] = True
            targets = np.bincount(np.cumsum(new_source)[new_pair] - 1)
            sources, pairs = sources + len(targets), pairs + int(targets.sum())
            ambiguous += int((targets > 1).sum())
        return Counted(sources=sources, pairs=pairs, ambiguous=ambiguous, later=later)


def _hashes(lines: Sequence[str]) -> npt.NDArray[np.uint64]:
    return np.frombuffer(b"".join(hashlib.blake2b(line.encode(), digest_size=8).digest() for line in lines), "<u8")


def _changes(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Where sorted values differ from the one before; the first does."""
    return np.concatenate([[True], values[1:] != values[:-1]])
