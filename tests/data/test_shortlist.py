"""The lexical shortlist against Model 1 in plain Python, and what its file refuses."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from transduce.data import shortlist as module
from transduce.data.shards import TokenisedCorpus, write_shards
from transduce.data.shortlist import FILE, Shortlist, learn_shortlist, load_shortlist, save_shortlist
from transduce.errors import ConfigError, DataError
from transduce.text.pieces import IDS
from transduce.text.tokenizer import Tokenizer, TokenizerPair

pytestmark = pytest.mark.unit

PAIRS = [
    ("the dog sleeps", "der hund schläft"),
    ("the cat sleeps", "die katze schläft"),
    ("the dog", "der hund"),
    ("a cat sees Otto", "eine katze sieht Otto"),
    ("a dog sees the cat", "ein hund sieht die katze da"),
]
SOURCE, TARGET = (Tokenizer.train([pair[side] for pair in PAIRS], "words", 100, pretokenised=True) for side in (0, 1))
TOKENIZERS = TokenizerPair(SOURCE, TARGET)


@pytest.fixture
def corpus(tmp_path: Path) -> TokenisedCorpus:
    write_shards(list(enumerate(PAIRS, start=1)), TOKENIZERS, tmp_path / "train", max_length=20)
    return TokenisedCorpus.open(tmp_path / "train")


def model_1(rounds: int) -> dict[str, dict[str, float]]:
    """t[source word][target word]; the empty source word is none of them."""
    pairs = [(["", *source.split()], target.split()) for source, target in PAIRS]
    t: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(lambda: 1.0))
    for _ in range(rounds):
        expected: dict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        for source, target in pairs:
            for word in target:
                total = sum(t[other][word] for other in source)
                for other in source:
                    expected[other][word] += t[other][word] / total
        t = {s: {w: c / sum(counts.values()) for w, c in counts.items()} for s, counts in expected.items()}
    return t


def word(piece: int) -> str:
    return TARGET.decode([piece])


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_translations_are_those_of_model_1(
    corpus: TokenisedCorpus, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROUNDS", rounds)
    found = learn_shortlist(corpus, TOKENIZERS, translations=2, frequent=3)
    for source, probable in model_1(rounds).items():
        if not source:
            continue
        [piece] = SOURCE.encode(source)
        given = [word(int(i)) for i in found.translations[piece][:2]]
        best = sorted(probable.values(), reverse=True)[:2]
        assert [probable[w] for w in given] == pytest.approx(best)


def test_the_sure_ones_are_right(corpus: TokenisedCorpus) -> None:
    found = learn_shortlist(corpus, TOKENIZERS, translations=1, frequent=1)
    for source, target in (("dog", "hund"), ("cat", "katze"), ("sleeps", "schläft"), ("sees", "sieht")):
        [piece] = SOURCE.encode(source)
        assert word(int(found.translations[piece][0])) == target


def test_a_list_has_frequent_pieces_translations_and_copies(corpus: TokenisedCorpus) -> None:
    found = learn_shortlist(corpus, TOKENIZERS, translations=1, frequent=2)
    assert {word(int(i)) for i in found.frequent} == {"hund", "katze"}
    listed = found.pieces(SOURCE.encode("Otto sleeps"))
    assert listed.tolist() == sorted(set(listed.tolist()))
    assert {"hund", "katze", "schläft", "Otto"} <= {word(int(i)) for i in listed if i != IDS.eos}
    assert set(found.pieces([]).tolist()) == set(found.frequent.tolist())


def test_more_than_there_are(corpus: TokenisedCorpus) -> None:
    found = learn_shortlist(corpus, TOKENIZERS, translations=50, frequent=500)
    seen = {piece for i in range(len(corpus)) for piece in corpus.pair(i)[1].tolist()}
    assert set(found.frequent.tolist()) == seen
    assert set(found.translations[:, :-1].ravel().tolist()) == {*seen, IDS.eos}


def test_of_a_large_corpus_every_nth_pair(corpus: TokenisedCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CELLS", 30)  # there are 86
    found = learn_shortlist(corpus, TOKENIZERS, translations=3, frequent=50)
    assert {word(int(i)) for i in found.frequent} == {"der", "hund", "schläft", "eine", "katze", "sieht", "Otto"}


def test_numbers_below_one(corpus: TokenisedCorpus) -> None:
    with pytest.raises(ConfigError, match="0 translations and 5 frequent pieces: both must be at least 1"):
        learn_shortlist(corpus, TOKENIZERS, translations=0, frequent=5)


def test_it_is_read_as_it_was_written_for_the_same_pieces_only(tmp_path: Path) -> None:
    one = Shortlist(np.array([5, 4], np.int32), np.array([[3, 5], [6, 3]], np.int32))
    save_shortlist(tmp_path, one, TOKENIZERS)
    found = load_shortlist(tmp_path, TOKENIZERS)
    assert np.array_equal(found.frequent, one.frequent)
    assert np.array_equal(found.translations, one.translations)
    with pytest.raises(DataError, match=r"made for other pieces .* `transduce shortlist`"):
        load_shortlist(tmp_path, TokenizerPair(TARGET, SOURCE))
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-3])
    with pytest.raises(DataError, match=f"{FILE}: not a shortlist"):
        load_shortlist(tmp_path, TOKENIZERS)
    (tmp_path / FILE).unlink()
    with pytest.raises(DataError, match="no shortlist. Make one from its run: `transduce shortlist RUN`"):
        load_shortlist(tmp_path, TOKENIZERS)
