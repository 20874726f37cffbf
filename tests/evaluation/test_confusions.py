"""Edits, counted: on an example by hand, and by laws."""

import random
from collections import Counter

import pytest

from transduce.evaluation import evaluate
from transduce.evaluation.confusions import confusions

pytestmark = pytest.mark.unit


def test_an_example_by_hand() -> None:
    found = confusions(
        [list("kitten"), list("abc"), list("x")], [[list("sitting")], [list("zzzz"), list("abcd")], [[]]]
    )
    assert found.substituted == Counter({("s", "k"): 1, ("i", "e"): 1})
    assert found.missing == Counter(g=1, d=1)
    assert found.added == Counter(x=1)
    assert found.edits == [3, 1, 1]
    assert found.seen == Counter("sitting") + Counter("abcd")


def test_the_edits_are_those_of_the_error_rate() -> None:
    rng = random.Random(1)
    outputs, references = ([rng.choices("abcd", k=rng.randint(1, 7)) for _ in range(40)] for _ in range(2))
    found = confusions(outputs, [[r] for r in references])
    assert sum(found.edits) == found.substituted.total() + found.missing.total() + found.added.total()
    rate = 100 * sum(found.edits) / found.seen.total()
    texts = [" ".join(o) for o in outputs], [[" ".join(r)] for r in references]
    assert evaluate(*texts, ["per"])["per"].score == pytest.approx(rate)


def test_lengths_are_those_of_the_nearest_references() -> None:
    found = confusions([list("abcdez")], [[list("abcdef"), list("a")]])
    assert (found.edits, found.lengths) == ([1], [6])
