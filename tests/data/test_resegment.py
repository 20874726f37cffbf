"""Pieces that are drawn anew: the same text in every epoch, the same pieces for the same epoch, words alone changed."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from transduce.data.resegment import DRAWS, Resegmented
from transduce.data.shards import Corpus, Pairs, TokenisedCorpus, write_shards
from transduce.errors import ConfigError
from transduce.text.pieces import IDS
from transduce.text.tokenizer import Kind, Tokenizer, TokenizerPair

pytestmark = pytest.mark.unit

TEXT = ["a dog runs through the snow", "two dogs are running in the park", "a man in a red shirt watches dogs", "snow"]
HOSTILE = ["a ｟0｠ dog", "｟1｠dogs running", "the  snow  ", " ▁ park ▁", "犬 dog", "dog犬s", "snow<unk>", "a\nman"]
PAIRS = [(text, text.upper() if i % 2 else text) for i, text in enumerate(TEXT * 5 + HOSTILE)]
LONGEST = 99


def tokenizers(kind: Kind, joint: bool = True, pretokenised: bool = False, tags: tuple[str, ...] = ()) -> TokenizerPair:
    source = Tokenizer.train([side for pair in PAIRS[:20] for side in pair], kind, 380, pretokenised)
    target = source if joint else Tokenizer.train(TEXT + [text.upper() for text in TEXT], "characters", 380, False)
    return TokenizerPair(source, target, tags)


def corpus(folder: Path, pair: TokenizerPair, pairs: list[tuple[str, str]] = PAIRS) -> TokenisedCorpus:
    write_shards(enumerate(pairs, start=1), pair, folder / "train", max_length=LONGEST)
    return TokenisedCorpus.open(folder / "train")


def drawn(shards: TokenisedCorpus, pair: TokenizerPair, max_length: int = LONGEST, seed: int = 1) -> Resegmented:
    kind = pair.source.kind_of_draws
    strengths = {"bpe": (0.5, 0.0), "unigram": (0.0, 0.2)}[kind]
    return Resegmented(shards, pair, dropout=strengths[0], sampling=strengths[1], max_length=max_length, seed=seed)


def ids(pairs: Pairs) -> list[tuple[list[int], list[int]]]:
    rows = [pairs.pair(i) for i in range(len(pairs))]
    assert [len(source) for source, _ in rows] == pairs.source_lengths.tolist()
    assert [len(target) for _, target in rows] == pairs.target_lengths.tolist()
    return [(source.tolist(), target.tolist()) for source, target in rows]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("pretokenised", [False, True])
def test_the_text_stays_and_the_pieces_change(tmp_path: Path, kind: Kind, pretokenised: bool) -> None:
    pair = tokenizers(kind, pretokenised=pretokenised)
    shards = corpus(tmp_path, pair)
    plain, found = ids(shards), [ids(drawn(shards, pair).of_epoch(epoch)) for epoch in range(8)]
    for epoch in found:
        for ours, own in zip(epoch, plain, strict=True):
            for a, b in zip(ours, own, strict=True):
                assert pair.source.decode(a) == pair.source.decode(b)
                assert a.count(IDS.unk) == b.count(IDS.unk)
        assert epoch != plain
    assert all(a != b for i, a in enumerate(found) for b in found[:i])
    assert pretokenised == any(IDS.unk in source for source, _ in plain)


def test_every_epoch_follows_from_its_number_and_the_seed(tmp_path: Path) -> None:
    pair = tokenizers("bpe")
    shards = corpus(tmp_path, pair)
    one, other = drawn(shards, pair), drawn(shards, pair)
    assert isinstance(one, Corpus)
    forwards = [ids(one.of_epoch(epoch)) for epoch in range(4)]
    pair.source.draw(["dogs"] * 99, 0.5, seed=3)  # what the library drew before does not matter
    backwards = [ids(other.of_epoch(epoch)) for epoch in (3, 2, 1, 0)]
    assert forwards == backwards[::-1]
    assert forwards[0] != ids(drawn(shards, pair, seed=2).of_epoch(0))
    assert shards.of_epoch(7) is shards


def test_occurrences_of_a_word_are_drawn_as_if_each_were_alone(tmp_path: Path) -> None:
    pair = tokenizers("bpe")
    shards = corpus(tmp_path, pair, [("running", "dogs")] * 40)
    epochs = drawn(shards, pair)
    epochs_ids = [ids(epochs.of_epoch(epoch)) for epoch in range(200)]
    first = epochs_ids[0]
    assert len({tuple(source) for source, _ in first[:DRAWS]}) > 4
    assert [first[i] for i in range(DRAWS)] == [first[i] for i in range(DRAWS, 2 * DRAWS)]  # in turns
    for place in (0, 17):
        found = Counter(tuple(epoch[place][0]) for epoch in epochs_ids)
        alone = Counter(map(tuple, pair.source.draw(["running"] * 20_000, 0.5, seed=5)))
        for row, n in alone.most_common(3):
            p = n / 20_000
            assert found[row] / 200 == pytest.approx(p, abs=4 * (p * (1 - p) / 200) ** 0.5)


def test_what_is_no_word_stays(tmp_path: Path) -> None:
    pair = tokenizers("bpe", tags=("de",))
    shards = corpus(tmp_path, pair, [(">>de<< ｟0｠ dog", "｟0｠"), (">>de<< running", "犬犬")])
    tag = shards.pair(0)[0][0]
    for epoch in range(5):
        found = ids(drawn(shards, pair).of_epoch(epoch))
        assert [source[0] for source, _ in found] == [tag, tag]
        assert [target for _, target in found] == [target for _, target in ids(shards)]


def test_a_sentence_that_would_get_too_long_keeps_its_pieces(tmp_path: Path) -> None:
    pair = tokenizers("bpe")
    shards = corpus(tmp_path, pair)
    limit = int(np.median(shards.source_lengths)) + 4
    whole, found = ids(drawn(shards, pair).of_epoch(0)), ids(drawn(shards, pair, max_length=limit).of_epoch(0))
    kept = changed = 0
    for own, free, ours in zip(ids(shards), whole, found, strict=True):
        for a, b, c in zip(own, free, ours, strict=True):
            assert c == (a if len(b) > limit else b)
            kept, changed = kept + (len(b) > limit), changed + (c != a)
    assert kept > 0
    assert changed > 0


def test_sides_of_another_kind_stay_and_only_those(tmp_path: Path) -> None:
    pair = tokenizers("bpe", joint=False)
    shards = corpus(tmp_path, pair)
    plain, found = ids(shards), ids(drawn(shards, pair).of_epoch(0))
    assert [target for _, target in plain] == [target for _, target in found]
    assert [source for source, _ in plain] != [source for source, _ in found]


@pytest.mark.parametrize(("kind", "setting"), [("unigram", "dropout"), ("bpe", "sampling"), ("characters", "dropout")])
def test_a_vocabulary_of_another_kind_is_refused(tmp_path: Path, kind: Kind, setting: str) -> None:
    """It may be that of a model to start from, whatever the recipe says."""
    pair = tokenizers(kind)
    strengths = {"dropout": 0.0, "sampling": 0.0} | {setting: 0.1}
    with pytest.raises(ConfigError, match=f"tokenizer.{setting} = 0.1: neither vocabulary is"):
        Resegmented(corpus(tmp_path, pair), pair, **strengths, max_length=LONGEST, seed=1)


def test_several_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = tokenizers("bpe")
    whole = ids(drawn(corpus(tmp_path / "whole", pair), pair).of_epoch(0))
    monkeypatch.setattr("transduce.data.shards.PAIRS_PER_SHARD", 5)
    assert ids(drawn(corpus(tmp_path / "parts", pair), pair).of_epoch(0)) == whole
