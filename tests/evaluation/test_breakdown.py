"""Groups of lines, and of words, by laws: nothing is lost, nothing is counted twice."""

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.heard import Heard
from tests.tiny import WORDS as TINY_WORDS
from tests.tiny import tiny_config
from transduce.compose import prepare_data
from transduce.data.prepare import load_prepared
from transduce.evaluation.breakdown import (
    CHARACTERS,
    TOKENS,
    WORDS,
    by_length,
    by_rarest,
    training_frequencies,
    units_of,
    words_by_rarity,
)

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("lines", "tokenised", "units", "text", "found"),
    [
        (["A dog.", "Two dogs!"], False, WORDS, "It's well-known, no?", ["It's", "well-known", ",", "no", "?"]),
        (["a dog .", "two dogs !"], True, TOKENS, "it &apos;s well-known .", ["it", "&apos;s", "well-known", "."]),
        (["walk", "to go", "see"], True, CHARACTERS, "to  go ", ["t", "o", " ", "g", "o"]),
        (["猫がいる。", "犬"], False, CHARACTERS, "猫 犬", ["猫", " ", "犬"]),
    ],
)
def test_what_texts_are_counted_in(
    lines: list[str], tokenised: bool, units: object, text: str, found: list[str]
) -> None:
    chosen = units_of(lines, tokenised=tokenised)
    assert chosen is units
    assert chosen.split(text) == found


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_lengths_divide_the_lines_in_order(lengths: list[int]) -> None:
    buckets = by_length(lengths)
    assert sorted(i for bucket in buckets for i in bucket.lines) == list(range(len(lengths)))
    found = [(min(lengths[i] for i in b.lines), max(lengths[i] for i in b.lines)) for b in buckets]
    assert found == sorted(found)
    assert all(before[1] < after[0] for before, after in pairwise(found))
    assert [b.label for b in buckets] == [str(low) if low == high else f"{low} to {high}" for low, high in found]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी में लिखा", ["हिन्दी", "में", "लिखा"]),
        ("Kho\u0302ng co\u0301 gi\u0300!", ["Kho\u0302ng", "co\u0301", "gi\u0300", "!"]),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"]),
        ("a dog's well-known (tail).", ["a", "dog's", "well-known", "(", "tail", ")", "."]),
    ],
)
def test_marks_and_joiners_belong_to_their_words(text: str, words: list[str]) -> None:
    assert WORDS.split(text) == words


def test_lengths_are_fifths_and_the_longest_twentieth() -> None:
    buckets = by_length(range(1, 101))
    assert [len(bucket.lines) for bucket in buckets] == [20, 20, 20, 20, 15, 5]
    assert [bucket.label for bucket in buckets][-1] == "96 to 100"


def test_lines_by_their_rarest_word() -> None:
    counts = Counter(the=2000, dog=100, cat=4, runs=1)
    lines = [["the", "dog"], ["the", "cat"], ["runs", "the"], ["sleeps", "the"], ["the"], [], ["cat", "runs"]]
    found = {bucket.label: bucket.lines for bucket in by_rarest(lines, counts)}
    assert found == {"0": [3], "1": [2, 6], "2 to 4": [1], "100 to 999": [0], "1,000 or more": [4]}


def test_words_by_rarity_against_counting_by_hand() -> None:
    counts = Counter(a=1000, b=3)
    outputs = [["a", "b", "x"], ["a", "a"], []]
    references = [[["z", "z"], ["a", "b", "b"]], [["a"]], [["b"]]]
    found = {w.label: (w.wanted, w.produced, w.right) for w in words_by_rarity(outputs, references, counts)}
    assert found.pop("1,000 or more") == (2, 3, 2)
    assert found.pop("2 to 4") == (3, 1, 1)
    assert found.pop("0") == (0, 1, 0)
    assert set(found.values()) == {(0, 0, 0)}


def test_every_word_is_in_one_range() -> None:
    rng = random.Random(0)
    counts = Counter({word: n for n, word in enumerate("abcdefghij")}) + Counter(x=5000)
    outputs, references = ([rng.choices("abcdefghijx", k=6) for _ in range(30)] for _ in range(2))
    found = words_by_rarity(outputs, [[r] for r in references], counts)
    assert sum(w.wanted for w in found) == sum(w.produced for w in found) == 180
    assert all(w.right <= min(w.wanted, w.produced) for w in found)
    assert sum(w.right for w in found) == sum(
        (Counter(o) & Counter(r)).total() for o, r in zip(outputs, references, strict=True)
    )


def test_frequencies_are_those_of_the_training_files(tmp_path: Path) -> None:
    prepare_data(tiny_config(tmp_path), tmp_path / "run", reporter=Heard())
    prepared = load_prepared(tmp_path / "run" / "data")
    known = training_frequencies(prepared, TOKENS, TOKENS)
    assert known.source == Counter((tmp_path / "train.aa").read_text().split())
    assert known.target == Counter((tmp_path / "train.bb").read_text().split())
    assert set(known.source) == set(TINY_WORDS)
    part = training_frequencies(prepared, TOKENS, TOKENS, most=10)
    assert (part.counted, part.pairs) == (10, known.pairs) == (10, 300)
    lines = (tmp_path / "train.aa").read_text().splitlines()[::30]  # spread over all of them
    assert part.source == Counter(" ".join(lines).split())
