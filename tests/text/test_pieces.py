import pytest

from transduce.text.pieces import IDS, PLACEHOLDERS, TAGS

pytestmark = pytest.mark.unit


def test_special_ids_are_four_different_ones() -> None:
    assert (IDS.pad, IDS.unk, IDS.bos, IDS.eos) == (0, 1, 2, 3)


def test_reserved_pieces_are_different_and_have_no_spaces() -> None:
    reserved = PLACEHOLDERS + TAGS
    assert len(set(reserved)) == 16
    assert not any(piece.isspace() or " " in piece for piece in reserved)
