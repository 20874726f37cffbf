"""The batches of the benchmarks: those that other toolkits were first measured on, cut as they say."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from benchmarks.batches import FIRST_WORD, Pair, buckets, captions, drawn, padding, read, spread, target_tokens, write

pytestmark = pytest.mark.unit


def test_drawn_as_the_script_that_measured_the_peers_draws() -> None:
    """Golden: 195 and 99 sentences, from 19 and 30 words on, with 4,095 and 4,059 target tokens."""
    first, second = drawn(37_000, 4096, 2)
    assert (len(first), len(second)) == (195, 99)
    assert ([len(s) for s, _ in first[:3]], [len(s) for s, _ in second[:3]]) == ([19, 20, 20], [30, 30, 30])
    assert [target_tokens([batch]) for batch in (first, second)] == [4095, 4059]
    assert drawn(37_000, 4096, 2) == [first, second]


@pytest.mark.parametrize("max_tokens", [128, 1000])
def test_within_the_budget_and_the_vocabulary(max_tokens: int) -> None:
    last = 0
    for batch in drawn(50, max_tokens, 4):
        longest = max(len(target) for _, target in batch)
        assert len(batch) * (longest + 1) <= max_tokens
        assert last <= min(len(target) for _, target in batch)
        last = longest
        assert all(FIRST_WORD <= i < 50 for pair in batch for side in pair for i in side)


def test_every_pair_is_in_one_bucket_but_for_the_rest() -> None:
    sources, targets = np.array([3, 1, 2, 5, 4]), np.array([4, 2, 4, 4, 9])
    assert buckets(sources, targets, 10) == [[1, 2], [0, 3]]  # the longest, alone and last, is left out
    assert spread([[0], [1], [2], [3]], 2) == [[1], [3]]


def test_captions_are_ranked_by_frequency(tmp_path: Path) -> None:
    for language, text in (("en", "a b a\nb a\n"), ("de", "x a\ny a a\n")):
        with gzip.open(tmp_path / f"train.lc.norm.tok.{language}.gz", "wt", encoding="utf-8") as file:
            file.write(text * 10)
    (batch,) = captions(tmp_path, FIRST_WORD + 3, 16, 1)  # room for two words and the rare one
    rare, a, b = FIRST_WORD, FIRST_WORD + 1, FIRST_WORD + 2
    assert ([b, a], [rare, a, a]) in batch
    assert all(i in (rare, a, b) for pair in batch for side in pair for i in side)


def test_padding_counted_cell_by_cell() -> None:
    batch: list[Pair] = [([11], [11, 12, 13]), ([11, 12], [13])]
    # sources: 2 + 3 of 2 x 3 positions, targets: 4 + 2 of 2 x 4
    assert padding([batch]) == pytest.approx(1 - (5 + 6) / (6 + 8))


def test_written_and_read(tmp_path: Path) -> None:
    batches = drawn(50, 64, 2)
    write(tmp_path / "b", batches)
    assert read(tmp_path / "b") == batches
