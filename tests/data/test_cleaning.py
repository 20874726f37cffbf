"""Each rule leaves out what it is for, and nothing else: above all no line for being short."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transduce.data.cleaning import (
    EVERY_RULE,
    LEAST_FAR,
    NEVER_FAR,
    RULES,
    Cleaner,
    CleaningConfig,
    Usual,
    copied,
    empty,
    encoding,
    is_short,
    ratio,
    ratio_steps,
)

pytestmark = pytest.mark.unit

USUAL = Usual(ratio=10, far=LEAST_FAR, copies_are_odd=True)
PAIRS = [
    ("", "x"),
    ("caf\ufffd", "Kaffee"),
    ("this was never translated at all", "this was never translated at all"),
    ("a sentence of a common length", "ein Satz, " * 30),
    ("from the dev set", "aus dem Dev-Set"),
    ("twice", "zweimal"),
    ("twice", "zweimal"),
    ("yes", "ja"),
]
EXPECTED = ["empty", "encoding", "copied", "ratio", "in_dev", "", "duplicate", ""]
LATER = np.array([False] * 6 + [True, False])
JUDGED = {PAIRS[4]}


def reasons(config: CleaningConfig, usual: Usual = USUAL) -> list[str]:
    cleaner = Cleaner(config, usual, LATER, JUDGED)
    return [cleaner.reason(number, pair) for number, pair in enumerate(PAIRS, start=1)]


def test_every_rule_finds_what_it_is_for() -> None:
    assert reasons(EVERY_RULE) == EXPECTED
    assert {*EXPECTED, "too_long"} - {""} == RULES.keys() == set(EVERY_RULE.on)


@pytest.mark.parametrize("rule", [field.name for field in fields(CleaningConfig)])
def test_a_rule_that_is_off_leaves_nothing_out(rule: str) -> None:
    assert reasons(replace(EVERY_RULE, **{rule: False})) == ["" if found == rule else found for found in EXPECTED]
    alone = CleaningConfig(**{rule: True})
    assert reasons(alone) == [found if found in (rule, "empty") else "" for found in EXPECTED]
    assert set(alone.on) == {rule, "empty", "too_long"}


def test_nothing_is_on_unless_asked_for() -> None:
    assert reasons(CleaningConfig()) == ["empty"] + [""] * 7
    assert CleaningConfig().on == ("empty", "too_long")


words = st.text(st.characters(categories=["Lu", "Ll", "Lo", "Nd"]), min_size=1, max_size=15)


@given(st.lists(words, min_size=1, max_size=3).map(" ".join), st.text(min_size=1), st.integers(-500, 500))
def test_no_line_of_one_to_three_words_is_left_out_for_its_length(line: str, other: str, typical: int) -> None:
    """Whatever is on the other side, and whatever is usual."""
    usual = Usual(ratio=typical, far=0, copies_are_odd=True)
    for pair in ((line, other), (other, line), (line, line)):
        assert not ratio(*pair, usual)
        assert not copied(*pair)
        assert not encoding(line, line)
        assert not empty(line, line)


@pytest.mark.parametrize(
    ("text", "short"),
    [("OK", True), ("x" * 20, True), ("a b c d e f g h i j", True), ("x" * 60, True), ("x" * 61, False),
     ("one two three " + "x" * 7, False), ("Donaudampfschifffahrtsgesellschaft heute geschlossen", True)],
)  # fmt: skip
def test_what_is_short(text: str, short: bool) -> None:
    assert is_short(text) == short


def test_far_is_relative_to_what_is_usual() -> None:
    source, target = "x " * 30, "y " * 125
    assert ratio(source, target, Usual(ratio=0, far=LEAST_FAR))
    assert ratio(target, source, Usual(ratio=0, far=LEAST_FAR))
    assert not ratio(source, target, Usual(ratio=100, far=LEAST_FAR))
    assert not ratio(source, target, Usual(ratio=0, far=NEVER_FAR))
    assert not ratio(source, "y " * 119, Usual(ratio=0, far=LEAST_FAR)), "not yet four times as long"


@given(st.text(min_size=1), st.text(min_size=1))
def test_ratios_are_symmetric(source: str, target: str) -> None:
    assert ratio_steps(source, target) == -ratio_steps(target, source)


@pytest.mark.parametrize(
    ("text", "is_copy"),
    [("this was never translated", True), (" this was never translated\t", True), ("Microsoft Office 2010", False),
     ("1 2 3 4 5 6", False), ("https://example.org/a/b/c", False), ("New York, New York", True), ("- - - -", False)],
)  # fmt: skip
def test_names_and_numbers_may_be_the_same_in_both_languages(text: str, is_copy: bool) -> None:
    assert copied(text, text.strip()) == is_copy
    assert not copied(text, text + "x")


def test_copies_stay_where_they_are_usual() -> None:
    assert reasons(EVERY_RULE, replace(USUAL, copies_are_odd=False))[2] == ""
