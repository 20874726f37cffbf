"""The batches that are timed: pairs of ids, drawn or from captions, sorted by length. The same for us and every peer.

Needs NumPy only: peers' environments read the file that `write` makes, or import this.
"""

import gzip
import json
import math
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FIRST_WORD = 10  # ids below are left to each tool's special symbols; no end of sentence is in the rows
Pair = tuple[list[int], list[int]]
Lengths = npt.NDArray[np.integer[Any]]


def drawn(vocabulary: int, max_tokens: int, n: int, seed: int = 1) -> list[list[Pair]]:
    """`n` batches of 20,000 invented pairs: log-normal source lengths of mean 25 and deviation 13, from 3 to 100 words,
    targets 15% longer or shorter, uniform ids."""
    random = np.random.default_rng(seed)
    variance = math.log(1 + (13 / 25) ** 2)
    sources = random.lognormal(math.log(25) - variance / 2, math.sqrt(variance), 20_000)
    targets = sources * random.lognormal(0.0, 0.15, 20_000)
    source_lengths, target_lengths = (np.clip(np.rint(x), 3, 100).astype(np.int64) for x in (sources, targets))

    def words(length: int) -> list[int]:
        found: list[int] = random.integers(FIRST_WORD, vocabulary, length).tolist()
        return found

    return [
        [(words(source_lengths[i]), words(target_lengths[i])) for i in rows]
        for rows in spread(buckets(source_lengths, target_lengths, max_tokens), n)
    ]


def captions(folder: Path, vocabulary: int, max_tokens: int, n: int) -> list[list[Pair]]:
    """`n` batches of Multi30k, English to German: an id is a word's rank by frequency, rare ones share the first."""
    sides = []
    for language in ("en", "de"):
        with gzip.open(folder / f"train.lc.norm.tok.{language}.gz", "rt", encoding="utf-8") as file:
            sides.append([line.split() for line in file])
    counts = Counter(chain.from_iterable(chain(*sides)))
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[: vocabulary - FIRST_WORD - 1]
    ids = {word: FIRST_WORD + 1 + i for i, word in enumerate(frequent)}
    rows = [[[ids.get(word, FIRST_WORD) for word in line] for line in side] for side in sides]
    source_lengths, target_lengths = (np.array([len(row) for row in side]) for side in rows)
    return [
        [(rows[0][i], rows[1][i]) for i in b] for b in spread(buckets(source_lengths, target_lengths, max_tokens), n)
    ]


def buckets(source_lengths: Lengths, target_lengths: Lengths, max_tokens: int) -> list[list[int]]:
    """Numbers of pairs by target, then source length, cut so that rows times (longest target + eos) fit `max_tokens`.

    The last, which what is left over does not fill, is left out.
    """
    found: list[list[int]] = [[]]
    for i in np.lexsort((source_lengths, target_lengths)).tolist():
        if found[-1] and (len(found[-1]) + 1) * (target_lengths[i] + 1) > max_tokens:
            found.append([])
        found[-1].append(i)
    return found[:-1]


def spread(found: Sequence[list[int]], n: int) -> list[list[int]]:
    """`n` of the batches at even steps from short to long: each holds about as many tokens, so a fair sample."""
    return [found[int((k + 0.5) * len(found) / n)] for k in range(n)]


def target_tokens(batches: Sequence[Sequence[Pair]]) -> int:
    """Predictions that count: target words and one end of sentence each."""
    return sum(len(target) + 1 for batch in batches for _, target in batch)


def padding(batches: Sequence[Sequence[Pair]]) -> float:
    """The share of all source and target positions that is padding, as these batches are cut."""
    real = sum(len(source) + len(target) + 2 for batch in batches for source, target in batch)
    widest = [[max(len(pair[side]) for pair in batch) + 1 for side in (0, 1)] for batch in batches]
    return 1 - real / sum(len(batch) * sum(widths) for batch, widths in zip(batches, widest, strict=True))


def write(path: Path, batches: Sequence[Sequence[Pair]]) -> None:
    """One batch a line, as JSON."""
    path.write_text("".join(json.dumps(batch) + "\n" for batch in batches), encoding="utf-8")


def read(path: Path) -> list[list[Pair]]:
    """What `write` wrote."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [[(source, target) for source, target in json.loads(line)] for line in lines]
