"""Rows of ids to padded tensors. The target goes in shifted right by one position (section 3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt
import torch

from transduce.shapes import Int, Tensor
from transduce.text.pieces import IDS

Ids = Sequence[int] | npt.NDArray[np.integer[Any]]
"""One sentence: a list, or a slice of a memory-mapped shard."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Sentence pairs as int64 ids, padded with `IDS.pad` at the right.

    `source` ends in eos; `target_in` starts with bos and lacks eos; `target_out` is the same shifted by one, with eos.
    """

    source: Int[Tensor, "B S"]
    target_in: Int[Tensor, "B T"]
    target_out: Int[Tensor, "B T"]

    @property
    def n_target_tokens(self) -> int:
        """Number of predictions that count: pieces and end symbols, without padding."""
        return int((self.target_out != IDS.pad).sum())

    def to(self, device: torch.device) -> Self:
        """The same batch on another device. To a GPU the copy goes on while the processor does something else."""

        def there(ids: Tensor) -> Tensor:
            return (ids.pin_memory() if device.type == "cuda" else ids).to(device, non_blocking=True)

        return type(self)(source=there(self.source), target_in=there(self.target_in), target_out=there(self.target_out))


def pad_rows(rows: Sequence[Ids], *, before: tuple[int, ...] = (), after: tuple[int, ...] = ()) -> Int[Tensor, "B S"]:
    """Rows of different lengths as one int64 tensor, padded at the right; `before` and `after` are put around each."""
    start = len(before)
    width = start + max(map(len, rows), default=0) + len(after)
    padded = np.full((len(rows), width), IDS.pad, dtype=np.int64)
    padded[:, :start] = before
    for i, row in enumerate(rows):
        end = start + len(row)
        padded[i, start:end] = row
        padded[i, end : end + len(after)] = after
    return torch.from_numpy(padded)


def collate(pairs: Sequence[tuple[Ids, Ids]]) -> Batch:
    """A batch of (source ids, target ids) without special ids, which are added here."""
    targets = [target for _, target in pairs]
    return Batch(
        source=pad_rows([source for source, _ in pairs], after=(IDS.eos,)),
        target_in=pad_rows(targets, before=(IDS.bos,)),
        target_out=pad_rows(targets, after=(IDS.eos,)),
    )
