"""The page of deviations: how it is made, and that the committed one is what would be made now."""

from pathlib import Path

import pytest

from tools.deviations import PAGE, ROOT, find, page

pytestmark = pytest.mark.unit

MODULE = '''
"""Eq. 2.

Differs: dropout after the ReLU
is off.

More.
"""

class FeedForward:
    """No difference."""

    def forward(self):
        """Forward.

        Differs: one thing.
        Differs: another, which
            is indented.
        """

def f():
    """Mentions Differs: inside a line, which does not count."""
'''


def test_the_committed_page_is_current() -> None:
    expected = page(find(ROOT / "src" / "transduce"), link="../src")
    assert PAGE.read_text(encoding="utf-8") == expected, "docs/deviations.md is out of date: run `make docs`"


def test_links_lead_to_files() -> None:
    for deviation in find(ROOT / "src" / "transduce"):
        assert (PAGE.parent / "../src" / deviation.path).resolve().is_file()


def test_paragraphs_are_collected_with_their_place(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "nn").mkdir(parents=True)
    (package / "nn" / "feed_forward.py").write_text(MODULE)
    (package / "empty.py").write_text("")
    assert [(d.name, d.text) for d in find(package)] == [
        ("feed_forward", "dropout after the ReLU is off."),
        ("FeedForward.forward", "one thing."),
        ("FeedForward.forward", "another, which is indented."),
    ]
    text = page(find(package), link="src")
    assert text.count("## [package/nn/feed_forward.py](src/package/nn/feed_forward.py)\n") == 1
    assert "- **`FeedForward.forward`**: one thing.\n" in text
