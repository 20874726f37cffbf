"""Tokenised pairs on disk, memory-mapped, so that a corpus need not fit into memory and is tokenised once.

A folder holds `manifest.json` and, for every shard and side, `NNNNN.source.npy` (the ids of all its sentences, one
after the other) and `NNNNN.source_ends.npy` (where each sentence ends). It appears whole, by a rename, or not at all.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from io import BufferedWriter
from pathlib import Path
from typing import Any, Literal, Protocol, Self, final, runtime_checkable

import numpy as np
import numpy.typing as npt

from transduce.data.corpus import Numbered, chunks
from transduce.errors import DataError
from transduce.files import atomic_folder, write_json
from transduce.text.pieces import IDS
from transduce.text.tokenizer import TokenizerPair

FORMAT = 1
PAIRS_PER_SHARD = 1_000_000
USUAL = 0.999  # of the pairs
_CHUNK = 10_000  # pairs tokenised at a time: bounds memory, and keeps all processors busy
_WAITING = 10_000  # numbers written to a file at a time

IdArray = npt.NDArray[np.integer[Any]]
_Mapped = dict[str, tuple[IdArray, IdArray]]  # of each side: all ids, and where each sentence ends


@runtime_checkable  # so that tests can check annotations at run time
class Pairs(Protocol):
    """Tokenised pairs by number. Lengths count pieces without special ids."""

    source_lengths: npt.NDArray[np.int64]
    target_lengths: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Number of pairs."""
        ...

    def pair(self, i: int) -> tuple[IdArray, IdArray]:
        """Source ids and target ids of pair `i`, without special ids."""
        ...


@runtime_checkable
class Corpus(Protocol):
    """What is trained on, epoch by epoch."""

    def of_epoch(self, epoch: int) -> Pairs:
        """The pairs as they are read in one epoch: always the same ones, if not in the same pieces."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardReport:
    """What became of the pairs. Tokens are pieces of the kept pairs, without special ids; unknown ones stand for text
    that the vocabulary has no piece for."""

    kept: int = 0
    empty: int = 0
    too_long: int = 0
    source_tokens: int = 0
    target_tokens: int = 0
    unknown_source: int = 0
    unknown_target: int = 0


def _silent(*facts: object) -> None:
    """Tell nobody."""


def write_shards(
    pairs: Iterable[Numbered],
    tokenizers: TokenizerPair,
    folder: Path,
    *,
    max_length: int,
    progress: Callable[[int], None] = _silent,
    left_out: Callable[[str, Numbered], None] = _silent,
) -> ShardReport:
    """Tokenise `pairs` into `folder`, which must not exist yet or be empty. Memory does not grow with their number.

    Pairs with an empty side, or a side of more than `max_length` pieces, are left out and counted; `left_out` is called
    with the rule (`empty`, `too_long`) and the pair. `progress` is called with the number of pairs read so far. What an
    earlier call that was killed left behind is removed.

    Raises:
        DataError: `folder` exists, `pairs` cannot be read, or nothing of them is kept.
        SaveError: the disk is full or not writable; nothing is left in place of `folder`.
    """
    if folder.exists() and not (folder.is_dir() and next(folder.iterdir(), None) is None):
        raise DataError(f"{folder}: exists already. Delete it to tokenise again.")
    with atomic_folder(folder) as new:
        return _write_all(_encoded(pairs, tokenizers, progress), tokenizers, new, max_length, left_out)


@final
class TokenisedCorpus:
    """The pairs of a folder that `write_shards` made, by number. Build one with `open`.

    `source_lengths` and `target_lengths` count pieces without special ids; `tokenizer_hashes` says whose pieces.
    """

    def __init__(self, report: ShardReport, hashes: dict[str, str], shards: list[_Mapped]) -> None:
        self.report = report
        self.tokenizer_hashes = hashes
        self.source_lengths = _lengths(shards, "source")
        self.target_lengths = _lengths(shards, "target")
        self._shards = shards
        self._first = np.cumsum([0, *(len(shard["source"][1]) for shard in shards)])

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map the files of `folder`. Raises `DataError` when they are missing, truncated or not ours."""
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            if manifest["format"] != FORMAT:
                raise ValueError(f"format {manifest['format']}, this version reads {FORMAT}")
            report = ShardReport(**manifest["report"])
            hashes = {side: str(manifest["tokenizers"][side]) for side in ("source", "target")}
            shards = [_open_shard(folder, entry) for entry in manifest["shards"]]
            corpus = cls(report, hashes, shards)
            if len(corpus) != report.kept:
                raise ValueError(f"{len(corpus)} pairs, the manifest says {report.kept}")
            if min(corpus.source_lengths.min(), corpus.target_lengths.min()) < 1:
                raise ValueError("sentences that end before they start")
        except (OSError, ValueError, LookupError, TypeError, EOFError) as error:
            raise DataError(
                f"{folder}: not a complete folder of tokenised data ({error}). Start over with --fresh."
            ) from error
        return corpus

    def __len__(self) -> int:
        """Number of pairs."""
        return int(self._first[-1])

    @cached_property
    def usual_extra(self) -> int:
        """At most one in a thousand targets has over so many pieces more than its source; may be negative."""
        return int(np.quantile(self.target_lengths - self.source_lengths, USUAL, method="inverted_cdf"))

    def of_epoch(self, epoch: int) -> Pairs:
        """The same in every epoch."""
        return self

    def side(self, name: Literal["source", "target"]) -> tuple[IdArray, npt.NDArray[np.int64]]:
        """All ids of a side, one sentence after the other, and the number of pieces of each. A copy, in memory."""
        lengths = self.source_lengths if name == "source" else self.target_lengths
        return np.concatenate([shard[name][0] for shard in self._shards]), lengths

    def pair(self, i: int) -> tuple[IdArray, IdArray]:
        """Source ids and target ids of pair `i`, without special ids; read-only. Raises `IndexError`."""
        if not 0 <= i < len(self):
            raise IndexError(f"pair {i} of {len(self)}")
        number = int(np.searchsorted(self._first, i, side="right")) - 1
        shard, row = self._shards[number], i - int(self._first[number])
        return _sentence(*shard["source"], row), _sentence(*shard["target"], row)


def _encoded(
    pairs: Iterable[Numbered], tokenizers: TokenizerPair, progress: Callable[[int], None]
) -> Iterator[tuple[Numbered, tuple[list[int], list[int]]]]:
    n = 0
    for chunk in chunks(pairs, _CHUNK):
        for number, (source, _) in chunk if tokenizers.tags else ():
            tokenizers.check_tag(source, f"Training pair {number:,}")
        # blank text gives no ids here, even where a space is a piece of its own
        texts = [(source if source.strip() else "", target if target.strip() else "") for _, (source, target) in chunk]
        yield from zip(chunk, tokenizers.encode_pairs(texts), strict=True)
        n += len(chunk)
        progress(n)


def _write_all(
    encoded: Iterable[tuple[Numbered, tuple[list[int], list[int]]]],
    tokenizers: TokenizerPair,
    folder: Path,
    max_length: int,
    left_out: Callable[[str, Numbered], None],
) -> ShardReport:
    empty = too_long = unknown_source = unknown_target = 0
    shards: list[dict[str, int]] = []
    with ExitStack() as stack:
        shard: _Shard | None = None
        for pair, (source, target) in encoded:
            if not source or not target:
                empty += 1
                left_out("empty", pair)
                continue
            if max(len(source), len(target)) > max_length:
                too_long += 1
                left_out("too_long", pair)
                continue
            if shard is None:
                shard = _Shard(folder, len(shards), tokenizers, stack)
            shard.add(source, target)
            unknown_source += source.count(IDS.unk)
            unknown_target += target.count(IDS.unk)
            if len(shard) == PAIRS_PER_SHARD:
                shards.append(shard.finish())
                shard = None
        if shard is not None:
            shards.append(shard.finish())
    if not shards:
        raise DataError(
            f"No pair is left: {empty:,} have an empty side, {too_long:,} are longer than {max_length} pieces. "
            "Check the files, or allow longer sentences."
        )
    report = ShardReport(
        kept=sum(shard["pairs"] for shard in shards),
        empty=empty,
        too_long=too_long,
        source_tokens=sum(shard["source_tokens"] for shard in shards),
        target_tokens=sum(shard["target_tokens"] for shard in shards),
        unknown_source=unknown_source,
        unknown_target=unknown_target,
    )
    hashes = tokenizers.hashes()
    manifest = {"format": FORMAT, "report": asdict(report), "tokenizers": hashes, "shards": shards}
    write_json(folder / "manifest.json", manifest)
    return report


@final
class _Shard:
    """A shard that is being written; `stack` closes its files if nobody finishes it."""

    def __init__(self, folder: Path, number: int, tokenizers: TokenizerPair, stack: ExitStack) -> None:
        self._number = number
        self._n = 0
        self._ids, self._ends = {}, {}
        for side, tokenizer in (("source", tokenizers.source), ("target", tokenizers.target)):
            name = f"{number:05d}.{side}"
            ids = stack.enter_context((folder / f"{name}.npy").open("wb"))
            ends = stack.enter_context((folder / f"{name}_ends.npy").open("wb"))
            self._ids[side] = _Array(ids, np.dtype(_id_type(tokenizer.size)))
            self._ends[side] = _Array(ends, np.dtype(np.int64))

    def __len__(self) -> int:
        return self._n

    def add(self, source: list[int], target: list[int]) -> None:
        self._n += 1
        for side, row in (("source", source), ("target", target)):
            self._ids[side].extend(row)
            self._ends[side].extend([len(self._ids[side])])

    def finish(self) -> dict[str, int]:
        """Complete the files, and return the entry of the manifest."""
        for array in (*self._ids.values(), *self._ends.values()):
            array.close()
        return {
            "number": self._number,
            "pairs": self._n,
            "source_tokens": len(self._ids["source"]),
            "target_tokens": len(self._ids["target"]),
        }


@final
class _Array:
    """A `.npy` file of numbers that come one after the other: what `np.save` would write of all of them."""

    def __init__(self, file: BufferedWriter, dtype: np.dtype[Any]) -> None:
        self._file = file
        self._dtype = dtype
        self._n = 0
        self._waiting: list[int] = []
        self._write_header()

    def __len__(self) -> int:
        return self._n

    def extend(self, numbers: list[int]) -> None:
        self._n += len(numbers)
        self._waiting += numbers
        if len(self._waiting) >= _WAITING:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _flush(self) -> None:
        self._file.write(np.array(self._waiting, self._dtype).tobytes())
        self._waiting = []

    def _write_header(self) -> None:
        """NumPy leaves room in it for the length to grow, so that it can be written again."""
        descr = np.lib.format.dtype_to_descr(self._dtype)
        np.lib.format.write_array_header_1_0(self._file, {"descr": descr, "fortran_order": False, "shape": (self._n,)})


def _open_shard(folder: Path, entry: dict[str, int]) -> _Mapped:
    sides = {}
    for side in ("source", "target"):
        name = f"{entry['number']:05d}.{side}"
        # np.asarray: slices of a plain view are several times cheaper than slices of np.memmap, and as lazy
        flat = np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))
        ends = np.asarray(np.load(folder / f"{name}_ends.npy", mmap_mode="r", allow_pickle=False))
        if flat.dtype not in (np.uint16, np.int32) or ends.dtype != np.int64:
            raise ValueError(f"{name}.npy does not hold ids")
        if len(ends) != entry["pairs"] or len(flat) != entry[f"{side}_tokens"] or ends[-1] != len(flat):
            raise ValueError(f"{name}.npy does not have the length that the manifest says")
        sides[side] = (flat, ends)
    return sides


def _sentence(flat: IdArray, ends: IdArray, row: int) -> IdArray:
    start = ends[row - 1] if row else 0
    return flat[start : ends[row]]


def _lengths(shards: list[_Mapped], side: str) -> npt.NDArray[np.int64]:
    return np.concatenate([np.diff(shard[side][1], prepend=0) for shard in shards])


def _id_type(vocabulary: int) -> type[np.integer[Any]]:
    return np.uint16 if vocabulary <= 2**16 else np.int32
