"""The survey against plain counting in memory, and what it makes of hostile input."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transduce.data import survey as module
from transduce.data.cleaning import LEAST_FAR, NEVER_FAR, copied, ratio
from transduce.data.corpus import AlignedFiles, read_pairs
from transduce.data.survey import Lengths, Overlap, Side, survey

pytestmark = pytest.mark.unit

Pair = tuple[str, str]
PIECES = ["a", "the cat", "é", "e\u0301", "Ã©", "\ufffd", "\0", "\r", "\u200b", "\u200f", "漢字", "я", " ", "\t", "1"]
texts = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


def quantile(lengths: Sequence[int], q: int) -> int:
    """The smallest length that q% of the lines do not exceed."""
    return min(n for n in lengths if 100 * sum(m <= n for m in lengths) >= q * len(lengths))


def counted(lengths: list[int]) -> Lengths:
    median, p95, p99 = (quantile(lengths, q) if lengths else 0 for q in (50, 95, 99))
    return Lengths(median=median, p95=p95, p99=p99, longest=max(lengths, default=0))


def check_side(side: Side, lines: list[str]) -> None:
    full = [line for line in lines if line.strip()]
    words = [line.split() for line in full]
    assert (side.lines, side.empty) == (len(full), len(lines) - len(full))
    assert side.characters == sum(map(len, full))
    assert side.words == sum(map(len, words))
    assert side.distinct_characters == len(set().union(*full))
    assert (side.distinct_words, side.more_words) == (len({word for line in words for word in line}), False)
    assert side.character_lengths == counted([len(line) for line in full])
    assert side.word_lengths == counted([len(line) for line in words])
    assert side.short == sum(len(line) <= 3 for line in words)
    assert side.spaced == sum(len(line) > 1 for line in words)
    tagged = [line[-1] for line in words if len(line) > 1 and ";" in line[-1].rstrip(";")]
    assert side.tagged == len(tagged)
    assert side.distinct_tags == len({tag for word in tagged for tag in word.split(";")})
    assert side.replacement == sum("\ufffd" in line for line in full)
    assert side.mojibake == sum("Ã©" in line for line in full)
    assert side.control == sum("\0" in line for line in full)
    assert side.carriage_return == sum("\r" in line for line in full)
    assert side.zero_width == sum("\u200b" in line for line in full)
    assert side.directional == sum("\u200f" in line for line in full)
    assert side.not_nfc == sum(unicodedata.normalize("NFC", line) != line for line in full)
    letters = Counter(
        "Han" if c in "漢字" else "Cyrillic" if c == "я" else "Latin" for line in full for c in line if c.isalpha()
    )
    assert side.scripts == pytest.approx({name: n / letters.total() for name, n in letters.items()})


@given(
    pairs=st.lists(st.tuples(texts, texts), max_size=30),
    dev=st.lists(st.tuples(texts, texts), max_size=5),
    chunk=st.integers(1, 40),
)
@settings(max_examples=40)
def test_the_survey_counts_as_one_would(pairs: list[Pair], dev: list[Pair], chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        found = survey(pairs, dev=dev, test=pairs[:3])
    full = [(s, t) for s, t in pairs if s.strip() and t.strip()]
    sources = {s for s, _ in full}
    assert (found.pairs, found.empty) == (len(pairs), len(pairs) - len(full))
    check_side(found.source, [s for s, _ in pairs])
    check_side(found.target, [t for _, t in pairs])
    assert found.distinct_sources == len(sources)
    assert found.ambiguous_sources == sum(len({t for u, t in full if u == s}) > 1 for s in sources)
    assert found.targets_per_source == len(set(full)) / max(1, len(sources))
    assert found.duplicates == len(full) - len(set(full))
    assert found.copied == sum(s.strip() == t.strip() for s, t in full)
    assert found.copied_sentences == sum(copied(s, t) for s, t in full)
    assert found.odd_ratios == sum(ratio(s, t, found.usual) for s, t in full)
    assert found.dev_in_train == Overlap(
        pairs=len(set(dev)),
        sources=len({s for s, _ in dev}),
        shared_pairs=len(set(dev) & set(full)),
        shared_sources=len({s for s, _ in dev} & sources),
    )
    assert found.test_in_dev is not None
    assert found.test_in_dev.shared_pairs == len(set(pairs[:3]) & set(dev))


def test_without_other_sets_there_is_no_overlap() -> None:
    found = survey([("a", "b")])
    assert found.dev_in_train is found.test_in_train is found.test_in_dev is None
    assert survey([("a", "b")], test=[]).test_in_train == Overlap(pairs=0, sources=0, shared_pairs=0, shared_sources=0)


def test_it_does_not_depend_on_the_process_or_the_order() -> None:
    pairs = [(f"w{i % 97} and some more words", f"v{i % 89} und noch einige Wörter mehr") for i in range(500)]
    one, other = survey(pairs), survey(pairs[::-1])
    for field in fields(one):
        if field.name != "length_correlation":
            assert getattr(one, field.name) == getattr(other, field.name), field.name
    assert one.length_correlation == pytest.approx(other.length_correlation)


# ---- what is usual


def sentences(n: int, seed: int = 0) -> list[Pair]:
    random = np.random.default_rng(seed)
    lengths = random.integers(5, 30, n)
    return [
        (
            " ".join(f"word{random.integers(999)}" for _ in range(length)),
            " ".join(f"wort{random.integers(999)}" for _ in range(length + random.integers(0, 3))),
        )
        for length in lengths
    ]


def test_the_usual_ratio_is_the_median_and_few_pairs_are_far_from_it() -> None:
    pairs = sentences(400)
    found = survey([*pairs, (pairs[0][0][:70], pairs[0][1] * 20)])
    ratios = [np.log(len(t) / len(s)) for s, t in pairs]
    assert found.usual.ratio == pytest.approx(100 * np.median(ratios), abs=1)
    assert found.usual.far == LEAST_FAR
    assert found.odd_ratios == 1
    lengths = np.log([[len(s), len(t)] for s, t in pairs])
    assert survey(pairs).length_correlation == pytest.approx(np.corrcoef(lengths.T)[0, 1], abs=1e-6)


def test_a_corpus_that_spreads_has_no_odd_ratios() -> None:
    random = np.random.default_rng(1)
    pairs = [("x" * 100, "y" * int(100 * np.exp(random.normal(0, 1)))) for _ in range(500)]
    found = survey(pairs)
    assert found.usual.far > 2 * LEAST_FAR
    assert found.odd_ratios == 0


def test_of_a_few_pairs_nothing_is_usual() -> None:
    found = survey([*sentences(98), ("x" * 100, "y" * 5000)])
    assert (found.usual.far, found.odd_ratios) == (NEVER_FAR, 0)


def test_prose_and_when_copies_are_odd() -> None:
    prose = sentences(300)
    words = [(f"w{i}", " ".join(f"P{i % 7}{j}" for j in range(9))) for i in range(300)]
    few, many = [(s, s) for s, _ in prose[:20]], [(s, s) for s, _ in prose]
    assert survey(prose + few).usual.copies_are_odd
    assert not survey(prose + many).usual.copies_are_odd, "copying is what this corpus is about"
    assert not survey(words).usual.copies_are_odd
    found = survey(words)
    assert (found.source.is_prose, found.target.is_prose) == (False, False)
    chinese = survey([("漢" * 25 + chr(0x4E00 + i), s) for i, (s, _) in enumerate(prose)])
    assert chinese.source.is_prose


# ---- what is capped


def test_more_words_than_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WORDS", 10)
    exact = survey([(f"w{i}", "x") for i in range(10)]).source
    assert (exact.distinct_words, exact.more_words) == (10, False)
    more = survey([(f"w{i}", "x") for i in range(11)]).source
    assert (more.distinct_words, more.more_words, more.words) == (10, True, 11)


def test_lengths_that_are_not_told_apart_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST", (10, 10))
    side = survey([("x" * n, "y") for n in (3, 9, 50)]).source
    assert side.character_lengths == Lengths(median=50, p95=50, p99=50, longest=50)
    side = survey([("x" * n, "y") for n in (3, 8, 50)]).source
    assert side.character_lengths == Lengths(median=8, p95=50, p99=50, longest=50)


# ---- hostile input


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("", "")],
        [(" ", "x")] * 3,
        [("a", "b")],
        [("a", "b")] * 5000,
        [("same line on both sides", "same line on both sides")] * 300,
        [("x" * 100_000, "y z " * 25_000)] * 30,
        [("\0" * 40, "\ufeff" * 40)] * 200,
        [("\U0010ffff\U000e0001", "\u0378\ue000")] * 2,
    ],
    ids=["nothing", "blank", "one side", "one pair", "all the same", "copies", "long lines", "no text", "unassigned"],
)
def test_hostile_corpora_are_surveyed(pairs: list[Pair]) -> None:
    found = survey(pairs, dev=pairs[:1], test=pairs[:1])
    full = [(s, t) for s, t in pairs if s.strip() and t.strip()]
    assert (found.pairs, found.pairs - found.empty) == (len(pairs), len(full))
    assert found.duplicates == len(full) - len(set(full))
    assert found.odd_ratios == 0


def test_mixed_line_ends(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"a\r\nb\nc\rd\n\r\n")
    (tmp_path / "t").write_bytes(b"1\n2\r\n3\n4")
    found = survey(read_pairs(AlignedFiles(source=tmp_path / "s", target=tmp_path / "t")))
    assert (found.pairs, found.empty, found.source.carriage_return, found.target.carriage_return) == (4, 1, 1, 0)


def test_lengths_that_are_all_the_same_say_nothing_about_belonging_together() -> None:
    assert survey([(f"{i:020}", f"{i:04}") for i in range(50)]).length_correlation is None
