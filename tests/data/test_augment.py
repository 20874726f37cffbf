"""Pairs made from pairs: what each rule makes, that nothing given is lost, and that a seed decides all."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transduce.data.augment import MADE, RULES, augmented, foreign, lexicon, spans_of
from transduce.data.corpus import Pair

pytestmark = pytest.mark.unit

PAIRS = [(f"the {a} sees a {b}.", f"der {a.upper()} sieht ein {b.upper()}.") for a in "abcdef" for b in "ghijkl"]
TEXT = st.text(max_size=30)


def rule(name: str) -> tuple[tuple[str, str], ...]:
    """What the rule of this name makes of two neighbours of `PAIRS`, for some random choices."""
    (found,) = [r for r in RULES if r.__name__ == f"_{name}"]
    made = [found(PAIRS[1], PAIRS[0], lexicon(PAIRS), random.Random(seed)) for seed in range(20)]
    return tuple(pair for pair in made if pair is not None)


def more(pairs: list[Pair], share: float, seed: int, words: list[Pair] | None = None) -> list[tuple[int, Pair]]:
    return list(augmented(enumerate(pairs, start=1), share, seed, words or []))


@given(st.lists(st.tuples(TEXT, TEXT), max_size=20), st.floats(0, 1), st.integers(0, 9))
def test_what_was_given_comes_out_in_order(pairs: list[Pair], share: float, seed: int) -> None:
    made = more(pairs, share, seed, [("a", "b")])
    assert [entry for entry in made if entry[0] != MADE] == list(enumerate(pairs, start=1))
    assert len(made) <= 2 * len(pairs)
    assert made == more(pairs, share, seed, [("a", "b")])


def test_a_pair_is_treated_by_its_number_alone() -> None:
    """So that a corpus that grows at its end keeps what was made of its start."""
    whole, part = more(PAIRS, 0.5, 1), more(PAIRS[:10], 0.5, 1)
    assert whole[: len(part)] == part
    assert more(PAIRS, 0.5, 2) != whole
    assert more(PAIRS, 0.0, 1) == list(enumerate(PAIRS, start=1))


def test_the_share_is_about_what_was_asked() -> None:
    many = PAIRS * 100
    assert 0.17 < len(more(many, 0.2, 1, lexicon(PAIRS))) / len(many) - 1 < 0.21


def test_a_tag_stays_in_front_and_as_it_is() -> None:
    tagged = [(f">>{tag}<< {s}", t) for s, t in PAIRS for tag in ("de", "fr")]
    made = [pair for number, pair in more(tagged, 1.0, 1, lexicon(tagged)) if number == MADE]
    assert len(made) > 20
    assert all(source.count(">>") == 1 and source.startswith((">>de<< ", ">>fr<< ")) for source, _ in made)


def test_every_rule() -> None:
    source, target = PAIRS[1]
    assert set(rule("capitals")) == {(source.upper(), target.upper())}
    assert set(rule("unpunctuated")) == {(source[:-1], target[:-1])}
    assert set(rule("joined")) == {(f"{PAIRS[0][0]} {source}", f"{PAIRS[0][1]} {target}")}
    assert set(rule("word")) <= set(lexicon(PAIRS))
    assert not rule("lower")  # it is in lower case already
    for made in rule("copied"):
        thing = made[0].replace(source, "").strip()
        assert made in ((f"{thing} {source}", f"{thing} {target}"), (f"{source} {thing}", f"{target} {thing}"))
    assert all(a == b and a for a, b in rule("verbatim"))
    assert all(a in source and b in target for a, b in rule("span"))


def test_the_lexicon_holds_what_leaves_no_doubt() -> None:
    found = dict(lexicon(PAIRS))
    assert not {"sees", "a"} & found.keys()  # always together with both "sieht" and "ein"
    assert {found[letter] for letter in "ghijkl"} == set("GHIJKL")
    assert lexicon([]) == []
    assert lexicon([("一二三", "四五六")]) == []


def test_spans_are_translations_of_each_other() -> None:
    pair = "A dog runs in the park, and two men watch it.", "Ein Hund läuft im Park, und zwei Männer sehen zu."
    translation = {"dog": "Hund", "runs": "läuft", "park": "Park", "two": "zwei", "men": "Männer"}
    assert spans_of(pair, translation) == [
        ("dog runs", "Hund läuft"),
        ("dog runs in the park", "Hund läuft im Park"),
        ("runs in the park", "läuft im Park"),
        ("two men", "zwei Männer"),
    ]
    crossing = "red dog runs", "läuft roter Hund"
    assert spans_of(crossing, {"red": "roter", "runs": "läuft", "dog": "Hund"}) == [
        ("red dog", "roter Hund"),
        ("red dog runs", "läuft roter Hund"),
    ]
    assert spans_of(("dog and dog", "Hund und Hund"), translation) == []  # which is whose?


def test_things_to_copy_are_of_many_kinds_and_one_token() -> None:
    chance = random.Random(0)
    things = [foreign(chance) for _ in range(500)]
    assert not any(" " in thing or not thing for thing in things)
    marks = Counter(mark for thing in things for mark in ("https://", "@", "{{", "-", ":") if mark in thing)
    assert min(marks.values()) > 5
    assert len(marks) == 5
