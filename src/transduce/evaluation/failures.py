"""Ways to fail that a reader can name: copies, omissions, repetitions, lost numbers; and the lines that do."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transduce.evaluation.breakdown import Units
from transduce.text.form import split_tag
from transduce.text.placeholders import MARKUP

TOO_SHORT, TOO_LONG = 0.6, 1.6  # times the shortest, or longest, reference
UNCOVERED = 1 / 3  # of the words of the nearest reference
COPIED = 0.5  # of the words of an output
FEW = 4  # words: a share of fewer says nothing
LONGEST = 200  # words that are said again

_NUMBER = re.compile(r"\d+(?:[.,:/'\u202f\u066b\u066c]\d+)*")


@dataclass(frozen=True, slots=True)
class Line:
    """One input, its output and its references, whole and in words (or tokens, or characters). Without sources,
    `source` is empty."""

    source: str
    output: str
    references: Sequence[str]
    source_words: list[str]
    words: list[str]
    reference_words: Sequence[list[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A way to fail, in words, and the numbers of the lines that do."""

    name: str
    meaning: str
    lines: list[int]


def lines_of(
    sources: Sequence[str] | None,
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
    source: Units,
    target: Units,
) -> list[Line]:
    """The lines of a test set, divided into words."""
    texts = [split_tag(s)[1] for s in sources or [""] * len(outputs)]  # a tag in front is no text
    return [
        Line(s, o, refs, source.split(s), target.split(o), [target.split(r) for r in refs])
        for s, o, refs in zip(texts, outputs, references, strict=True)
    ]


def failures(lines: Sequence[Line]) -> list[Failure]:
    """Every way to fail, with the lines that do; what a reference does as well is no failure."""
    return [
        Failure(name=name, meaning=meaning, lines=[i for i, line in enumerate(lines) if fails(line)])
        for name, meaning, fails in WAYS
    ]


def numbers(text: str) -> set[str]:
    """The numbers in a text, without what divides their digits: 1,000.5 is 10005 in any language."""
    return {"".join(c for c in found if c.isdigit()) for found in _NUMBER.findall(text)}


def placeholders(text: str) -> set[str]:
    """Things that a translation has to keep as they are: `{name}`, `%s`, tags, addresses."""
    return set(MARKUP.findall(text))


def longest_repeat(words: Sequence[str], least: int = 1) -> int:
    """How many words stand there only because the words before them (`least` or more) were said again, at most: 2 in
    `a dog a dog`. Of more than `LONGEST` at a time it is not seen: time would grow with the square of a line."""
    most = 0
    for n in range(least, min(len(words) // 2, LONGEST) + 1):
        run = 0
        for one, other in zip(words, words[n:], strict=False):
            run = run + 1 if one == other else 0
            if run >= n:
                most = max(most, run)
    return most


def _empty(line: Line) -> bool:
    return not line.words and any(line.reference_words)


def _copied(line: Line) -> bool:
    return bool(line.source) and line.output == line.source and line.output not in line.references


def _half_copied(line: Line) -> bool:
    untranslated = set(line.source_words).difference(*line.reference_words)
    left = [word for word in line.words if word in untranslated]
    return not _copied(line) and len(line.words) >= FEW and len(left) >= COPIED * len(line.words)


def _too_short(line: Line) -> bool:
    return 0 < len(line.words) < TOO_SHORT * min(map(len, line.reference_words))


def _too_long(line: Line) -> bool:
    longest = max(map(len, line.reference_words))
    return len(line.words) > max(TOO_LONG * longest, longest + 1)


def _uncovered(line: Line) -> bool:
    has = Counter(line.words)
    shares = [(Counter(ref) & has).total() / len(ref) for ref in line.reference_words if len(ref) >= FEW]
    return bool(line.words) and bool(shares) and max(shares) < UNCOVERED


def _repeated(line: Line) -> bool:
    least = 3 if all(len(word) == 1 for word in line.words) else 1  # a doubled character says nothing
    return longest_repeat(line.words, least) > max(longest_repeat(ref, least) for ref in line.reference_words)


def _lost_number(line: Line) -> bool:
    return _lost(line, numbers)


def _new_number(line: Line) -> bool:
    known = numbers(line.source).union(*map(numbers, line.references))
    return bool(numbers(line.output) - known)


def _lost_placeholder(line: Line) -> bool:
    return _lost(line, placeholders)


def _lost(line: Line, things: Callable[[str], set[str]]) -> bool:
    """Whether source (where there is one) and every reference have something that the output has not."""
    wanted = set.intersection(*map(things, line.references))
    if line.source:
        wanted &= things(line.source)
    return bool(wanted - things(line.output))


WAYS: tuple[tuple[str, str, Callable[[Line], bool]], ...] = (
    ("empty", "nothing came out", _empty),
    ("copied", "the output is the source, and no reference is", _copied),
    ("copied in part", "half the words or more are the source's, and no reference has them", _half_copied),
    ("too short", f"fewer than {TOO_SHORT:.0%} of the words of the shortest reference", _too_short),
    ("uncovered", "fewer than a third of the words of the nearest reference came back", _uncovered),
    ("too long", f"more than {TOO_LONG:.0%} of the words of the longest reference", _too_long),
    ("repeated", "says the same words again, right after them, more than any reference does", _repeated),
    ("number lost", "a number of the source and of every reference is missing, or became a word", _lost_number),
    ("number from nowhere", "has a number that neither source nor reference has", _new_number),
    ("placeholder lost", "an address, a tag, {name} or %s of source and references is missing", _lost_placeholder),
)
