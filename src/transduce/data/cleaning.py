"""Which pairs are left out of training, and why: each rule is one small predicate, with its reason and its evidence.

No rule drops a line for being short. Other people's do, and their users report models that cannot translate a word, a
title or a button (mozilla/translations, issue 888). `empty` and `too_long` always apply, for a model cannot learn from
such pairs; every other rule is a setting.
"""

import math
from collections.abc import Callable, Set
from dataclasses import dataclass, fields
from typing import final

import numpy as np
import numpy.typing as npt

from transduce.data.characters import is_broken
from transduce.data.corpus import Pair

RULES = {
    "empty": "a side without text",
    "too_long": "more pieces on a side than data.max_length",
    "encoding": "marks of a wrong encoding",
    "copied": "a sentence whose translation is itself",
    "ratio": "lengths that do not fit each other",
    "in_dev": "a pair of the dev or test set",
    "duplicate": "a copy of an earlier pair",
}
"""Every rule and what it leaves out, as reports say it. Where several apply, a pair is counted under one."""

RATIO_STEP = 0.01  # ratios are compared in whole hundredths of a natural logarithm
LEAST_FAR = round(math.log(4) / RATIO_STEP)
NEVER_FAR = 10_000  # no two lines that fit into memory are so far apart


@dataclass(frozen=True, kw_only=True, slots=True)
class CleaningConfig:
    """Which rules apply to training pairs, besides `empty` and `too_long`, which always do. `EVERY_RULE` is all."""

    encoding: bool = False
    copied: bool = False
    ratio: bool = False
    in_dev: bool = False
    duplicate: bool = False

    @property
    def on(self) -> tuple[str, ...]:
        """The names of the rules that apply."""
        return ("empty", "too_long", *(field.name for field in fields(self) if getattr(self, field.name)))


EVERY_RULE = CleaningConfig(encoding=True, copied=True, ratio=True, in_dev=True, duplicate=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usual:
    """What is usual in a corpus, to tell what is odd in it.

    `ratio`: the median of log(target characters / source characters), in steps of `RATIO_STEP`, of pairs that are not
    short; a pair that is more than `far` steps away is odd. `copies_are_odd`: both sides are prose, and few sentences
    are their own translation.
    """

    ratio: int = 0
    far: int = NEVER_FAR
    copies_are_odd: bool = False


def is_short(text: str) -> bool:
    """A word, a title, a button: at most 20 characters, or one to three words of at most 60."""
    return len(text) <= 20 or (len(text) <= 60 and len(text.split()) <= 3)


def ratio_steps(source: str, target: str) -> int:
    """log(target characters / source characters) in steps of `RATIO_STEP`. Neither is empty."""
    return round(math.log(len(target) / len(source)) / RATIO_STEP)


def empty(source: str, target: str) -> bool:
    """A side without text: nothing to read, or nothing to say."""
    return not source.strip() or not target.strip()


def encoding(source: str, target: str) -> bool:
    """U+FFFD, UTF-8 read as Latin-1 (`Ã©`), NUL and other control characters: the model would learn to write them.

    It leaves out 42 of 10,000 WMT pairs, all of them broken, and none of Multi30k's captions in three languages or of
    the words of SIGMORPHON 2020 in seventeen.
    """
    return is_broken(source) or is_broken(target)


def copied(source: str, target: str) -> bool:
    """A sentence that is its own translation, with four or more words that have letters: it was never translated.

    A few percent of them teach a model to copy its input (Khayrallah and Koehn 2018, arXiv 1805.12282, table 1, where
    untranslated sentences do more harm than any other noise). Names, numbers and titles are rightly the same in both
    languages, so they stay. Where copies are usual (correction of errors, spelling) `Usual.copies_are_odd` is false.
    """
    same = source.strip() == target.strip()
    return same and sum(any(c.isalpha() for c in word) for word in source.split()) > 3


def ratio(source: str, target: str, usual: Usual) -> bool:
    """Characters of the two sides in a ratio that is far from the corpus's own: probably not each other's translation.

    Far is a factor of 4, or more where the corpus spreads more widely. Of 10,000 WMT pairs, 200 of them with the target
    of another, that leaves out 6 of the 200 and no good pair; a factor of 3 left out 22 and 17, of 2 70 and 244. No
    pair with a short side is ever left out.
    """
    source, target = source.strip(), target.strip()
    if is_short(source) or is_short(target):
        return False
    return abs(ratio_steps(source, target) - usual.ratio) > usual.far


def in_dev(source: str, target: str, judged: Set[Pair]) -> bool:
    """A training pair that is also in the dev or test set: scores on it would measure memory."""
    return (source, target) in judged


def duplicate(number: int, later: npt.NDArray[np.bool_]) -> bool:
    """The same pair again. The first one stays; pairs with only one side the same stay too.

    Lee et al. 2022 (arXiv 2107.06499): models trained without copies repeat training text ten times less often, and
    are as good with fewer steps.
    """
    return bool(later[number - 1])


@final
@dataclass(frozen=True, slots=True)
class Cleaner:
    """The rules of `config` on pairs of one corpus, which are numbered from 1 as its lines are."""

    config: CleaningConfig
    usual: Usual  # in this corpus
    later: npt.NDArray[np.bool_]  # of each pair, whether it is a copy of an earlier one
    judged: Set[Pair]  # those of dev and test sets
    text: Callable[[str], str] = str  # what of a source is text: without a tag in front, where there are tags

    def reason(self, number: int, pair: Pair) -> str:
        """The rule that leaves this pair out; empty when none does. `too_long` is not among them: it counts pieces."""
        c, (source, target) = self.config, pair
        text = self.text(source)
        if empty(text, target):
            return "empty"
        if c.encoding and encoding(source, target):
            return "encoding"
        if c.copied and self.usual.copies_are_odd and copied(text, target):
            return "copied"
        if c.ratio and ratio(text, target, self.usual):
            return "ratio"
        if c.in_dev and in_dev(source, target, self.judged):
            return "in_dev"
        return "duplicate" if c.duplicate and duplicate(number, self.later) else ""
