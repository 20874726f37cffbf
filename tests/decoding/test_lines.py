import re
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transduce.decoding.lines import batches, cut, windows

pytestmark = pytest.mark.unit


def test_windows_are_bounded_by_lines_and_by_characters() -> None:
    lines = ["aa", "bb", "cc", "dddddddd", "e", "", "f"]
    assert list(windows(lines, most_lines=3, most_characters=100)) == [lines[:3], lines[3:6], lines[6:]]
    assert list(windows(lines, most_lines=9, most_characters=8)) == [lines[:4], lines[4:]]
    assert list(windows([], most_lines=3, most_characters=100)) == []


def test_windows_read_no_further_than_needed() -> None:
    read = []

    def lines() -> Iterator[str]:
        for i in range(10):
            read.append(i)
            yield "x" * 5

    found = windows(lines(), most_lines=4, most_characters=100)
    assert not read
    next(found)
    assert read == [0, 1, 2, 3]


def test_lines_before_an_error_come_before_it() -> None:
    def lines() -> Iterator[str]:
        yield from "abc"
        raise ValueError("a broken line")

    found = windows(lines(), most_lines=2, most_characters=100)
    assert [next(found), next(found)] == [["a", "b"], ["c"]]
    with pytest.raises(ValueError, match="a broken line"):
        next(found)


@given(st.lists(st.integers(0, 60)), st.integers(1, 200), st.integers(1, 9))
def test_batches_hold_every_row_once_within_their_budget(lengths: list[int], tokens: int, rows: int) -> None:
    found = batches(lengths, most_tokens=tokens, most_rows=rows)
    assert sorted(i for batch in found for i in batch) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) <= rows
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= tokens
    in_order = [lengths[i] for batch in found for i in batch]
    assert in_order == sorted(in_order, reverse=True)


def test_cut_prefers_sentence_ends_then_spaces_then_anywhere() -> None:
    def fits(text: str) -> bool:
        return len(text) <= 12

    assert cut("short", fits) == ["short"]
    assert cut("A b c. D e f! G h", fits) == ["A b c.", "D e f! G h"]
    assert cut('He said "go." Then he went.', fits) == ["He said", '"go."', "Then", "he went."]
    assert cut("one two three four", fits) == ["one two", "three four"]
    assert cut("abcdefghijklmnopqr", fits) == ["abcdefghi", "jklmnopqr"]
    assert cut("你好吗？我很好。谢谢你们大家", fits) == ["你好吗？我很好。", "谢谢你们大家"]  # noqa: RUF001
    assert cut("a dog . a cat .", fits) == ["a dog .", "a cat ."]
    assert cut("3.14159 is pi's value", fits) == ["3.14159 is", "pi's value"]
    assert cut("  ", fits) == []


@given(st.text(alphabet="ab .!?\u3000é。", max_size=80), st.integers(1, 12))
def test_cut_loses_only_spaces_and_every_part_fits(text: str, most: int) -> None:
    parts = cut(text, lambda part: len(part) <= most)
    assert all(0 < len(part) <= most and part == part.strip() for part in parts)
    assert re.sub(r"\s", "", "".join(parts)) == re.sub(r"\s", "", text)


def test_what_cannot_be_cut_is_kept() -> None:
    assert cut("ab c", lambda part: False) == ["a", "b", "c"]


def test_a_very_long_line_is_cut_quickly() -> None:
    asked = 0

    def fits(text: str) -> bool:
        nonlocal asked
        asked += len(text)
        return len(text) <= 500

    text = "a. " * 3000 + "word " * 20000
    parts = cut(text, fits)
    assert max(map(len, parts)) <= 500
    assert asked < 20 * len(text)  # each level of halving reads the text once


def test_a_long_run_of_stops_is_cut_quickly() -> None:
    start = time.process_time()
    parts = cut("wait" + "!" * 20_000 + " what", lambda part: len(part) <= 250)
    assert time.process_time() - start < 2
    assert all(len(part) <= 250 for part in parts)
