"""What a corpus is like, before anything is trained on it: counts and shares, in one pass and in bounded memory.

Everything is exact, at any size, but for the numbers that say themselves that they are capped: different words beyond
`MOST_WORDS`, different tags beyond `MOST_TAGS`. Memory does not grow with the corpus (but for one byte a pair), the
disk holds 24 bytes a pair meanwhile.
"""

import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from transduce.data.characters import CONTROL, DIRECTIONAL, MOJIBAKE, REPLACEMENT, ZERO_WIDTH, script
from transduce.data.cleaning import LEAST_FAR, NEVER_FAR, Usual, copied, empty, is_short, ratio_steps
from transduce.data.copies import Copies
from transduce.data.corpus import Pair, chunks
from transduce.text.form import DOTLESS_I, split_tag
from transduce.text.placeholders import DIGIT, NUMBER

Counts = npt.NDArray[np.int64]

MOST_WORDS = 100_000  # different words of a side are counted up to so many
SYMBOLS = 200  # a side with at most so many different words is made of symbols (phones, actions), not of prose
MOST_TAGS = 10_000  # different tags are counted up to so many
ENOUGH = 100  # what is a usual ratio cannot be said from fewer pairs
LEAST_SPREAD = 0.05  # of the logarithms of lengths: less says nothing about what belongs together

_CHUNK = 2_000  # pairs looked at together
_LONGEST = (65_536, 4_096)  # characters, words: lengths are told apart below these
_DOTLESS_LETTERS = 500  # of which one at least is that one; in foreign names alone it is rarer
_MARKS = {"replacement": REPLACEMENT, "mojibake": MOJIBAKE, "zero_width": ZERO_WIDTH, "directional": DIRECTIONAL}


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """Half of the lines are at most `median` long, 95 of 100 at most `p95`, 99 at most `p99`, all at most `longest`."""

    median: int
    p95: int
    p99: int
    longest: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """The lines of one side; all but `empty` are about those with text.

    `words` are what stands between spaces; `more_words`: there are more than `distinct_words` different ones.
    `scripts` are the alphabets of the letters with their shares, most frequent first. `short` lines have one to three
    words, `spaced` ones several, `tagged` ones end in tags (`walk V;PST`), of which there are `distinct_tags`;
    `in_front` ones begin with a tag (`>>de<< A dog`) that the training does not know.
    `dotless_i`: i without a dot is a letter too, so capitals are as in Turkish. The rest counts lines: with U+FFFD,
    with UTF-8 read as Latin-1, with control characters, with a carriage return inside, not in the normal form NFC, with
    marks without a width, and with marks of the direction of writing.
    """

    lines: int
    empty: int
    characters: int
    words: int
    distinct_characters: int
    distinct_words: int
    more_words: bool
    scripts: dict[str, float]
    character_lengths: Lengths
    word_lengths: Lengths
    dotless_i: bool
    short: int
    spaced: int
    tagged: int
    distinct_tags: int
    in_front: int
    replacement: int
    mojibake: int
    control: int
    carriage_return: int
    not_nfc: int
    zero_width: int
    directional: int

    @property
    def is_prose(self) -> bool:
        """Text of a natural language in sentences: not symbols, not words. Also where no spaces are written."""
        least = 8 if self.is_ideographic else 20
        return self.distinct_words > SYMBOLS and self.character_lengths.median >= least

    @property
    def is_ideographic(self) -> bool:
        """Chinese or Japanese: a word is one to three characters, without spaces between words."""
        return sum(self.scripts.get(name, 0.0) for name in ("Han", "Hiragana", "Katakana")) > 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """Different pairs and sources of a set, and how many of them another set has too."""

    pairs: int
    sources: int
    shared_pairs: int
    shared_sources: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """Facts about a corpus of pairs.

    `empty` pairs have a side without text; what follows is about the others. `duplicates` are later copies of a pair;
    `ambiguous_sources` have several different targets, `targets_per_source` is the mean over all sources. `copied`
    pairs have equal sides, `copied_sentences` of four words or more. Of the `numbers` in sources whose target
    has one too, `numbers_alike` are written the same there. `odd_ratios` are pairs whose lengths do not fit
    each other, as the rule `ratio` has it; `length_correlation` is that of the logarithms of all lengths, in characters
    (None where a side hardly varies). Overlaps are None where there is no such set.
    """

    pairs: int
    empty: int
    source: Side
    target: Side
    distinct_sources: int
    ambiguous_sources: int
    targets_per_source: float
    duplicates: int
    copied: int
    copied_sentences: int
    numbers: int
    numbers_alike: int
    odd_ratios: int
    length_correlation: float | None
    usual: Usual
    dev_in_train: Overlap | None
    test_in_train: Overlap | None
    test_in_dev: Overlap | None


def survey(pairs: Iterable[Pair], *, dev: Sequence[Pair] | None = None, test: Sequence[Pair] | None = None) -> Survey:
    """What `pairs` are like, and what of `dev` and `test` is among them."""
    with tempfile.TemporaryDirectory() as scratch:
        return examine(pairs, dev=dev, test=test, scratch=Path(scratch))[0]


def examine(
    pairs: Iterable[Pair],
    *,
    dev: Sequence[Pair] | None,
    test: Sequence[Pair] | None,
    scratch: Path,
    text: Callable[[str], str] = str,
) -> tuple[Survey, npt.NDArray[np.bool_]]:
    """`survey`, and of each pair whether it is a copy of an earlier one. Temporary files are in `scratch`.

    `text` is what of a source is text: without a tag in front, where there are tags. Copies differ in their tags too.
    """
    sides = _SideCounts(), _SideCounts()
    relations = _Relations()
    in_dev, in_test = _Shared(dev or ()), _Shared(test or ())
    n = 0
    with Copies(scratch) as copies:
        for chunk in chunks(enumerate(pairs), _CHUNK):
            n += len(chunk)
            sides[0].add([text(source) for _, (source, _) in chunk])
            sides[1].add([target for _, (_, target) in chunk])
            full = [(i, *pair) for i, pair in chunk if not empty(text(pair[0]), pair[1])]
            if full:
                numbers, sources, targets = zip(*full, strict=True)
                copies.add(numbers, sources, targets)
                relations.add([text(source) for source in sources], targets)
                in_dev.look(sources, targets)
                in_test.look(sources, targets)
        counted = copies.count(n)
    source, target = sides[0].finish(), sides[1].finish()
    usual = relations.usual(source, target)
    test_in_dev = None
    if dev is not None and test is not None:
        both = _Shared(test)
        both.look(*([pair[side] for pair in dev] for side in (0, 1)))
        test_in_dev = both.overlap()
    found = Survey(
        pairs=n,
        empty=n - relations.pairs,
        source=source,
        target=target,
        distinct_sources=counted.sources,
        ambiguous_sources=counted.ambiguous,
        targets_per_source=counted.pairs / max(1, counted.sources),
        duplicates=relations.pairs - counted.pairs,
        copied=relations.copied,
        copied_sentences=relations.copied_sentences,
        numbers=relations.numbers,
        numbers_alike=relations.numbers_alike,
        odd_ratios=relations.odd(usual),
        length_correlation=relations.correlation(),
        usual=usual,
        dev_in_train=None if dev is None else in_dev.overlap(),
        test_in_train=None if test is None else in_test.overlap(),
        test_in_dev=test_in_dev,
    )
    return found, counted.later


@final
class _SideCounts:
    """The lines of one side so far."""

    def __init__(self) -> None:
        self._characters: Counts = np.zeros(0, np.int64)  # how often each code point occurs
        self._lengths = tuple(np.zeros(most, np.int64) for most in _LONGEST)
        self._longest = [0, 0]
        self._words: set[str] = set()
        self._more_words = False
        self._tags: set[str] = set()
        self._n: Counter[str] = Counter()

    def add(self, lines: Sequence[str]) -> None:
        full = [line for line in lines if line.strip()]
        self._n.update(lines=len(full), empty=len(lines) - len(full))
        if not full:
            return
        text, words = "\n".join(full), [line.split() for line in full]
        counts = np.bincount(np.frombuffer(text.encode("utf-32-le"), np.uint32), minlength=ord("\n") + 1)
        counts[ord("\n")] -= len(full) - 1  # ours
        self._characters = _sum(self._characters, counts)
        lengths = np.array([list(map(len, full)), list(map(len, words))])
        for i, most in enumerate(_LONGEST):
            self._lengths[i][:] = _sum(self._lengths[i], np.bincount(np.minimum(lengths[i], most - 1)))
            self._longest[i] = max(self._longest[i], int(lengths[i].max()))
        several = [line[-1] for line in words if len(line) > 1]
        tagged = [last for last in several if ";" in last.rstrip(";")]  # SQL and code end in one
        if len(self._tags) < MOST_TAGS:
            self._tags.update(chain.from_iterable(word.split(";") for word in tagged))
        self._n.update(
            characters=int(lengths[0].sum()),
            words=int(lengths[1].sum()),
            short=int((lengths[1] <= 3).sum()),
            spaced=int((lengths[1] > 1).sum()),
            tagged=len(tagged),
        )
        if not self._more_words:
            self._words.update(*words)
            if len(self._words) > MOST_WORDS:
                self._words, self._more_words = set(), True
        self._look_for_marks(full, text)

    def _look_for_marks(self, lines: Sequence[str], text: str) -> None:
        if CONTROL.search(text):
            self._n["control"] += sum(1 for line in lines if CONTROL.search(line))
        if ">>" in text:
            self._n["in_front"] += sum(bool(split_tag(line)[0]) for line in lines)
        if "\r" in text:
            self._n["carriage_return"] += sum("\r" in line for line in lines)
        if text.isascii():
            return
        for name, mark in _MARKS.items():
            if mark.search(text):
                self._n[name] += sum(1 for line in lines if mark.search(line))
        if not unicodedata.is_normalized("NFC", text):
            self._n["not_nfc"] += sum(not unicodedata.is_normalized("NFC", line) for line in lines)

    def finish(self) -> Side:
        found = [int(code) for code in np.flatnonzero(self._characters)]
        scripts: Counter[str] = Counter()
        for code in found:
            scripts[script(chr(code))] += int(self._characters[code])
        del scripts[""]
        letters = scripts.total()
        names = (
            "lines",
            "empty",
            "characters",
            "words",
            "short",
            "spaced",
            "tagged",
            "in_front",
            "control",
            "carriage_return",
            "not_nfc",
        )
        return Side(
            distinct_characters=len(found),
            distinct_words=MOST_WORDS if self._more_words else len(self._words),
            more_words=self._more_words,
            distinct_tags=min(MOST_TAGS, len(self._tags)),
            scripts={name: n / letters for name, n in scripts.most_common()},
            character_lengths=_quantiles(self._lengths[0], self._longest[0]),
            word_lengths=_quantiles(self._lengths[1], self._longest[1]),
            dotless_i=ord(DOTLESS_I) in found and int(self._characters[ord(DOTLESS_I)]) > letters / _DOTLESS_LETTERS,
            **{name: self._n[name] for name in (*names, *_MARKS)},
        )


@final
class _Relations:
    """How the two sides of pairs relate: copies and ratios of lengths."""

    def __init__(self) -> None:
        self.pairs = self.copied = self.copied_sentences = self.numbers = self.numbers_alike = 0
        self._ratios: Counter[int] = Counter()
        self._moments = np.zeros((3, 3))  # sums of products of 1, log length of the source, and of the target

    def add(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        self.pairs += len(sources)
        lengths = np.log(np.array([list(map(len, sources)), list(map(len, targets))]))
        terms = np.concatenate([np.ones((1, len(sources))), lengths])
        self._moments += terms @ terms.T
        for source, target in zip(sources, targets, strict=True):
            source, target = source.strip(), target.strip()
            if source == target:
                self.copied += 1
                self.copied_sentences += copied(source, target)
            if not is_short(source) and not is_short(target):
                self._ratios[ratio_steps(source, target)] += 1
            if DIGIT.search(source) and (written := Counter(NUMBER.findall(target))):
                numbers = Counter(NUMBER.findall(source))
                self.numbers += numbers.total()
                self.numbers_alike += (numbers & written).total()

    def usual(self, source: Side, target: Side) -> Usual:
        """Odd is what is farther from the median than `LEAST_FAR`, and than four times the middle half is wide."""
        copies_are_odd = source.is_prose and target.is_prose and 10 * self.copied_sentences <= self.pairs
        n = self._ratios.total()
        if n < ENOUGH:
            return Usual(copies_are_odd=copies_are_odd)
        below, quartiles = 0, list[int]()
        for step in sorted(self._ratios):
            below += self._ratios[step]
            while len(quartiles) < 3 and 4 * below >= (len(quartiles) + 1) * n:
                quartiles.append(step)
        far = min(NEVER_FAR, max(LEAST_FAR, 4 * (quartiles[2] - quartiles[0])))
        return Usual(ratio=quartiles[1], far=far, copies_are_odd=copies_are_odd)

    def correlation(self) -> float | None:
        """Of the logarithms of lengths; None where those of one side are all about the same."""
        if not self.pairs:
            return None
        mean = self._moments / self.pairs
        covariance = mean[1:, 1:] - np.outer(mean[0, 1:], mean[0, 1:])
        if min(covariance[0, 0], covariance[1, 1]) < LEAST_SPREAD**2:
            return None
        return float(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))

    def odd(self, usual: Usual) -> int:
        return sum(n for step, n in self._ratios.items() if abs(step - usual.ratio) > usual.far)


@final
class _Shared:
    """The pairs and sources of a set, and which of them were seen elsewhere."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs, self._sources = set(pairs), {source for source, _ in pairs}
        self._found: set[Pair] = set()
        self._found_sources: set[str] = set()

    def look(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        for pair in zip(sources, targets, strict=True):
            if pair[0] in self._sources:
                self._found_sources.add(pair[0])
                if pair in self._pairs:
                    self._found.add(pair)

    def overlap(self) -> Overlap:
        return Overlap(
            pairs=len(self._pairs),
            sources=len(self._sources),
            shared_pairs=len(self._found),
            shared_sources=len(self._found_sources),
        )


def _sum(a: Counts, b: Counts) -> Counts:
    """The sum of two arrays of counts, as long as the longer one."""
    long, short = (a, b) if len(a) >= len(b) else (b, a)
    long = long.copy()
    long[: len(short)] += short
    return long


def _quantiles(counts: Counts, longest: int) -> Lengths:
    """From how many lines there are of every length. The last one stands for all that are as long or longer."""
    total = int(counts.sum())
    if not total:
        return Lengths(median=0, p95=0, p99=0, longest=0)
    below = np.cumsum(counts)
    median, p95, p99 = (int(np.searchsorted(below, -(-total * q // 100))) for q in (50, 95, 99))
    last = len(counts) - 1
    median, p95, p99 = (length if length < last else longest for length in (median, p95, p99))
    return Lengths(median=median, p95=p95, p99=p99, longest=longest)
