"""Random segmentations have the distributions that they are said to have: counted out by hand, and SentencePiece's."""

import math
from collections import Counter
from itertools import islice
from random import Random

import pytest

from transduce.text.draws import by_probability, without_merges
from transduce.text.tokenizer import Kind, Tokenizer

pytestmark = pytest.mark.unit

N = 20_000
RANKS = {"a": -9.0, "b": -9.0, "c": -9.0, "ab": -1.0, "bc": -2.0, "abc": -3.0}
LINES = ["the dogs are running and the cats are not running, they run in the park with other runners"] * 9


def shares(drawn: Counter[tuple[str, ...]]) -> dict[str, float]:
    return {" ".join(pieces): n / N for pieces, n in drawn.items()}


def test_merges_are_left_out_with_their_probability() -> None:
    """`ab` comes first; where it is left out `bc`; `abc` out of what there is then."""
    p = 0.25
    found = shares(Counter(map(tuple, islice(without_merges("abc", RANKS, p, Random(1)), N))))
    assert found == pytest.approx(
        {"abc": (1 - p) ** 2 + p * (1 - p) ** 2, "ab c": (1 - p) * p, "a bc": p * (1 - p) * p, "a b c": p * p}, abs=0.01
    )
    assert next(without_merges("abcab", RANKS, 0.0, Random(1))) == ["abc", "ab"]
    assert next(without_merges("abcab", RANKS, 1.0, Random(1))) == ["a", "b", "c", "a", "b"]


@pytest.mark.parametrize("sampling", [0.0, 0.3, 1.0])
def test_segmentations_have_their_probabilities(sampling: float) -> None:
    logs = {"a": -1.0, "b": -2.0, "c": -1.5, "ab": -2.0, "bc": -3.0, "abc": -4.0}
    weights = {
        ways: math.exp(sampling * sum(logs[piece] for piece in ways.split()))
        for ways in ("a b c", "ab c", "a bc", "abc")
    }
    expected = {ways: weight / sum(weights.values()) for ways, weight in weights.items()}
    found = shares(Counter(map(tuple, islice(by_probability("abc", logs, sampling, Random(1), longest=3), N))))
    assert found == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize(("kind", "strength"), [("bpe", 0.1), ("bpe", 0.4), ("unigram", 0.1), ("unigram", 0.2)])
def test_they_are_distributed_as_sentencepiece_s(kind: Kind, strength: float) -> None:
    tokenizer = Tokenizer.train(LINES, kind, 340, pretokenised=False)
    word = "running"
    ours = Counter(map(tuple, tokenizer.draw([word] * N, strength, seed=1)))
    drawn = tokenizer._processor.encode([word] * N, enable_sampling=True, nbest_size=-1, alpha=strength, num_threads=1)
    theirs = Counter(map(tuple, drawn))
    assert len(ours) > 3
    difference = sum(abs(ours[row] - theirs[row]) for row in ours.keys() | theirs.keys()) / (2 * N)
    assert difference < 0.5 * math.sqrt(len(ours) / N) + 0.01  # what chance makes of it
