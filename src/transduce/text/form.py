"""The form of a line: that it is one, Unicode's normal forms, and the tag `>>de<<` that may stand in front."""

import re
import unicodedata
from typing import Literal, assert_never

from transduce.errors import ConfigError
from transduce.text.pieces import TAGS

Normal = Literal["none", "nfc", "nfkc"]

LETTER = r"[\w\p{M}\u200c\u200d]"
"""For the module `regex`: what words are made of, a letter's marks and what joins it to the next or not included."""

DOTLESS_I = "\N{LATIN SMALL LETTER DOTLESS I}"
"""The letter of Turkish and its kin whose capital is I; that of i is İ there."""

_LINE_BREAKS = re.compile(r"[\r\n]+")
_TAG = re.compile(r">>([\w-]+)<< ?")


def one_line(text: str) -> str:
    """`text` without line breaks at its end; those inside become a space."""
    return _LINE_BREAKS.sub(" ", text.rstrip("\r\n"))


def normalise(text: str, form: Normal) -> str:
    """`text` in Unicode's normal form C or KC; or as it is."""
    match form:
        case "none":
            return text
        case "nfc":
            return unicodedata.normalize("NFC", text)
        case "nfkc":
            return unicodedata.normalize("NFKC", text)
        case _:
            assert_never(form)


def check_tags(tags: tuple[str, ...]) -> None:
    """Raise `ConfigError` for a tag that cannot be written as `>>tag<<`, or more of them than there are pieces for."""
    for tag in tags:
        if not _TAG.fullmatch(f">>{tag}<<"):
            raise ConfigError(f"tag {tag!r}: letters, digits, - and _ only, as in >>de<<.")
    if len(set(tags)) > len(TAGS):
        raise ConfigError(f"{len(set(tags))} tags ({', '.join(tags)}): a vocabulary has pieces for {len(TAGS)}.")


def put_tag(text: str, tag: str) -> str:
    """`text` with `>>tag<<` in front; as it is when it is blank or the tag is empty."""
    return f">>{tag}<< {text}" if tag and text.strip() else text


def split_tag(text: str) -> tuple[str, str]:
    """The tag in front of `text`, empty if there is none, and the rest."""
    match = _TAG.match(text)
    return (match[1], text[match.end() :]) if match else ("", text)
