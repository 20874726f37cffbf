"""Ways to fail: an example of each, and good outputs that look a little like it."""

import pytest

from transduce.evaluation.breakdown import CHARACTERS, TOKENS
from transduce.evaluation.failures import LONGEST, WAYS, failures, lines_of, longest_repeat, numbers, placeholders

pytestmark = pytest.mark.unit

SOURCE = "the dog sees 12 birds in the tree ."
RIGHT = "der hund sieht 12 vögel im baum ."
EXAMPLES: list[tuple[str, set[str]]] = [
    (RIGHT, set()),
    ("", {"empty", "number lost"}),
    (SOURCE, {"copied", "uncovered"}),
    ("der hund sees birds in the tree 12", {"copied in part"}),
    ("der hund 12", {"too short"}),
    ("eine frau liest ein buch zu hause 12", {"uncovered"}),
    (RIGHT + " und die katze schläft auf dem sofa", {"too long"}),
    ("der hund sieht 12 vögel im baum im baum .", {"repeated"}),
    ("der hund sieht zwölf vögel im baum .", {"number lost"}),
    ("der hund sieht 12 vögel im baum 7", {"number from nowhere"}),
    ("der hund sieht 12 von 13 vögel im baum .", {"number from nowhere"}),
]


def found(output: str, *references: str, source: str | None = SOURCE) -> set[str]:
    refs = list(references or [RIGHT])
    lines = lines_of(None if source is None else [source], [output], [refs], TOKENS, TOKENS)
    return {failure.name for failure in failures(lines) if failure.lines}


@pytest.mark.parametrize(("output", "names"), EXAMPLES)
def test_each_way_to_fail(output: str, names: set[str]) -> None:
    assert found(output) == names


def test_a_tag_is_no_text() -> None:
    """Neither when an input is copied, nor among its words."""
    assert "copied" in found(SOURCE, source=f">>de<< {SOURCE}")
    (line,) = lines_of([">>de<< a dog"], [""], [[RIGHT]], TOKENS, TOKENS)
    assert line.source_words == ["a", "dog"]


def test_every_way_has_an_example() -> None:
    shown = set[str]().union(*(names for _, names in EXAMPLES)) | {"placeholder lost"}
    assert shown == {name for name, _, _ in WAYS}


def test_what_a_reference_does_too_is_no_failure() -> None:
    assert found("run run run", "run run run", source="go go go") == set()
    assert found("Bern", "Bern", source="Bern") == set()
    assert found("zwölf", "zwölf", "12", source="12") == set()  # not every reference has the number


def test_without_sources_references_alone_decide() -> None:
    assert found("der hund sieht vögel im baum .", source=None) == {"number lost"}
    assert found(RIGHT, source=None) == set()


@pytest.mark.parametrize(
    ("text", "things"),
    [
        ("Dear {name}, see %s or %(file)s", {"{name}", "%s", "%(file)s"}),
        ("<b>bold</b> {{x.y}} ${HOME} 5 < 6 > 4", {"<b>", "</b>", "{{x.y}}", "${HOME}"}),
        ("ask me@example.org at https://example.org/a?b=1 now", {"me@example.org", "https://example.org/a?b=1"}),
        ("100% sure, 5 % so", set()),
    ],
)
def test_placeholders(text: str, things: set[str]) -> None:
    assert placeholders(text) == things
    if things:
        assert "placeholder lost" in found("nothing here at all", text, source=text)
        assert "placeholder lost" not in found(text, text, source="x " + text)


def test_numbers_are_the_same_in_any_language() -> None:
    assert numbers("1,000.5 at 12:30, 3 of 10") == {"10005", "1230", "3", "10"}
    assert numbers("1.000,5 um 12.30") == {"10005", "1230"}
    assert numbers("none") == set()


def test_a_doubled_character_is_no_repetition() -> None:
    def names(output: str, right: str) -> set[str]:
        lines = lines_of(None, [output], [[right]], CHARACTERS, CHARACTERS)
        return {failure.name for failure in failures(lines) if failure.lines} & {"repeated"}

    assert names("妈妈在家", "母亲在家") == set()
    assert names("他在家他在家", "他在家") == {"repeated"}


@pytest.mark.parametrize(
    ("words", "most"),
    [("", 0), ("a b c", 0), ("a a", 1), ("a dog a dog", 2), ("a b a", 0), ("x a b c a b c a b y", 5), ("a a a a", 3)],
)
def test_how_much_is_said_again(words: str, most: int) -> None:
    assert longest_repeat(words.split()) == most


def test_what_is_said_again_has_a_length() -> None:
    """A document in one line would take the square of its length."""
    words = [str(i) for i in range(LONGEST + 1)]
    assert longest_repeat(words * 2) == 0
    assert longest_repeat(words[1:] * 2) == LONGEST
