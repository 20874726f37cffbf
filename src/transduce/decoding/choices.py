"""What a search may choose from: every piece, or for each sentence those of its shortlist.

A search works with *columns* of logits; where they stand for other pieces in every sentence, a table translates. The
columns of what is never produced are the first ones, the same for all sentences.

With a shortlist each place has its own copy of the rows of the output matrix that it may choose from, made when a
sentence joins. One product with the rows of all sentences in the batch would be over several times as many columns,
and be laid out anew as often as a sentence joins (docs/performance.md).
"""

import math
from collections.abc import Sequence
from typing import Protocol, final, runtime_checkable

import torch

from transduce.data.shortlist import Shortlist
from transduce.nn.inference import PackedTransformer
from transduce.shapes import Float, Int, Tensor
from transduce.text.pieces import IDS

_ROUND = 64  # columns are read in multiples of this: few shapes of products


@runtime_checkable  # so that tests can check annotations at run time
class Choices(Protocol):
    """From decoder states to logits of what each sentence may choose from. `never` are columns that no search may."""

    never: Int[Tensor, " X"]

    def join(self, place: int, source: int) -> None:
        """Sentence number `source` is now in this place."""
        ...

    def keep(self, places: Sequence[int]) -> None:
        """Drop all other places."""
        ...

    def logits(self, states: Float[Tensor, "N D"]) -> Float[Tensor, "N C"]:
        """Logits of every column; -inf where a sentence has fewer."""
        ...

    def pieces(self, columns: Int[Tensor, "B C"]) -> Int[Tensor, "B C"]:
        """What these columns of each place stand for."""
        ...

    def columns(self, pieces: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """Where each place has this piece."""
        ...


@final
class EveryPiece:
    """The whole vocabulary; columns are ids."""

    def __init__(self, model: PackedTransformer, never: Int[Tensor, " X"]) -> None:
        self.never = never
        self._model = model

    def join(self, place: int, source: int) -> None:
        """As `Choices.join`."""

    def keep(self, places: Sequence[int]) -> None:
        """As `Choices.keep`."""

    def logits(self, states: Float[Tensor, "N D"]) -> Float[Tensor, "N V"]:
        """As `Choices.logits`."""
        return self._model.logits(states)

    def pieces(self, columns: Int[Tensor, "B C"]) -> Int[Tensor, "B C"]:
        """As `Choices.pieces`."""
        return columns

    def columns(self, pieces: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """As `Choices.columns`."""
        return pieces


@final
class Shortlisted:
    """What `shortlist` has for each of `sources` (ids), what its output begins with, and the end symbol.

    What is never produced is on every list, so that it has its share of the probability, as it has without a list.
    """

    def __init__(
        self,
        model: PackedTransformer,
        never: Int[Tensor, " X"],
        shortlist: Shortlist,
        sources: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]],
        places: int,
    ) -> None:
        self.never = torch.arange(len(never))
        self._matrix = model.output_weight
        first = set(never.tolist())
        self._lists = []
        for source, prefix in zip(sources, prefixes, strict=True):
            others = {IDS.eos, *prefix, *shortlist.pieces(source).tolist()} - first
            self._lists.append(torch.tensor([*never.tolist(), *sorted(others)]))
        width = _rounded(max(map(len, self._lists), default=0))
        self._rows = torch.zeros(places, width, self._matrix.shape[1], dtype=model.dtype)
        self._pieces = torch.zeros(places, width, dtype=torch.long)
        self._unlisted = torch.full((places, 1, width), -math.inf, dtype=model.dtype)
        self._unlisted[..., 0] = 0.0  # a place without a sentence has one column
        self._sizes = [1] * places
        self._read = width

    def join(self, place: int, source: int) -> None:
        """As `Choices.join`."""
        pieces = self._lists[source]
        n = len(pieces)
        self._rows[place, :n] = self._matrix.index_select(0, pieces)
        self._pieces[place] = 0
        self._pieces[place, :n] = pieces
        self._unlisted[place] = -math.inf
        self._unlisted[place, :, :n] = 0.0
        self._sizes[place] = n
        self._read = _rounded(max(self._sizes))

    def keep(self, places: Sequence[int]) -> None:
        """As `Choices.keep`."""
        chosen = torch.tensor(places)
        self._rows = self._rows.index_select(0, chosen)
        self._pieces = self._pieces.index_select(0, chosen)
        self._unlisted = self._unlisted.index_select(0, chosen)
        self._sizes = [self._sizes[place] for place in places]
        self._read = _rounded(max(self._sizes))

    def logits(self, states: Float[Tensor, "N D"]) -> Float[Tensor, "N C"]:
        """As `Choices.logits`."""
        n, d = states.shape
        rows = self._rows[:, : self._read].transpose(1, 2)
        by_place = states.view(len(self._sizes), -1, d)  # (B W) D -> B W D
        return torch.baddbmm(self._unlisted[..., : self._read], by_place, rows).view(n, -1)  # B W C -> (B W) C

    def pieces(self, columns: Int[Tensor, "B C"]) -> Int[Tensor, "B C"]:
        """As `Choices.pieces`."""
        return self._pieces.gather(1, columns)

    def columns(self, pieces: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """As `Choices.columns`."""
        return (self._pieces == pieces[:, None]).byte().argmax(1)


def _rounded(n: int) -> int:
    return -(-n // _ROUND) * _ROUND
