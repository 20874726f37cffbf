"""Pairs made from pairs: what each rule makes, that nothing given is lost, and that a seed decides all."""

import random
import unicodedata
from collections import Counter
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transduce.data.augment import (
    MADE,
    STEM,
    Rules,
    augmented,
    foreign,
    inflection_rules,
    lexicon,
    placeholder_rules,
    spans_of,
    text_rules,
)
from transduce.data.corpus import Pair
from transduce.text.pieces import PLACEHOLDERS

pytestmark = pytest.mark.unit

PAIRS = [(f"the {a} sees a {b}.", f"der {a.upper()} sieht ein {b.upper()}.") for a in "abcdef" for b in "ghijkl"]
TEXT = st.text(max_size=30)


def rule(name: str) -> tuple[tuple[str, str], ...]:
    """What the rule of this name makes of two neighbours of `PAIRS`, for some random choices."""
    rules = text_rules(lexicon(PAIRS))
    (found,) = [r for r in rules if (r.func if isinstance(r, partial) else r).__name__ == f"_{name}"]
    made = [found(PAIRS[1], PAIRS[0], random.Random(seed)) for seed in range(20)]
    return tuple(pair for pair in made if pair is not None)


def more(pairs: list[Pair], share: float, seed: int, words: list[Pair] | None = None) -> list[tuple[int, Pair]]:
    return by(text_rules(words or []), pairs, share, seed)


def by(rules: Rules, pairs: list[Pair], share: float, seed: int = 1) -> list[tuple[int, Pair]]:
    return list(augmented(enumerate(pairs, start=1), share, seed, rules))


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


def test_a_share_above_one_makes_several_of_a_pair() -> None:
    rules: Rules = {lambda pair, before, chance: (f"{chance.random()}", pair[1]): 1}
    made = [pair for number, pair in by(rules, PAIRS * 20, 2.5) if number == MADE]
    assert 2.4 < len(made) / len(PAIRS * 20) < 2.6
    assert len(set(made)) == len(made)


def test_a_tag_stays_in_front_and_as_it_is() -> None:
    tagged = [(f">>{tag}<< {s}", t) for s, t in PAIRS for tag in ("de", "fr")]
    made = [pair for number, pair in more(tagged, 1.0, 1, lexicon(tagged)) if number == MADE]
    assert len(made) > 20
    assert all(source.count(">>") == 1 and source.startswith((">>de<< ", ">>fr<< ")) for source, _ in made)


def test_pairs_with_different_tags_are_not_joined() -> None:
    befores: list[Pair] = []

    def note(pair: Pair, before: Pair, chance: random.Random) -> None:
        befores.append(before)

    by({note: 1}, [(f">>{tag}<< {i}", str(i)) for i, tag in enumerate(["de", "de", "fr", "fr", "de"])], 1.0)
    assert befores == [("", ""), ("0", "0"), ("", ""), ("2", "2"), ("", "")]


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


FORMS = [("ño:rab V;IMP;PL", "ño:rabiñ"), ("bo V;SG", "kubo"), ("t-zelda V;SG", "t-zelda"), ("ཀཁག། V;PST", "ཀཁག།")]


def test_a_new_stem_is_the_same_on_both_sides_and_all_else_stays() -> None:
    """What lemma and form share changes alike, letter by letter of a kind; tags, endings and what is no letter stay."""
    (rule,) = inflection_rules(FORMS)
    made = {rule(FORMS[0], ("", ""), random.Random(seed)) for seed in range(50)} - {None}
    assert len(made) > 20
    for pair in made:
        assert pair is not None
        lemma, tags = pair[0].split(" ")
        assert tags == "V;IMP;PL"
        assert pair[1] == f"{lemma}iñ"
        assert lemma[2] == ":"
        assert [unicodedata.category(c) for c in lemma] == [unicodedata.category(c) for c in "ño:rab"]
        assert set(lemma) <= set("".join(form for _, form in FORMS))
    assert rule(FORMS[1], ("", ""), random.Random(0)) is None, f"fewer than {STEM} letters in common"


@given(st.lists(st.tuples(TEXT, TEXT), max_size=9), st.integers(0, 9))
def test_inflection_takes_any_text(pairs: list[Pair], seed: int) -> None:
    made = by(inflection_rules(pairs), pairs, 3.0, seed)
    assert [entry for entry in made if entry[0] != MADE] == list(enumerate(pairs, start=1))
    assert all(len(pair[1]) in {len(form) for _, form in pairs} for _, pair in made)


def test_the_lexicon_holds_what_leaves_no_doubt() -> None:
    found = dict(lexicon(PAIRS))
    assert not {"sees", "a"} & found.keys()  # always together with both "sieht" and "ein"
    assert {found[letter] for letter in "ghijkl"} == set("GHIJKL")
    assert lexicon([]) == []
    assert lexicon([("一二三", "四五六")]) == []


def test_what_is_seen_only_twice_is_in_no_lexicon() -> None:
    assert lexicon([("the dog", "der Hund")] * 2) == []
    assert lexicon([("the dog", "der Hund")] * 3) == [("dog", "Hund")]


def test_words_are_whole_where_vowels_are_marks() -> None:
    """Python's own idea of a word leaves out the marks that Indic scripts and pointed Arabic write vowels with."""
    pairs = [("see the book", "देखो यह किताब"), ("see the milk", "देखो यह दूध"), ("see the beans", "देखो यह فُول")] * 3
    assert dict(lexicon(pairs)) == {"book": "किताब", "milk": "दूध", "beans": "فُول", "the": "यह"}
    assert spans_of(("the book", "यह किताब"), {"the": "यह", "book": "किताब"}) == [("the book", "यह किताब")]
    made = by(placeholder_rules([("book", "किताब")]), [("a book.", "वह किताबें किताब।")] * 50, 1.0)
    hidden = {
        pair[1] for number, pair in made if number == MADE and pair[1].startswith("वह") and "किताब।" not in pair[1]
    }
    assert hidden
    assert all(text[: len("वह किताबें ")] == "वह किताबें " for text in hidden)


def test_capitals_where_i_without_a_dot_is_a_letter() -> None:
    i = "\N{LATIN SMALL LETTER DOTLESS I}"
    pair = "I see İzmir.", f"Iş{i}k İzmir'i gördü."
    rules = {r.func.__name__: r for r in text_rules([], (False, True)) if isinstance(r, partial)}
    assert rules["_capitals"](pair, ("", ""), random.Random(0)) == ("I SEE İZMIR.", "IŞIK İZMİR'İ GÖRDÜ.")
    turned = {r.func.__name__: r for r in text_rules([], (True, False)) if isinstance(r, partial)}
    assert turned["_lower"](pair[::-1], ("", ""), random.Random(0)) == (f"{i}ş{i}k izmir'i gördü.", pair[0])


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


def placeholders_in(text: str) -> list[str]:
    return sorted(piece for piece in PLACEHOLDERS if piece in text)


def test_placeholders_are_the_same_on_both_sides_and_in_the_place_of_translations() -> None:
    words = lexicon(PAIRS)
    found = by(placeholder_rules(words), PAIRS * 10, 1.0)
    made = [pair for number, pair in found if number == MADE]
    assert len(made) == len(PAIRS) * 10  # every pair has a word that is sure
    assert all(placeholders_in(source) == placeholders_in(target) != [] for source, target in made)
    used = Counter(piece for source, _ in made for piece in placeholders_in(source))
    assert set(used) == set(PLACEHOLDERS)
    assert max(used.values()) < 2 * min(used.values())
    assert sum(source in PLACEHOLDERS for source, _ in made) > 10
    for source, target in made:  # these two languages have one order of words
        places = [[i for i, word in enumerate(text.split()) if "｟" in word] for text in (source, target)]
        assert places[0] == places[1]


def test_what_both_sides_have_alike_becomes_a_placeholder_too() -> None:
    pairs = [("3 dogs at https://a.b/c", "https://a.b/c: 3 Hunde und 4")] * 40
    made = {pair for number, pair in by(placeholder_rules([]), pairs, 1.0) if number == MADE}
    hidden = [pair for pair in made if "http" not in pair[0] and pair[0] not in PLACEHOLDERS]
    assert len(hidden) > 10
    for source, target in hidden:
        one, other = source.split(" dogs at ")
        assert target == f"{other}: {one} Hunde und 4"


def test_pairs_that_were_made_are_not_made_from() -> None:
    made = by(text_rules([]), PAIRS, 1.0)
    again = list(augmented(made, 5.0, 1, placeholder_rules([])))
    assert len(again) <= len(made) + 5 * len(PAIRS)
    assert [entry for entry in again if "｟" not in entry[1][0]] == made
