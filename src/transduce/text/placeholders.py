"""What a translation keeps as it is goes through a model as a placeholder: addresses, numbers, markup, `{name}`.

Such a thing is many rare pieces, of which a small model gets some wrong. `｟0｠` is one piece, and one that training
showed in the place of words whose translation is sure (`data.placeholders`), so it is put where the thing belongs.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import regex

from transduce.text.form import LETTER
from transduce.text.pieces import PLACEHOLDERS

_BARE = r"[^\s<>\"'.,;:!?)\]}\u2019\u201d\u00bb]"  # what an address ends with: the full stop is the sentence's
_MARKUP = (
    r"\{\{[\w.]*\}\}|\{[\w.]*\}|%\(\w+\)[a-z]|%(?:\d+\$)?(?:[sdif]\b|@)|\$\{\w+\}|</?(?:[A-Za-z][^<>]*|\d+/?)>"
    rf"|(?:https?://|\bwww\.)[^\s<>]*{_BARE}/?|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
)
MARKUP = re.compile(_MARKUP)
"""Addresses, tags and what a program fills in."""

_WITHIN = r"[.,:/\u202f\u066b\u066c]"  # a number, between its digits
_NUMBER = (  # 1,000.5 and 9:30, no part of 2nd or 9:30pm
    rf"(?<!{LETTER}|[.,])(?<!\d{_WITHIN})\d+(?:{_WITHIN}\d+)*(?!{LETTER}|{_WITHIN}\d)"
)
DIGIT = re.compile(r"\d")
NUMBER = regex.compile(_NUMBER)
_KEPT = regex.compile(
    rf"｟\d+｠|{_MARKUP}"
    rf"|(?<!{LETTER}|[#@&/])[#@]{LETTER}+"  # who and what is talked of
    rf"|(?<!{LETTER}|-)[A-Z]{{1,5}}-?\d+(?:-\d+)*(?!{LETTER}|-)"  # AB-12
    rf"|{_NUMBER}"
    r"|[\U0001f1e6-\U0001faff\u2600-\u27bf][\ufe0f\u200d\U0001f1e6-\U0001faff]*"  # emoji
)

_PLACEHOLDER = re.compile(f"( ?)({'|'.join(PLACEHOLDERS)})")


def hide(text: str, among: Iterable[str] | None = None) -> tuple[str, list[str]]:
    """`text` with placeholders in the place of what is kept, and what they stand for, in order.

    There are eight: what comes after stays as it is. With `among`, only such things are hidden, each as often as it is
    there.
    """
    things: list[str] = []
    left = None if among is None else Counter(among)

    def placeholder(match: regex.Match[str]) -> str:
        thing = match.group()
        if len(things) == len(PLACEHOLDERS) or (left is not None and not left[thing]):
            return thing
        if left is not None:
            left[thing] -= 1
        things.append(thing)
        return PLACEHOLDERS[len(things) - 1]

    return _KEPT.sub(placeholder, text), things


def cover(text: str, things: Sequence[str]) -> str:
    """`text`, another side or a beginning of it, with the placeholders of `things` that `hide` gave."""
    free = dict(zip(PLACEHOLDERS, things, strict=False))

    def placeholder(match: regex.Match[str]) -> str:
        for name, thing in free.items():
            if thing == match.group():
                del free[name]
                return name
        return match.group()

    return _KEPT.sub(placeholder, text)


def hide_both(source: str, target: str) -> tuple[str, str]:
    """Both sides with the same placeholders for what both have."""
    common = Counter(_KEPT.findall(source)) & Counter(_KEPT.findall(target))
    hidden, things = hide(source, common.elements())
    return hidden, cover(target, things)


def restore(text: str, things: Sequence[str]) -> tuple[str, int]:
    """`text` with every one of `things` once, in the place of its placeholder, and how many had to be put right.

    A placeholder that comes again or stands for nothing is left out; a thing without one is put at the end.
    """
    missing = dict(zip(PLACEHOLDERS, things, strict=False))
    surplus = 0

    def thing(match: re.Match[str]) -> str:
        nonlocal surplus
        space, placeholder = match.groups()
        if placeholder in missing:
            return space + missing.pop(placeholder)
        surplus += 1
        return ""

    found = _PLACEHOLDER.sub(thing, text)
    if not text.startswith(" "):  # one at the beginning has its space behind it
        found = found.removeprefix(" ")
    return " ".join([*([found] if found else []), *missing.values()]), surplus + len(missing)
