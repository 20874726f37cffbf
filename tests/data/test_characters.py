# ruff: noqa: RUF001 - letters of many alphabets are meant
"""Alphabets against another package's table of Unicode; marks of wrong encodings against text decoded wrongly."""

import unicodedata

import pytest
from fontTools import unicodedata as reference
from hypothesis import given
from hypothesis import strategies as st

from transduce.data.characters import CONTROL, DIRECTIONAL, MOJIBAKE, REPLACEMENT, ZERO_WIDTH, is_broken, script

pytestmark = pytest.mark.unit

ALPHABETS = {
    "Latin", "Greek", "Cyrillic", "Armenian", "Hebrew", "Arabic", "Devanagari", "Bengali", "Tamil", "Thai", "Georgian",
    "Ethiopic", "Cherokee", "Khmer", "Hiragana", "Katakana", "Hangul", "Han", "Tibetan", "Canadian Aboriginal",
}  # fmt: skip
SENTENCES = {
    "fr": "Où est passé le café à la crème ?",
    "de": "Die Bäume stehen schön über der Straße.",
    "pt": "A manhã é de ação — não há razão.",
    "ru": "Привет, как дела?",
    "el": "Καλημέρα σας",
    "ar": "مرحبا بالعالم",
    "hi": "नमस्ते दुनिया",
    "zh": "你好，世界",
    "en": "It’s “quoted”…",
    "vi": "Tiếng Việt rất đẹp",
}


def test_letters_have_the_alphabet_that_unicode_gives_them() -> None:
    """All letters of the alphabets that people are likely to have, but the few that are named after something else."""
    assigned = [c for c in map(chr, range(0x10000)) if unicodedata.category(c)[0] == "L"]
    letters = [c for c in assigned if reference.script_name(reference.script(c)).replace("_", " ") in ALPHABETS]
    odd = [c for c in letters if script(c) != reference.script_name(reference.script(c)).replace("_", " ")]
    assert len(letters) > 40_000
    assert len(odd) < 0.005 * len(letters), "".join(odd)
    common = "abcxyzäößéñøłğαβγωабвяђїאבגابجدकखगกขคあいうアイウ한국어漢字ｆｗｶﾅ"
    assert not set(odd) & set(common)


@pytest.mark.parametrize("character", ["1", " ", ".", "\u0301", "😀", "\0", "ª", "µ", "\u4dff"])
def test_what_is_no_letter_of_one_alphabet_has_none(character: str) -> None:
    assert script(character) == ""


@pytest.mark.parametrize("wrong", ["latin-1", "cp1252"])
@pytest.mark.parametrize("language", SENTENCES)
def test_utf8_that_was_read_wrongly_is_seen(language: str, wrong: str) -> None:
    text = SENTENCES[language]
    assert not is_broken(text)
    assert is_broken(text.encode().decode(wrong, errors="replace"))


@pytest.mark.parametrize("language", ["fr", "de", "pt", "en"])
def test_windows_text_that_was_read_wrongly_is_seen(language: str) -> None:
    raw = SENTENCES[language].encode("cp1252")
    assert is_broken(raw.decode("utf-8", errors="replace"))
    if any(0x80 <= byte < 0xA0 for byte in raw):
        assert is_broken(raw.decode("latin-1"))


@pytest.mark.parametrize(
    "text",
    ["«CAFÉ»", "»Spaß«", "AMANHÃ…", "A “MANHÔ e a “IRMÔ", "ÀÉ — ÈÊ", "NÃO, SÃO", "Âge", "25 °C ±1", "à « droite »",
     "naïve… café”", "„Größe“", "½ ¿Qué?", "tab\there", "form\x0cfeed", "emoji 👩\u200d👩", "می\u200cخواهم", "\ufeffa"],
)  # fmt: skip
def test_real_text_is_not_taken_for_broken(text: str) -> None:
    assert not is_broken(text)


@pytest.mark.parametrize("text", ["a\0b", "a\x07", "\x85x\x96", "\x7f", "a\ufffd", "Ã©", "sÃ»r", "20 Â°C", "itâ€™s"])
def test_marks_of_a_wrong_encoding(text: str) -> None:
    assert is_broken(text)


@given(st.text(st.characters(max_codepoint=0x7E, min_codepoint=0x20)))
def test_plain_ascii_is_never_broken(text: str) -> None:
    assert not is_broken(text)
    assert not any(mark.search(text) for mark in (CONTROL, REPLACEMENT, MOJIBAKE, ZERO_WIDTH, DIRECTIONAL))
