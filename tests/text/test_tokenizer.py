"""Laws of the tokenizers: nothing is lost, nothing special comes from text, the same data gives the same model."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transduce.errors import BundleError, ConfigError, DataError, SaveError
from transduce.text.pieces import IDS, PLACEHOLDERS, TAGS
from transduce.text.tokenizer import Kind, Tokenizer, TokenizerConfig, TokenizerPair, train_tokenizers

pytestmark = pytest.mark.unit

LINES = [
    "A dog runs through the snow.",
    "Two dogs are running in the park, and a man in a red shirt watches them.",
    "Ein Hund läuft durch den Schnee.",
    "Zwei Männer in roten Hemden sitzen im Park und sehen den Hunden zu.",
    "犬が雪の中を走る。",
] * 4
KINDS: tuple[Kind, ...] = ("bpe", "unigram", "characters", "words", "tagged")
RAW: tuple[Kind, ...] = ("bpe", "unigram", "characters", "tagged")
SYMBOLS = ["AA", "B", "CH", "|", "ж", "犬", "$&%"]

raw_tokenizers = {kind: Tokenizer.train(LINES, kind, 400, pretokenised=False) for kind in RAW}
words = Tokenizer.train([" ".join(SYMBOLS)], "words", 400, pretokenised=True)

# Any Unicode text, and text of what could be mistaken for something else.
hostile = ["▁", "  ", " ", *PLACEHOLDERS, *TAGS, "<s>", "</s>", "<unk>", "<pad>", "<0x41>", "\0", "\ufeff", "dog", "▅"]
texts = st.text() | st.lists(st.sampled_from(hostile) | st.text(max_size=3), max_size=8).map("".join)


@pytest.mark.parametrize("kind", RAW)
@given(text=texts)
@example(text="")
@example(text=" a  dog ")
@example(text="👩‍👩‍👧‍👦 naïve e\u0301 \u2028 \r")
@example(text="▁ and its stand-in \U0010ffff▁")
@settings(max_examples=60, deadline=None)
def test_decode_restores_any_raw_text(kind: Kind, text: str) -> None:
    tokenizer = raw_tokenizers[kind]
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("kind", RAW)
@given(text=texts)
@settings(max_examples=30, deadline=None)
def test_no_text_gives_a_special_id(kind: Kind, text: str) -> None:
    tokenizer = raw_tokenizers[kind]
    special = {IDS.pad, IDS.unk, IDS.bos, IDS.eos} | {i for i in range(20) if tokenizer.id_to_piece(i) in TAGS}
    assert len(special) == 12
    assert special.isdisjoint(tokenizer.encode(text))


@given(rows=st.lists(texts, max_size=5))
@settings(max_examples=30, deadline=None)
def test_a_batch_is_its_texts_one_by_one(rows: list[str]) -> None:
    tokenizer = raw_tokenizers["bpe"]
    for many in (rows, rows * 64):  # more than 64 go another way
        assert tokenizer.encode_batch(many) == [tokenizer.encode(text) for text in many]


def test_a_stand_in_is_never_a_known_character() -> None:
    frequent = Tokenizer.train(["\U0010ffff \U0010fffe dog"] * 20, "bpe", 400, pretokenised=False)
    assert IDS.unk not in frequent.encode("\U0010ffff")
    for text in ("▁", "▁\U0010ffff▁\U0010fffe", "a▁\U0010fffdb"):
        assert frequent.decode(frequent.encode(text)) == text


@given(symbols=st.lists(st.sampled_from([*SYMBOLS, *PLACEHOLDERS]), max_size=12))
@settings(max_examples=50, deadline=None)
def test_words_are_one_id_each_and_joined_by_single_spaces(symbols: list[str]) -> None:
    ids = words.encode(" ".join(symbols))
    assert len(ids) == len(symbols)
    assert IDS.unk not in ids
    assert words.decode(ids) == " ".join(symbols)
    assert words.encode("  ".join(["", *symbols, ""])) == ids


def test_unknown_words_are_unk() -> None:
    ids = words.encode("AA ZZ B")
    assert ids[1] == IDS.unk
    assert words.decode(ids) == "AA ⁇ B"


def test_a_vocabulary_of_words_keeps_the_most_frequent() -> None:
    limited = Tokenizer.train(["a a a b b c"], "words", 20 + 2, pretokenised=True)
    assert [i == IDS.unk for i in limited.encode("a b c")] == [False, False, True]


def test_characters_are_one_id_each_spaces_too() -> None:
    text = "a dog  runs"
    assert len(raw_tokenizers["characters"].encode(text)) == len(text)


def test_tags_are_one_piece_each_and_lemmas_are_spelled() -> None:
    lines = ["Vogel V;PST", "gehen aus V;PRS;3", "x", "SG;", "a ;", "b N;;SG"]
    tokenizer = Tokenizer.train(lines, "tagged", 400, pretokenised=False)
    assert tokenizer.pieces(tokenizer.encode("ausgehen V;3;PST")) == [*"ausgehen", "▁V", ";3", ";PST"]
    assert tokenizer.pieces(tokenizer.encode("geh aus V;PRS")) == [*"geh▁aus", "▁V", ";PRS"]
    assert tokenizer.pieces(tokenizer.encode("V N;SG")) == ["V", "▁N", ";SG"]
    for text in (*lines, "V V;NEW", "a;b  V;PST ", ";PST"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_more_tags_than_fit_are_an_error() -> None:
    lines = [f"a {i}" for i in range(200)]
    with pytest.raises(
        ConfigError, match=r"477 pieces are reserved .*, 201 found in the text\), so it must be at least 479"
    ):
        Tokenizer.train(lines, "tagged", 300, pretokenised=False)
    assert Tokenizer.train(lines, "tagged", 600, pretokenised=False).size <= 600


@pytest.mark.parametrize("kind", RAW)
def test_placeholders_are_one_piece_and_tags_decode_to_nothing(kind: Kind) -> None:
    tokenizer = raw_tokenizers[kind]
    for placeholder in PLACEHOLDERS:
        ids = tokenizer.encode(f"a{placeholder}dog")
        assert tokenizer.pieces(ids).count(placeholder) == 1
    tag = next(i for i in range(tokenizer.size) if tokenizer.id_to_piece(i) == TAGS[0])
    assert tokenizer.decode([tag, IDS.bos, *tokenizer.encode("a dog"), IDS.eos, IDS.pad]) == "a dog"


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_deterministic_and_silent(kind: Kind, capfd: pytest.CaptureFixture[str]) -> None:
    first = Tokenizer.train(iter(LINES), kind, 400, pretokenised=False)
    assert Tokenizer.train(iter(LINES), kind, 400, pretokenised=False).to_bytes() == first.to_bytes()
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


@pytest.mark.parametrize("pretokenised", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_size_is_an_upper_limit(kind: Kind, pretokenised: bool) -> None:
    small = Tokenizer.train(LINES, kind, 300, pretokenised)
    assert small.size <= 300
    assert Tokenizer.train(LINES, kind, 8000, pretokenised).size < 2000  # what the data supports


def test_more_characters_than_fit_are_spelled_in_bytes() -> None:
    every_character_once = ["".join(map(chr, range(0x4E00, 0x4E00 + 500)))] + ["the dog"] * 50
    tokenizer = Tokenizer.train(every_character_once, "bpe", 320, pretokenised=False)
    assert tokenizer.size <= 320
    assert tokenizer.decode(tokenizer.encode(every_character_once[0])) == every_character_once[0]
    assert tokenizer.pieces(tokenizer.encode("the dog")) == ["▁the", "▁dog"]


def test_the_spaces_of_pretokenised_text_are_its_only_boundaries() -> None:
    lines = ["ab2.c x"] * 50
    pretokenised = Tokenizer.train(lines, "bpe", 400, pretokenised=True)
    assert pretokenised.pieces(pretokenised.encode("ab2.c x")) == ["▁ab2.c", "▁x"]
    raw = Tokenizer.train(lines, "bpe", 400, pretokenised=False)
    assert len(raw.encode("ab2.c")) > 1


def test_pretokenised_text_has_unk_and_no_bytes() -> None:
    tokenizer = Tokenizer.train(["a dog runs"] * 5, "bpe", 400, pretokenised=True)
    assert tokenizer.size < 256
    assert IDS.unk in tokenizer.encode("犬")
    assert tokenizer.decode(tokenizer.encode("a dog")) == "a dog"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "tagged"])  # to that, ` dog` is a tag
@pytest.mark.parametrize("text", ["dog " * 20_000, "dog" * 20_000, "\0dog \t▁▅ dog"])
def test_training_takes_lines_that_sentencepiece_would_leave_out(kind: Kind, text: str) -> None:
    tokenizer = Tokenizer.train([text], kind, 400, pretokenised=False)
    assert tokenizer.size > (276 if kind != "words" else 20)
    if kind != "words":
        assert "d" in "".join(tokenizer.pieces(range(276, tokenizer.size)))


@pytest.mark.parametrize("pretokenised", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@given(lines=st.lists(texts, min_size=1, max_size=4))
@example(lines=["<unk>"])
@example(lines=["a<s><s>b"] * 9)
@settings(max_examples=15, deadline=None)
def test_any_text_can_be_trained_on_or_is_an_error(kind: Kind, pretokenised: bool, lines: list[str]) -> None:
    try:
        tokenizer = Tokenizer.train(lines, kind, 300, pretokenised)
    except DataError:
        return
    assert tokenizer.size <= 300
    if kind != "words" and not pretokenised:
        assert [tokenizer.decode(ids) for ids in tokenizer.encode_batch(lines)] == lines


@pytest.mark.parametrize(("kind", "line"), [("characters", "<unk>"), ("words", "\0")])
def test_text_without_a_usable_character_is_an_error(kind: Kind, line: str) -> None:
    with pytest.raises(DataError, match="nothing to learn pieces from"):
        Tokenizer.train([line], kind, 300, pretokenised=True)


@pytest.mark.parametrize("lines", [[], ["", "  "]])
def test_no_text_to_train_on_is_an_error(lines: list[str]) -> None:
    with pytest.raises(DataError, match="every line is empty"):
        Tokenizer.train(lines, "bpe", 400, pretokenised=False)


@pytest.mark.parametrize(
    ("kind", "pretokenised", "least"), [("bpe", False, 278), ("bpe", True, 22), ("words", False, 22)]
)
def test_a_size_without_room_for_the_data_is_an_error_that_names_the_least(
    kind: Kind, pretokenised: bool, least: int
) -> None:
    with pytest.raises(ConfigError, match=f"at least {least}"):
        Tokenizer.train(LINES, kind, least - 1, pretokenised)
    assert Tokenizer.train(LINES, kind, least, pretokenised).size <= least


def test_lone_surrogates_are_an_error() -> None:
    for kind in RAW:
        with pytest.raises(DataError, match="surrogate"):
            raw_tokenizers[kind].encode("a \ud800")
    with pytest.raises(DataError, match="surrogate"):
        Tokenizer.train(["a \ud800"], "bpe", 400, pretokenised=False)


@pytest.mark.parametrize("i", [-1, 10_000, 2**40])
def test_ids_out_of_range_are_an_error(i: int) -> None:
    tokenizer = raw_tokenizers["bpe"]
    with pytest.raises(IndexError):
        tokenizer.decode([i])
    with pytest.raises(IndexError):
        tokenizer.id_to_piece(i)


# ---- files


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    tokenizer = raw_tokenizers["bpe"]
    tokenizer.save(tmp_path / "tokenizer.model")
    loaded = Tokenizer.load(tmp_path / "tokenizer.model")
    assert loaded.to_bytes() == tokenizer.to_bytes() == Tokenizer(tokenizer.to_bytes()).to_bytes()
    assert loaded.encode("a dog ▁") == tokenizer.encode("a dog ▁")
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.model"]


@given(share=st.floats(0, 1, exclude_max=True))
@example(share=0.0)
@settings(max_examples=50, deadline=None)
def test_a_truncated_model_is_an_error(share: float) -> None:
    model = raw_tokenizers["bpe"].to_bytes()
    with pytest.raises(BundleError, match="truncated"):
        Tokenizer(model[: int(len(model) * share)])


@pytest.mark.parametrize("model", [b"not a model at all", b"\0" * 1000])
def test_a_foreign_file_is_an_error(model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(model)
    with pytest.raises(BundleError, match=r"tokenizer\.model: not a SentencePiece model"):
        Tokenizer.load(path)


def test_models_with_other_special_ids_are_an_error(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("\n".join(LINES))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(tmp_path / "m"), vocab_size=60, hard_vocab_limit=False, minloglevel=2
    )
    with pytest.raises(BundleError, match=r"m\.model: .*trained by transduce"):
        Tokenizer.load(tmp_path / "m.model")


def test_a_missing_model_and_a_folder_are_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "no.model", tmp_path):
        with pytest.raises(BundleError, match="cannot read"):
            Tokenizer.load(path)


def test_a_model_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="cannot be written"):
        raw_tokenizers["bpe"].save(tmp_path / "missing" / "tokenizer.model")


# ---- pairs

PAIRS = [("AA B CH", "a b c"), ("CH B", "c b")]


def test_a_joint_pair_is_one_tokenizer_on_both_sides(tmp_path: Path) -> None:
    pair = train_tokenizers(iter(PAIRS), TokenizerConfig(source="words", target="words"), pretokenised=True)
    assert pair.joint
    assert pair.source is pair.target
    assert IDS.unk not in pair.source.encode("AA B CH a b c")
    pair.save(tmp_path)
    loaded = TokenizerPair.load(tmp_path)
    assert loaded.joint
    assert loaded.source.to_bytes() == pair.source.to_bytes()


def test_separate_sides_know_their_own_words_only(tmp_path: Path) -> None:
    config = TokenizerConfig(source="characters", target="words", joint=False)
    pair = train_tokenizers(iter(PAIRS), config, pretokenised=True)
    assert not pair.joint
    assert IDS.unk not in pair.source.encode("HBCA A")
    assert IDS.unk not in pair.target.encode("a b c")
    assert pair.target.encode("AA") == [IDS.unk]
    joint = train_tokenizers(iter(PAIRS), TokenizerConfig(source="words", target="words"), pretokenised=True)
    joint.save(tmp_path)
    pair.save(tmp_path)
    loaded = TokenizerPair.load(tmp_path)
    assert loaded.source.to_bytes() == pair.source.to_bytes()
    assert loaded.target.to_bytes() == pair.target.to_bytes()


def test_a_pair_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no tokenizer here"):
        TokenizerPair.load(tmp_path)
    words.save(tmp_path / "source.model")
    with pytest.raises(BundleError, match=r"target\.model"):
        TokenizerPair.load(tmp_path)


# ---- config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 20}, "20 pieces are reserved"),
        ({"size": -1}, "tokenizer.size = -1"),
        ({"source": "characters", "target": "words"}, "joint = false"),
        ({"source": "tagged", "target": "tagged"}, "tokenizer.target = 'tagged': tags are read, not written"),
        ({"dropout": 1.0}, "tokenizer.dropout = 1.0: a probability"),
        ({"sampling": -0.1}, "tokenizer.sampling = -0.1: an exponent"),
        ({"sampling": 0.1}, "tokenizer.sampling = 0.1: it is of unigram pieces, but source is 'bpe' and target is"),
        ({"dropout": 0.1, "source": "words", "target": "words"}, "tokenizer.dropout = 0.1: it is of bpe pieces"),
    ],
)
def test_impossible_configs_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TokenizerConfig(**options)


@pytest.mark.parametrize("side", ["source", "target"])
def test_unknown_kinds_are_errors_without_a_type_checker_too(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    options: dict[str, Any] = {side: "wordpiece"}
    with pytest.raises(
        ConfigError, match=f"tokenizer.{side} = 'wordpiece': choose one of bpe, unigram, characters, words"
    ):
        TokenizerConfig(**options)


# ---- draws

WORDS = LINES[0].removesuffix(".").split()


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_draws_follow_from_the_seed_and_decode_to_the_text(kind: Kind) -> None:
    tokenizer, words = raw_tokenizers[kind], WORDS * 5
    assert tokenizer.kind_of_draws == kind
    first = tokenizer.draw(words, 0.3, seed=1)
    assert tokenizer.draw(words, 0.3, seed=1) == first
    assert tokenizer.draw(words, 0.3, seed=2) != first
    assert [tokenizer.decode(row) for row in first] == words
    assert len({tuple(row) for row in first}) > len(set(words))


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_draws_are_the_same_in_every_process(kind: Kind, tmp_path: Path) -> None:
    raw_tokenizers[kind].save(tmp_path / "a.model")
    script = (
        "import sys; from pathlib import Path; from transduce.text.tokenizer import Tokenizer\n"
        "print(Tokenizer.load(Path(sys.argv[1])).draw(sys.argv[2:], 0.3, seed=1))"
    )
    said = subprocess.check_output([sys.executable, "-c", script, tmp_path / "a.model", *WORDS], text=True)
    assert said.strip() == str(raw_tokenizers[kind].draw(WORDS, 0.3, seed=1))


def test_other_kinds_have_nothing_to_draw() -> None:
    assert {t.kind_of_draws for t in (raw_tokenizers["characters"], raw_tokenizers["tagged"], words)} == {"none"}


def test_ordinary_pieces_are_those_of_text() -> None:
    tokenizer = raw_tokenizers["bpe"]
    ordinary = tokenizer.are_parts_of_words()
    assert len(ordinary) == tokenizer.size
    assert all(ordinary[i] for i in tokenizer.encode("A dog runs"))
    others = [*range(4), *map(tokenizer.piece_to_id, [*TAGS, *PLACEHOLDERS, "<0x41>"])]
    assert not any(ordinary[i] for i in others)


# ---- real data


def test_multi30k_is_restored_and_pretokenised_pieces_stay_inside_tokens(benchmark_data: Path) -> None:
    from transduce.data.corpus import read_lines

    for suffix, pretokenised in (("", False), ("lc.norm.tok.", True)):
        lines = list(read_lines(benchmark_data / f"multi30k/train.{suffix}de.gz"))[:3000]
        tokenizer = Tokenizer.train(lines, "bpe", 2000, pretokenised)
        assert tokenizer.size == 2000
        assert [tokenizer.decode(ids) for ids in tokenizer.encode_batch(lines)] == lines
        assert all("▁" not in tokenizer.id_to_piece(i)[1:] for i in range(20, tokenizer.size))
