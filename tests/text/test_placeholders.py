"""What is kept: what counts, that it comes back as it was, and that both sides of a pair have the same."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transduce.data.augment import foreign
from transduce.text.pieces import PLACEHOLDERS
from transduce.text.placeholders import cover, hide, hide_both, restore

pytestmark = pytest.mark.unit

SOME = st.lists(
    st.sampled_from(
        ["a", " ", "dog", "5", "1,000.5", "{x}", "https://a.b/c.", "｟0｠", "｟9｠", "<b>", ".", "%s", "2nd"]
    )
)


@pytest.mark.parametrize(
    ("text", "things"),
    [
        ("See https://www.example.com/a?b=c, now.", ["https://www.example.com/a?b=c"]),
        ("(www.example.org/x/)", ["www.example.org/x/"]),
        ("Write to x.y@z.co.uk.", ["x.y@z.co.uk"]),
        ("Hello {name}, {{n}} of %d, %(n)s and ${x}", ["{name}", "{{n}}", "%d", "%(n)s", "${x}"]),
        ("%1$s has %@, 100 %damp", ["%1$s", "%@", "100"]),
        ('A <b>bold</b> <a href="x">link</a>', ["<b>", "</b>", '<a href="x">', "</a>"]),
        ("In 2014, 3 of 10,000.5 (5%) at 9:30 for €7.50", ["2014", "3", "10,000.5", "5", "9:30", "7.50"]),
        ("the 2nd of two 3D films, mp3s and H2O", []),
        ("at 9:30pm the 1,000th, 2.4GHz, 8/10/2020a, 1.2.3b", []),
        ("Page:5 of 1\u202f000, 12/", ["5", "1\u202f000", "12"]),
        ("I <3 you and you>, <1>him</1> and <2/>", ["3", "<1>", "</1>", "<2/>"]),
        ("AB-12, A4 and R2-D2", ["AB-12", "A4"]),
        ("@anna says #wow, not C# or a@b", ["@anna", "#wow"]),
        ("#हिन्दी में ३ किताबें", ["#हिन्दी", "३"]),
        ("हिन्दी3 \u0661\u0662\u066b\u0665 كتاب", ["\u0661\u0662\u066b\u0665"]),
        ("fine ❤️ 🎉🎉!", ["❤️", "🎉🎉"]),
        ("her own ｟7｠", ["｟7｠"]),
        ("a < b > c, 50 % sure", ["50"]),
        ("", []),
    ],
)
def test_what_is_kept(text: str, things: list[str]) -> None:
    hidden, found = hide(text)
    assert found == things
    assert hidden.count("｟") == len(things)
    assert restore(hidden, things) == (text, 0)


def test_everything_that_languages_write_alike_is_kept() -> None:
    chance = random.Random(1)
    for _ in range(500):
        thing = foreign(chance)
        assert hide(thing) == (PLACEHOLDERS[0], [thing])


@given(SOME.map("".join))
def test_there_and_back(text: str) -> None:
    hidden, things = hide(text)
    assert len(things) <= len(PLACEHOLDERS)
    if len(things) < len(PLACEHOLDERS) or "｟" not in text:  # beyond eight, those of the text itself stay
        assert restore(hidden, things) == (text, 0)


@pytest.mark.parametrize(
    "part",
    [
        "a",
        "1",
        "1,",
        "1,1x",
        "<a",
        "{",
        "{a",
        "%(",
        "A1-",
        "http://",
        "www.a.",
        "a.",
        "@",
        "x@y.",
        "#",
        "\U0001f600",
        "｟0",
    ],
)
def test_a_long_line_takes_no_longer_than_its_length(part: str) -> None:
    """A pattern that is tried from every letter to the end would take hours, and the test its time limit."""
    line = part * 200_000
    hidden, things = hide(line)
    assert restore(hidden, things) == (line, 0)


def test_after_eight_the_rest_stays() -> None:
    hidden, things = hide(" ".join("123456789"))
    assert things == list("12345678")
    assert hidden.endswith("｟7｠ 9")


@pytest.mark.parametrize(
    ("output", "text", "wrong"),
    [
        ("b ｟1｠ a ｟0｠", "b Y a X", 0),
        ("a ｟0｠ b", "a X b Y", 1),
        ("", "X Y", 2),
        ("｟0｠ a ｟0｠ b ｟1｠.", "X a b Y.", 1),
        ("a ｟5｠, ｟0｠｟1｠", "a, XY", 1),
        ("｟5｠", "X Y", 3),
        ("｟5｠ a ｟0｠ ｟1｠", "a X Y", 1),
        (" ｟0｠ ｟1｠", " X Y", 0),
    ],
)
def test_every_thing_comes_back_once(output: str, text: str, wrong: int) -> None:
    assert restore(output, ["X", "Y"]) == (text, wrong)


def test_both_sides_have_the_same() -> None:
    assert hide_both("3 dogs, 5 cats, 5 men", "5 Katzen, 5 Männer und drei Hunde") == (
        "3 dogs, ｟0｠ cats, ｟1｠ men",
        "｟0｠ Katzen, ｟1｠ Männer und drei Hunde",
    )
    assert hide_both("1 2", "2 1") == ("｟0｠ ｟1｠", "｟1｠ ｟0｠")
    assert hide_both("5", "5 5 6") == ("｟0｠", "｟0｠ 5 6")
    assert cover("6 or 5", ["5", "6"]) == "｟1｠ or ｟0｠"
