"""What a line is: laws of line breaks, normal forms and tags."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transduce.errors import ConfigError, DataError
from transduce.text.form import check_tags, normalise, one_line, put_tag, split_tag
from transduce.text.pieces import IDS, TAGS
from transduce.text.tokenizer import Kind, TokenizerConfig, TokenizerPair, train_tokenizers

pytestmark = pytest.mark.unit

text = st.text(st.characters(exclude_categories=["Cs"]))


@given(text)
def test_a_line_is_one_line_and_stays_so(line: str) -> None:
    once = one_line(line)
    assert not {"\n", "\r"} & set(once)
    assert one_line(once) == once
    if not {"\n", "\r"} & set(line):
        assert once == line


def test_line_breaks_inside_become_a_space() -> None:
    assert one_line("a\r\nb\n\nc\rd\r\n") == "a b c d"


@given(text)
def test_normal_forms(line: str) -> None:
    assert normalise(line, "none") == line
    assert unicodedata.is_normalized("NFC", normalise(line, "nfc"))
    assert unicodedata.is_normalized("NFKC", normalise(line, "nfkc"))


@given(line=text, tag=st.sampled_from(["de", "pt-BR", "x_1", "日本"]))
def test_a_tag_that_was_put_in_front_comes_off(line: str, tag: str) -> None:
    tagged = put_tag(line, tag)
    assert split_tag(tagged) == ((tag, line) if line.strip() else split_tag(line))
    assert put_tag(line, "") == line


def test_what_is_no_tag() -> None:
    for line in ("a >>de<< b", " >>de<< b", ">>de< b", ">>d e<< b", "de b", ">><< b"):
        assert split_tag(line) == ("", line)
    assert split_tag(">>de<<dog") == ("de", "dog")
    assert split_tag(">>de<<  dog") == ("de", " dog")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (("d e",), "tag 'd e': letters, digits"),
        (("",), "tag ''"),
        (tuple(f"l{i}" for i in range(9)), r"9 tags \(l0, .*: a vocabulary has pieces for 8"),
    ],
)
def test_tags_that_cannot_be(tags: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_tags(tags)


# ---- tags in a vocabulary

PAIRS = [(">>de<< the dog", "der hund"), (">>fr<< the dog", "le chien"), ("the dog", "hond")]


@pytest.mark.parametrize("kind", ["bpe", "characters", "words"])
@pytest.mark.parametrize("joint", [True, False])
def test_a_tag_is_one_reserved_piece(kind: Kind, joint: bool) -> None:
    config = TokenizerConfig(source=kind, target=kind, joint=joint, size=320)
    pair = train_tokenizers(PAIRS, config, False, ("de", "fr"))
    plain, german, french = pair.encode_sources(["the dog", ">>de<< the dog", ">>fr<< the dog"])
    assert german == [pair.source.piece_to_id(TAGS[0]), *plain]
    assert french == [pair.source.piece_to_id(TAGS[1]), *plain]
    assert pair.source.decode(german) == "the dog"
    assert IDS.unk not in german
    assert pair.encode_sources([">>de<<", ">>de<<  ", ""]) == [[], [], []]
    assert not any("<" in piece for piece in pair.source.pieces(range(280, pair.source.size)))  # a tag is no text
    with pytest.raises(DataError, match=">>it<<, but the tags of this model are >>de<<, >>fr<<"):
        pair.encode_sources(["ok", ">>it<< the dog"])


def test_without_tags_they_are_text() -> None:
    pair = train_tokenizers(PAIRS, TokenizerConfig(size=320), False)
    (ids,) = pair.encode_sources([">>de<< the dog"])
    assert pair.source.decode(ids) == ">>de<< the dog"
    assert pair.split_tag(">>de<< the dog") == ("", ">>de<< the dog")
    assert TokenizerPair(pair.source, pair.target, ("de",)).split_tag(">>de<< a") == (">>de<< ", "a")
