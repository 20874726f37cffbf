"""The attention page: what it holds, that it asks for nothing, and that a browser lets a reader use it."""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from transduce.decoding.attention import AttentionMaps
from transduce.decoding.translator import Attention
from transduce.errors import ConfigError
from transduce.lab.attention_page import attention_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = "</script><b>&amp; ש 猫 🐈"


def attention(source: list[str], target: list[str], layers: int = 2, heads: int = 3, seed: int = 0) -> Attention:
    random = torch.Generator().manual_seed(seed)
    s, t = len(source) + 1, len(target) + 1
    encoder, cross = (torch.rand(layers, heads, n, s, generator=random).softmax(-1) for n in (s, t))
    decoder = torch.rand(layers, heads, t, t, generator=random).tril()
    maps = AttentionMaps(encoder=encoder, decoder=decoder / decoder.sum(-1, keepdim=True), cross=cross)
    return Attention(source=source, target=target, weights=maps)


SHOWN = [
    ("the dog", "der hund", attention(["▁the", "▁dog"], ["▁der", "▁h", "und"])),
    (HOSTILE, "x", attention([HOSTILE], ["x"], seed=1)),
]


def embedded(page: str) -> Any:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


@pytest.mark.unit
def test_the_page_holds_every_weight_and_the_texts_as_they_are() -> None:
    data = embedded(attention_page("A <title>", SHOWN))
    assert data["title"] == "A <title>"
    assert [s["source"] for s in data["sentences"]] == ["the dog", HOSTILE]
    for sentence, (_, _, shown) in zip(data["sentences"], SHOWN, strict=True):
        for kind, found in sentence["kinds"].items():
            weights = getattr(shown.weights, kind)
            shape = (found["layers"], found["heads"], len(found["rows"]), len(found["columns"]))
            assert weights.shape == shape
            values = np.frombuffer(base64.b64decode(found["weights"]), dtype=np.uint8).reshape(shape) / 255
            assert np.abs(values - weights.numpy()).max() <= 0.5 / 255 + 1e-6
            assert np.array(found["statistics"]).shape == shape[:2]
    kinds = data["sentences"][0]["kinds"]
    assert kinds["cross"]["rows"] == ["▁der", "▁h", "und", "⟨/s⟩"]
    assert kinds["cross"]["columns"] == ["▁the", "▁dog", "⟨/s⟩"]
    assert kinds["decoder"]["columns"] == ["⟨s⟩", "▁der", "▁h", "und"]


@pytest.mark.unit
def test_the_page_asks_for_nothing() -> None:
    page = attention_page("A page", SHOWN)
    assert not re.findall(r"""(?:src|href)\s*=|https?:|@import|url\(""", page)


@pytest.mark.unit
def test_what_no_browser_would_open_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no line to show"):
        attention_page("", [])
    monkeypatch.setattr("transduce.lab.attention_page.MOST_BYTES", 3 * 2**20 - 1)
    long = attention(["a"] * 255, ["b"] * 255, layers=4, heads=4)  # 3 x 16 x 256 x 256 bytes, a third more as text
    with pytest.raises(ConfigError, match="1 lines make 4 MB"):
        attention_page("", [("", "", long)])


@pytest.fixture
def page(tmp_path: Path) -> Iterator["Page"]:
    """The page of a sentence of a hundred pieces and of `SHOWN`, in Chromium; a script error fails the test."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    long = [f"▁w{i}" for i in range(99)]
    path = tmp_path / "attention.html"
    content = attention_page("Attention", [(" ".join(long), " ".join(long), attention(long, long, 6, 8)), *SHOWN])
    path.write_text(content, encoding="utf-8")
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1200, "height": 900})
        shown.on("pageerror", lambda error: errors.append(str(error)))
        shown.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        shown.on("request", lambda request: errors.append(request.url) if request.url != path.as_uri() else None)
        shown.goto(path.as_uri())
        yield shown
        browser.close()
    assert not errors


@pytest.mark.learn
@pytest.mark.browser
def test_a_reader_finds_a_head_and_a_piece_by_keyboard(page: "Page") -> None:
    assert page.locator("#grid button").count() == 48
    assert page.locator("button.token").count() == 100
    page.locator("#grid button[aria-pressed=true]").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.locator("#one").inner_text().startswith("Layer 2, head 2: ")
    page.locator("button.token").nth(3).click()
    page.keyboard.press("ArrowDown")
    assert page.locator("#told").inner_text().startswith("▁w4 looks at ")
    assert page.evaluate("document.activeElement.textContent") == "▁w4"
    page.keyboard.press("Escape")
    assert page.locator("button.token[aria-pressed=true]").count() == 0

    page.keyboard.press("v")
    assert page.locator("#matrix").is_visible()
    assert not page.locator("#lines").is_visible()
    page.locator("#matrix").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.locator("#told").inner_text().startswith("▁w1 looks at ")
    page.keyboard.press("v")
    assert page.locator("#lines").is_visible()
    assert not page.locator("#matrix").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    assert page.locator("#kinds button[aria-pressed=true]").inner_text() == "Encoder self-attention"
    page.keyboard.press("]")
    page.keyboard.press("]")
    assert page.locator("#source").inner_text() == f"Source: {HOSTILE}"
    assert page.locator("b").count() == 0
    page.keyboard.press("]")  # there is no fourth sentence
    assert page.locator("#source").inner_text() == f"Source: {HOSTILE}"


def opened(page: "Page") -> float:
    """Seconds from opening the file again to the first picture."""
    page.reload()
    paint = "performance.getEntriesByName('first-contentful-paint')"
    page.wait_for_function(f"{paint}.length > 0")
    return float(page.evaluate(f"{paint}[0].startTime / 1000"))


@pytest.mark.learn
@pytest.mark.browser
def test_it_is_quick_and_follows_light_dark_and_print(page: "Page") -> None:
    seconds = page.evaluate(
        "() => Math.min(...['encoder', 'decoder', 'cross'].map((kind) => {"
        " const t = performance.now(); chooseKind(kind); return (performance.now() - t) / 1000; }))"
    )
    assert seconds < 1.0, "drawing 48 heads of 100 x 100 pieces"
    assert min(opened(page) for _ in range(3)) < 3.0, "from opening the file to the first picture"
    another_head = (
        "async () => { const t = performance.now(); for (let i = 0; i < 10; i++) { choose(i % 6, 1);"
        " await new Promise((done) => requestAnimationFrame(() => setTimeout(done))); }"
        " return (performance.now() - t) / 10000; }"
    )
    for view in ("lines", "matrix"):
        page.evaluate(f"chooseView('{view}')")
        assert page.evaluate(another_head) < 0.3, f"another head as {view}, until it is on the screen"
    colours = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    assert page.locator("#grid").is_visible()


@pytest.mark.learn
@pytest.mark.browser
def test_the_tab_key_leads_everywhere_and_shows_where_it_is(page: "Page") -> None:
    met = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        met.add(
            page.evaluate("document.activeElement.closest('#sentences, #kinds, #grid, .views, #lines, details')?.id")
        )
        shown = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert shown == "solid" or page.evaluate("document.activeElement === document.body")
    assert {"sentences", "kinds", "grid", "", "lines", "statistics"} <= met


@pytest.mark.learn
@pytest.mark.browser
def test_a_hundred_pieces_can_be_read(page: "Page") -> None:
    """No piece hides its neighbour; the grid and the name of the head stay in sight."""
    boxes = [box for token in page.locator("button.token").all() if (box := token.bounding_box())]
    assert len(boxes) == 100
    assert all(a["y"] + a["height"] <= b["y"] + 0.5 for a, b in pairwise(boxes))
    assert all(box["height"] >= 10 for box in boxes)
    assert boxes[-1]["y"] - boxes[0]["y"] < 2 * 900
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    for name in ("#one", "#grid button[aria-pressed=true]"):
        box = page.locator(name).bounding_box()
        assert box is not None
        assert 0 <= box["y"] < 900
