"""The page about outputs: what it says is what the metrics say, and it asks for nothing."""

import html
import random
import re
from html.parser import HTMLParser

import pytest

from transduce.errors import ConfigError
from transduce.evaluation import compare, evaluate
from transduce.evaluation.metrics import Measured
from transduce.lab.evaluation_page import evaluation_page

pytestmark = pytest.mark.unit

HOSTILE = "</section><script>alert(1)</script> & <b>ש</b> 猫"
VOID = {"meta", "br"}


def text_task() -> tuple[Measured, list[str], list[str]]:
    rng = random.Random(0)
    right = [" ".join(rng.choices("abcdefgh", k=rng.randint(3, 12))) for _ in range(50)]
    bad, good = ([" ".join(w for w in line.split() if rng.random() > p) for line in right] for p in (0.4, 0.1))
    sources = [line.upper() for line in right]
    sources[3] = right[3] = HOSTILE
    return Measured(sources, [[line] for line in right], ["bleu", "chrf"], "13a", "en", "de"), bad, good


def word_task() -> tuple[Measured, list[str], list[str]]:
    rng = random.Random(1)
    right = [" ".join(rng.choices("aeiou", k=rng.randint(2, 6))) for _ in range(40)]
    outputs = [line.replace("a", "e") for line in right], right
    return Measured([line.replace(" ", "") for line in right], [[r] for r in right], ["wer", "per"], "13a"), *outputs


class Checker(HTMLParser):
    """Every element is closed, in order; ids are there once; links lead to one."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            assert value is not None
            if name == "id":
                self.ids.append(value)
            if name == "href":
                self.links.append(value)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def headings(page: str) -> list[str]:
    return re.findall(r"<h2[^>]*>(.*?)</h2>", page)


@pytest.mark.parametrize("task", [text_task, word_task], ids=["text", "words"])
@pytest.mark.parametrize("two", [False, True], ids=["one", "two"])
def test_the_page_is_whole_and_asks_for_nothing(task: object, two: bool) -> None:
    assert callable(task)
    test, bad, good = task()
    page = evaluation_page("A & B", test, [("bad", bad), ("good", good)][: 1 + two], "transduce evaluate x")
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(set(checker.ids)) == len(checker.ids)
    assert [f"#{name}" for name in checker.ids] == checker.links
    assert not re.findall(r"""<script|src\s*=|https?:|@import|url\(""", page)
    assert "<title>A &amp; B</title>" in page
    assert ("Where A and B differ most" in headings(page)) == two


def test_its_scores_are_those_of_the_metrics() -> None:
    test, bad, good = text_task()
    page = evaluation_page("x", test, [("bad", bad), ("good", good)], "")
    for metric in test.metrics:
        found = compare(bad, good, test.references, metric, test.tokenize)
        (row,) = re.findall(rf'<th scope="row">{metric} <small>.*?</tr>', page)
        for interval in (found.a, found.b):
            assert f"{interval.score:.2f} <small>{interval.low:.2f} to {interval.high:.2f}" in row
        assert f'<span class="certain">{found.delta.score:+.2f}</span>' in row
        assert found.p_value < 0.05
        assert evaluate(good, test.references, [metric])[metric].signature in page


def test_texts_stand_there_as_text() -> None:
    test, bad, _ = text_task()
    bad[3] = "x"
    page = evaluation_page("x", test, [("bad", bad)], "")
    assert "<script>" not in page
    assert html.escape(HOSTILE) in page
    assert 'lang="de"' in page


def test_word_tasks_have_confusions_and_no_bleu() -> None:
    test, bad, good = word_task()
    page = evaluation_page("x", test, [("bad", bad)], "")
    n = sum(line.split().count("a") for line in good)
    assert f'<th scope="row">a</th><td>e</td><td>{n}</td><td>{n}</td>' in page
    assert "What is taken for what" in headings(page)
    assert "scored otherwise" not in page
    assert "By rarity" not in headings(page)  # nobody said what it was trained on


def test_right_outputs_have_no_failures() -> None:
    test, _, good = word_task()
    assert "None of those that are looked for" in evaluation_page("x", test, [("good", good)], "")


def test_without_sources_and_with_several_references() -> None:
    test = Measured(None, [["a b c d", "a b c e"], ["x y", "z"]], ["bleu"], "none")
    page = evaluation_page("x", test, [("one", ["a b c", "x"])], "")
    assert "2 inputs, 4 references." in page
    assert "tokens in reference" in page
    assert "<dt>source</dt>" not in page
    assert "(one of 2)" in page


def test_one_or_two_systems() -> None:
    test, bad, good = word_task()
    for systems in ([], [("a", bad), ("b", good), ("c", good)]):
        with pytest.raises(ConfigError, match=f"report: {len(systems)} systems. Give one, or two"):
            evaluation_page("x", test, systems, "")


def test_a_difference_of_few_lines_is_not_marked() -> None:
    few = Measured(None, [["a"], ["b"], ["c"]], ["accuracy"], "none", "", "")
    page = evaluation_page("x", few, [("bad", ["x", "x", "x"]), ("good", ["a", "b", "c"])], "")
    assert "+100.00" in page
    assert 'class="certain">' not in page


def test_spaces_are_symbols_too() -> None:
    spaced = Measured(None, [["is been"], ["abc"], ["abd"]], ["wer"], "none", "", "")
    page = evaluation_page("x", spaced, [("it", ["isbeen", "abc", "abd"])], "")
    assert "2 (66.7%)" in page  # outputs that need no edit
    assert "\u2423" in page


def test_marks_on_letters_are_seen() -> None:
    test = Measured(["a"] * 3, [["s\u0325x"]] * 3, ["accuracy"], "none")
    page = evaluation_page("t", test, [("a", ["sx"] * 3)], "transduce")
    assert '<th scope="row">\N{DOTTED CIRCLE}\u0325</th>' in page
