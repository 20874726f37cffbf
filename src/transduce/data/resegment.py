"""Pairs whose words are cut into other pieces in every epoch: BPE-dropout and subword regularisation.

BPE-dropout (Provilkov et al., 2020) leaves merges out at random; subword regularisation (Kudo, 2018) draws among a
word's segmentations by their probabilities. Both show a model that a word is made of parts, and which.

Pieces of text never cross a space, so a sentence's segmentation is that of its words. The words are found once, in the
ids on disk; an epoch draws up to `DRAWS` segmentations of each different word, and its occurrences take them in turn:
each occurrence has the distribution that drawing for it alone would give. Multi30k, 29,000 pairs: 1.3 s of one thread
to draw an epoch in bpe; there are some 120,000 draws, where each of 738,000 words by itself would be six times as many.
What is no word (a tag, a placeholder, bytes, the unknown) stays as it is.

A merge that was left out is not tried again, as it is in the paper: 0.1 makes 1.4 times as many pieces of Multi30k,
0.05 makes 1.2 times.
"""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from transduce.data.shards import IdArray, Pairs, TokenisedCorpus
from transduce.errors import ConfigError
from transduce.text.tokenizer import Tokenizer, TokenizerPair

DRAWS = 16  # segmentations of a word in an epoch, at most
_SPACE = "\u2581"

Numbers = npt.NDArray[np.int64]


@final
class Resegmented:
    """The pairs of `corpus`, in pieces that follow from (`seed`, epoch).

    `dropout` is for a side of bpe, `sampling` for one of unigram (`TokenizerConfig`). A sentence that would get more
    than `max_length` pieces keeps its own. Holds a number for every word of the corpus, and the ids of one epoch.

    Raises:
        ConfigError: neither side is of a kind that is asked for (the vocabulary may be that of an older model).
    """

    def __init__(
        self,
        corpus: TokenisedCorpus,
        tokenizers: TokenizerPair,
        *,
        dropout: float,
        sampling: float,
        max_length: int,
        seed: int,
    ) -> None:
        kinds = [tokenizer.kind_of_draws for tokenizer in (tokenizers.source, tokenizers.target)]
        for name, kind, value in (("dropout", "bpe", dropout), ("sampling", "unigram", sampling)):
            if value > 0 and kind not in kinds:
                raise ConfigError(
                    f"tokenizer.{name} = {value}: neither vocabulary is of {kind} pieces. Set tokenizer.{name} = 0."
                )
        strengths = {"bpe": dropout, "unigram": sampling, "none": 0.0}
        self._source = _Side(*corpus.side("source"), tokenizers.source, strengths[kinds[0]], max_length)
        self._target = _Side(*corpus.side("target"), tokenizers.target, strengths[kinds[1]], max_length)
        self._seed = seed
        self._last: tuple[int, Pairs] | None = None

    def of_epoch(self, epoch: int) -> Pairs:
        """The pairs of one epoch; the last one asked for is kept."""
        if self._last is None or self._last[0] != epoch:
            self._last = None  # before the next is made: one epoch is in memory
            seeds = [int(s) for s in np.random.SeedSequence([self._seed, epoch]).generate_state(2)]
            self._last = epoch, _Drawn(self._source.draw(seeds[0]), self._target.draw(seeds[1]))
        return self._last[1]


@dataclass(frozen=True, slots=True)
class _Ragged:
    """Rows of ids, one after the other, and where each one starts; one start more than rows."""

    flat: IdArray
    starts: Numbers

    def row(self, i: int) -> IdArray:
        return self.flat[self.starts[i] : self.starts[i + 1]]

    @property
    def lengths(self) -> Numbers:
        return np.diff(self.starts)

    def take(self, rows: Numbers) -> "_Ragged":
        """These rows, in this order."""
        lengths = self.lengths[rows]
        starts = _starts(lengths)
        return _Ragged(self.flat[np.repeat(self.starts[rows] - starts[:-1], lengths) + np.arange(starts[-1])], starts)


@final
class _Drawn:
    """The pairs of one epoch (`shards.Pairs`)."""

    def __init__(self, source: _Ragged, target: _Ragged) -> None:
        self.source_lengths = source.lengths
        self.target_lengths = target.lengths
        self._source, self._target = source, target

    def __len__(self) -> int:
        return len(self.source_lengths)

    def pair(self, i: int) -> tuple[IdArray, IdArray]:
        return self._source.row(i), self._target.row(i)


@final
class _Side:
    """The words of one side: which there are, and which stand where."""

    def __init__(self, flat: IdArray, lengths: Numbers, tokenizer: Tokenizer, strength: float, max_length: int) -> None:
        self._tokenizer, self._strength, self._max_length = tokenizer, strength, max_length
        self._type = flat.dtype
        pieces = tokenizer.pieces(range(tokenizer.size))
        opens = np.array([piece.startswith(_SPACE) for piece in pieces])[flat]
        sentences = _starts(lengths)
        opens[sentences[:-1]] = True
        words = np.flatnonzero(opens)
        self._first = np.searchsorted(words, sentences)  # word of each sentence
        known: dict[bytes, int] = {}
        ends = np.append(words[1:], len(flat))
        which = [known.setdefault(flat[a:b].tobytes(), len(known)) for a, b in zip(words, ends, strict=True)]
        self._which = np.array(which, np.int32)  # word of each occurrence, and how many of it were before
        self._turn = _turns(self._which)
        own = [np.frombuffer(key, flat.dtype) for key in known]
        self._own = _ragged(own, flat.dtype)
        ordinary = np.array(tokenizer.are_parts_of_words())
        texts = ["".join(pieces[i] for i in ids) if ordinary[ids].all() else "" for ids in own]
        can = np.array([text.rfind(_SPACE) == 0 and len(text) > 1 for text in texts], bool)
        counts = np.minimum(np.bincount(self._which, minlength=len(own)), DRAWS)
        self._draws = np.where(can, counts, 0) if strength > 0 else np.zeros_like(counts)
        self._texts = [text[1:] for text, n in zip(texts, self._draws, strict=True) for _ in range(n)]

    def draw(self, seed: int) -> _Ragged:
        """All sentences, in pieces that follow from `seed`."""
        n_own = len(self._draws)
        rows = self._tokenizer.draw(self._texts, self._strength, seed) if self._texts else []
        pool = _join(self._own, _ragged(rows, self._type))
        draws = self._draws[self._which]
        first = n_own + _starts(self._draws)[self._which]
        chosen = np.where(draws > 0, first + self._turn % np.maximum(draws, 1), self._which)
        longest = np.add.reduceat(pool.lengths[chosen], self._first[:-1])
        too_long = np.repeat(longest > self._max_length, np.diff(self._first))
        words = pool.take(np.where(too_long, self._which, chosen))
        return _Ragged(words.flat, words.starts[self._first])


def _starts(lengths: npt.NDArray[np.integer[Any]]) -> Numbers:
    return np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))


def _ragged(rows: list[Any], dtype: np.dtype[Any]) -> _Ragged:
    flat = np.concatenate([np.asarray(row, dtype) for row in rows]) if rows else np.empty(0, dtype)
    return _Ragged(flat, _starts(np.array([len(row) for row in rows], np.int64)))


def _join(a: _Ragged, b: _Ragged) -> _Ragged:
    return _Ragged(np.concatenate((a.flat, b.flat)), np.concatenate((a.starts, a.starts[-1] + b.starts[1:])))


def _turns(which: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """For each entry how many equal ones stand before it."""
    order = np.argsort(which, kind="stable")
    first = np.searchsorted(which[order], which[order])
    turns = np.empty_like(which)
    turns[order] = np.arange(len(which)) - first
    return turns
