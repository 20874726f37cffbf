"""Where a system is good and where it fails: by the length of sources, by how rare words are in the training data."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import regex

from transduce.data.prepare import Prepared
from transduce.text.form import LETTER

SHARES = (0.2, 0.4, 0.6, 0.8, 0.95)  # of the lines: where lengths are divided
RARITY = (0, 1, 2, 5, 10, 100, 1000)  # where frequencies are
MOST_PAIRS = 200_000  # of the training data, whose words are counted
_WORD = regex.compile(rf"{LETTER}+(?:[-'\u2019]{LETTER}+)*|[^\w\s\p{{M}}\u200c\u200d]")


@dataclass(frozen=True, slots=True)
class Units:
    """What texts are counted in: its name in the plural, how to divide a text, what stands between two of them."""

    name: str
    split: Callable[[str], list[str]]
    between: str = " "


CHARACTERS = Units("characters", lambda text: list(" ".join(text.split())), "")
WORDS = Units("words", _WORD.findall)
TOKENS = Units("tokens", str.split)


def units_of(lines: Sequence[str], *, tokenised: bool) -> Units:
    """How to count in texts like `lines`: in characters, where most have no space; in tokens, where they are
    `tokenised`; else in words and punctuation marks."""
    if 2 * sum(" " in line.strip() for line in lines) < len(lines):
        return CHARACTERS
    return TOKENS if tokenised else WORDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Frequencies:
    """How often words stand in the training data: counted in `counted` of its `pairs` pairs, spread over all, of
    which `made` were made from others."""

    source: Counter[str]
    target: Counter[str]
    counted: int
    pairs: int
    made: int


def training_frequencies(prepared: Prepared, source: Units, target: Units, most: int = MOST_PAIRS) -> Frequencies:
    """Count the units of both sides in the pairs that a run was trained on."""
    corpus, tokenizers = prepared.corpus, prepared.tokenizers
    pairs = len(corpus)
    counted = min(pairs, most)
    counts = Counter[str](), Counter[str]()
    for i in range(counted):
        sides = corpus.pair(i * pairs // counted)
        counts[0].update(source.split(tokenizers.source.decode(sides[0])))
        counts[1].update(target.split(tokenizers.target.decode(sides[1])))
    made = prepared.manifest["train"].get("made", 0)
    return Frequencies(source=counts[0], target=counts[1], counted=counted, pairs=pairs, made=made)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """Lines that have something in common, which `label` says."""

    label: str
    lines: list[int]


def by_length(lengths: Sequence[int]) -> list[Bucket]:
    """Lines of like length: fifths as nearly as lengths allow, and the longest twentieth apart. None is empty."""
    ordered = sorted(lengths)
    last = {ordered[int(share * (len(ordered) - 1))] for share in SHARES} | {ordered[-1]}
    bounds = [ordered[0] - 1, *sorted(last)]
    found = []
    for below, high in pairwise(bounds):
        lines = [i for i, n in enumerate(lengths) if below < n <= high]
        low = min((lengths[i] for i in lines), default=0)
        if lines:
            found.append(Bucket(label=str(low) if low == high else f"{low} to {high}", lines=lines))
    return found


def by_rarest(lines: Sequence[Sequence[str]], counts: Counter[str]) -> list[Bucket]:
    """Lines by the frequency of their rarest word; those without any word are in none."""
    rarest = [min((counts[word] for word in line), default=-1) for line in lines]
    groups = [
        Bucket(label=label, lines=[i for i, n in enumerate(rarest) if low <= n <= high])
        for label, low, high in _frequency_ranges()
    ]
    return [group for group in groups if group.lines]


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """The words of one range of frequency: how many the references have, how many the outputs, how many both."""

    label: str
    wanted: int
    produced: int
    right: int


def words_by_rarity(
    outputs: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]], counts: Counter[str]
) -> list[Words]:
    """Which words come out right, by their frequency in `counts`. Of several references the one most like the output
    counts; a word is right as often as it stands in both. Every range is there, even if no word is in it."""
    wanted, produced, right = Counter[str](), Counter[str](), Counter[str]()
    for output, refs in zip(outputs, references, strict=True):
        has = Counter(output)
        reference, both = max(((Counter(r), Counter(r) & has) for r in refs), key=lambda pair: pair[1].total())
        for total, more in ((wanted, reference), (produced, has), (right, both)):
            total.update(more)
    found = []
    for label, low, high in _frequency_ranges():
        sums = [sum(n for word, n in c.items() if low <= counts[word] <= high) for c in (wanted, produced, right)]
        found.append(Words(label=label, wanted=sums[0], produced=sums[1], right=sums[2]))
    return found


def _frequency_ranges() -> list[tuple[str, int, float]]:
    """Label, lowest and highest frequency of every range of `RARITY`."""
    inner = [
        (f"{low:,}" if after == low + 1 else f"{low:,} to {after - 1:,}", low, float(after - 1))
        for low, after in pairwise(RARITY)
    ]
    return [*inner, (f"{RARITY[-1]:,} or more", RARITY[-1], float("inf"))]
