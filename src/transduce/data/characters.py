"""What characters tell of a text: which alphabets it is in, and whether it was decoded wrongly. Pure."""

import re
import unicodedata

REPLACEMENT = re.compile("\ufffd")
"""U+FFFD stands where a decoder gave up: what was there is lost."""

CONTROL = re.compile("[\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
"""Control characters that are not white space: NUL and others that no text has, and the upper ones of Latin-1, which
are the punctuation of Windows-1252 read as Latin-1."""

ZERO_WIDTH = re.compile("[\u200b-\u200d\u2060\ufeff]")
"""Marks without a width. Persian, Indic scripts and emoji need the joiners among them."""

DIRECTIONAL = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Marks of the direction of writing, which belong to Arabic and Hebrew text."""

# Bytes 0x80 to 0xBF as Latin-1 and as Windows-1252 show them: what follows the first byte of a character in UTF-8.
_REST = "\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"  # noqa: RUF001 - they are meant
_MARKS = f"[{_REST}]"

MOJIBAKE = re.compile(
    f"Ã[¡-ª¬-º¼-¿]|Ã{_MARKS}(?=\\w)"  # é as Ã©; before punctuation, à la AMANHÃ…, only within a word
    f"|Â[\x80-\x9f¡-ª¬-º¼-¿]|â[€\x80]|ï»¿"  # the signs of Latin-1; dashes and quotes; a byte order mark
    f"|á[º»]{_MARKS}(?=\\w)"  # Vietnamese
    f"|(?:[Ä-ß]{_MARKS}){{2}}|(?:[à-ï]{_MARKS}{_MARKS}){{2}}"  # Cyrillic, Greek, Arabic; Indic, Chinese: two in a row
)
"""UTF-8 that was read as Latin-1 or Windows-1252. Real words that end in a capital with an accent, before quotes or
dots, are not meant: `«CAFÉ»`, `»Spaß«`, `AMANHÃ…`."""

_NAMES = {"CJK": "Han", "CANADIAN": "Canadian Aboriginal", "MEETEI": "Meetei Mayek", "OL": "Ol Chiki"}
_NO_SCRIPT = frozenset({"COMBINING", "MODIFIER", "VARIATION", "MICRO", "FEMININE", "MASCULINE", "DOUBLE-STRUCK"})
_FORMS = frozenset({"FULLWIDTH", "HALFWIDTH"})


def script(character: str) -> str:
    """The alphabet of a letter, as `Latin` or `Devanagari`; empty for what is no letter, or of no single alphabet.

    It is the first word of the letter's name in the Unicode Standard: the standard library knows names, no scripts.
    """
    if unicodedata.category(character)[0] not in "LM":
        return ""
    first, *others = unicodedata.name(character, "").split(" ")
    if first in _FORMS and others:
        first = others[0]
    return "" if first in _NO_SCRIPT else _NAMES.get(first, first.capitalize())


def is_broken(text: str) -> bool:
    """Whether `text` has a mark of a wrong encoding."""
    if CONTROL.search(text):
        return True
    return not text.isascii() and bool(REPLACEMENT.search(text) or MOJIBAKE.search(text))
