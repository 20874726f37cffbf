"""The preflight report: what the data is like, what was left out of training and why, and what deserves attention.

Pure. `prepare` fills it in and saves it as `preflight.json`; the command line prints it.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from transduce.data.cleaning import RULES, CleaningConfig
from transduce.data.survey import Overlap, Side, Survey

UNRELATED = 0.6  # captions and news: 0.9; with the second half of the targets a line off: 0.3 and 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Preflight:
    """`survey` is of the training files as they are. Of their pairs `kept` are trained on, `held_out` are the dev set
    (0 where there is one in files), and `left_out` counts the others by rule: together all of `survey.pairs`.

    `made` pairs were made from those that are kept, and are trained on too. `dev_pairs` are in the dev set, `dev_empty`
    were left out of it for a side without text.
    """

    survey: Survey
    cleaning: CleaningConfig
    left_out: dict[str, int]
    kept: int
    made: int
    held_out: int
    dev_pairs: int
    dev_empty: int


def to_values(preflight: Preflight) -> dict[str, Any]:
    """Plain values for JSON, with the warnings."""
    return asdict(preflight) | {"warnings": warnings(preflight)}


def reasons(left_out: dict[str, int]) -> str:
    """What was left out under which rule, in words: `3 empty, 12 duplicate`."""
    return ", ".join(f"{left_out[rule]:,} {rule}" for rule in RULES if left_out.get(rule))


def warnings(preflight: Preflight) -> list[str]:
    """What a person should know before training on this data, and what to do about it; the gravest first."""
    survey = preflight.survey
    found = list(_overlaps(preflight))
    for name, side in (("source", survey.source), ("target", survey.target)):
        found += _encoding(name, side, "encoding" in preflight.cleaning.on)
    found += _pairs(preflight)
    side = survey.source
    if side.in_front > side.lines // 2:
        found.append(
            f"{_share(side.in_front, side.lines)} source lines begin with a tag like >>de<<, which is text to the "
            "model unless it is named. If it says what is wanted, name all there are: --set 'data.tags=[\"de\", ...]'."
        )
    if side.is_prose and side.spaced > side.lines // 2 and side.short < 0.005 * side.lines:
        found.append(
            f"Only {side.short:,} of {side.lines:,} source lines have one to three words: the model will not know what "
            "to do with words and titles. Add pairs of them if that matters."
        )
    return found


def _overlaps(preflight: Preflight) -> Iterator[str]:
    survey = preflight.survey
    is_left_out = "in_dev" in preflight.cleaning.on
    cure = "They are left out." if is_left_out else "--set cleaning.in_dev=true leaves them out of training."
    for name, overlap in (("dev", survey.dev_in_train), ("test", survey.test_in_train)):
        if overlap is not None and overlap.shared_pairs:
            result = "" if is_left_out else " Scores on them measure memory."
            yield f"{_of(overlap)} {name} pairs are training pairs too.{result} {cure}"
    if survey.test_in_dev is not None and survey.test_in_dev.shared_pairs:
        yield (
            f"{_of(survey.test_in_dev)} test pairs are dev pairs too: the model is chosen by them. "
            "Take them out of one of the two sets."
        )


def _encoding(name: str, side: Side, is_left_out: bool) -> Iterator[str]:
    marks = {
        "U+FFFD": side.replacement,
        "Ã© for é and the like": side.mojibake,
        "control characters": side.control,
    }
    counted = ", ".join(f"{n:,} with {mark}" for mark, n in marks.items() if n)
    if counted:
        cure = "Their pairs are left out." if is_left_out else "--set cleaning.encoding=true leaves their pairs out."
        yield f"{name} lines with marks of a wrong encoding: {counted}. Better: convert the original anew. {cure}"
    if side.carriage_return:
        yield (
            f"{side.carriage_return:,} {name} lines have a carriage return inside: two lines in one, or an old Mac "
            "file. Convert the ends of lines to \\n."
        )
    if side.not_nfc:
        yield (
            f"{side.not_nfc:,} of {side.lines:,} {name} lines are not in the normal form NFC: the same letters are "
            "written in two ways. --set data.normalise=nfc brings all into it, also what the finished model reads."
        )


def _pairs(preflight: Preflight) -> Iterator[str]:
    survey, on, n = preflight.survey, preflight.cleaning.on, preflight.survey.pairs

    def cure(rule: str) -> str:
        return "They are left out." if rule in on else f"--set cleaning.{rule}=true leaves them out."

    related = survey.length_correlation
    if survey.source.is_prose and survey.target.is_prose and related is not None and related < UNRELATED:
        yield (
            f"Long sources hardly have longer targets than short ones (correlation {related:.2f}): "
            "perhaps the lines of the two sides do not belong together from some line on. Look at a few."
        )
    if survey.odd_ratios:
        yield f"{_share(survey.odd_ratios, n)} pairs have lengths that do not fit each other. {cure('ratio')}"
    if survey.usual.copies_are_odd and survey.copied_sentences:
        yield f"{_share(survey.copied_sentences, n)} pairs are sentences that nobody translated. {cure('copied')}"
    if survey.duplicates > 0.01 * n:
        yield f"{_share(survey.duplicates, n)} pairs are copies of earlier ones. {cure('duplicate')}"
    if survey.targets_per_source > 1.2:
        yield (
            f"{survey.ambiguous_sources:,} of {survey.distinct_sources:,} sources have several different targets: the "
            "model can give one of them. Metrics accept each, but by line."
        )
    if preflight.left_out.get("too_long", 0) > 0.01 * n:
        yield (
            f"{_share(preflight.left_out['too_long'], n)} pairs are left out as too long. A larger data.max_length "
            "(--set) keeps more, and takes more memory."
        )
    if preflight.left_out.get("empty", 0) > 0.01 * n:
        yield (
            f"{_share(preflight.left_out['empty'], n)} pairs have a side without text. So many may mean that lines "
            "were lost, or columns mistaken."
        )


def _of(overlap: Overlap) -> str:
    return f"{overlap.shared_pairs:,} of {overlap.pairs:,}"


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({100 * part / whole:.1f}%)"
