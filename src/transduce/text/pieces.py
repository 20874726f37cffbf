"""Pieces that every vocabulary reserves, and the ids they have."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class SpecialIds:
    """The four ids that mean something to the model. One record, so that nobody writes the numbers again."""

    pad: int = 0
    unk: int = 1
    bos: int = 2
    eos: int = 3


IDS = SpecialIds()

PLACEHOLDERS: tuple[str, ...] = tuple(f"｟{i}｠" for i in range(8))
"""Pieces that stand in text for something to be kept as it is (a number, a name, markup): each is matched as one piece
and comes back as the same text. The brackets are U+FF5F and U+FF60, which ordinary text does not have."""

TAGS: tuple[str, ...] = tuple(f"<tag{i}>" for i in range(8))
"""Pieces that are only ever put in by id (a target language, a domain): no text produces them, and they decode to
nothing, so a sentence that happens to contain `<tag0>` is safe."""
