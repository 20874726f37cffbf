"""The laboratory that looks inside: on a tiny model, what it says is what the weights say."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.heard import Heard
from tests.tiny import tiny_config, trained_run
from transduce import compose
from transduce.bundle import bundle_folder
from transduce.decoding.translator import Translator
from transduce.errors import ConfigError
from transduce.lab.figures import Settings, investigate
from transduce.lab.report import Figure, Report

pytestmark = pytest.mark.unit

LINES = ["the dog runs", "the dog", "", "cat sees the green bird", "the dog"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_run(tmp_path_factory)


def look(model: Path | None, out: Path, lines: Sequence[str] | None = None, sentences: int = 0) -> Report:
    told: list[tuple[int, int]] = []
    settings = Settings(sentences=sentences, shown=2)
    found = investigate(model, lines, settings, out, "the command", lambda *n: told.append(n))
    assert told == [(n, len(told)) for n in range(1, len(told) + 1)]
    return found


@pytest.fixture
def unwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figure is rendered, which takes seconds."""
    monkeypatch.setattr("transduce.lab.figures.write_report", lambda folder, report: None)


def figures(report: Report) -> list[str]:
    return [part.name for part in report.parts if isinstance(part, Figure)]


def test_the_statistics_are_those_of_the_weights(run: Path, tmp_path: Path) -> None:
    """Against loops over the weights of the sentences, blank and double ones left out."""
    look(run, tmp_path, LINES)
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    translator = Translator.load(run, device="cpu", precision="fp32")
    sources = ["the dog runs", "the dog", "cat sees the green bird"]
    outputs = translator.translate(sources)
    assert found["measured"]["texts"] == [list(pair) for pair in zip(sources, outputs, strict=True)]
    seen = [translator.attention(*pair).weights for pair in zip(sources, outputs, strict=True)]
    heads = {(h["kind"], h["layer"], h["head"]): h for h in found["measured"]["heads"]}
    assert len(heads) == 6
    for (kind, layer, head), told in heads.items():
        entropies, distances = [], []
        for maps in seen:
            w = getattr(maps, kind)[layer - 1, head - 1].double().numpy()
            entropies.append(-sum(x * np.log2(x) for row in w for x in row if x > 0) / len(w))
            if kind != "cross":
                distances.append(sum(w[i, j] * abs(i - j) for i in range(len(w)) for j in range(len(w))) / len(w))
        assert told["statistics"]["entropy"] == pytest.approx(np.mean(entropies), abs=1e-5)
        if kind != "cross":
            assert told["statistics"]["distance"] == pytest.approx(np.mean(distances), abs=1e-5)
        assert told["agree"] in (0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1)
    assert [len(table["rows"]) for table in found["tables"]] == [2, 2, 2]
    counted = [re.search(r": (\d+) of 2 heads", line) for line in found["seen"]]
    assert sum(int(match[1]) for match in counted if match) == 6
    assert '<a href="attention.html">Every layer and head at work on 2 of the sentences</a>' in page
    for name in ("heads_encoder", "heads_decoder", "heads_cross", "positions_sinusoids", "learning_rate"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert page.count("<svg") == 5


@pytest.mark.usefixtures("unwritten")
def test_a_run_brings_its_sentences_and_its_schedule(run: Path, tmp_path: Path) -> None:
    found = look(run, tmp_path, sentences=5)
    dev = (run.parent / "dev.aa").read_text(encoding="utf-8").splitlines()
    assert [source for source, _ in found.measured["texts"]] == list(dict.fromkeys(dev))[:5]
    data = re.findall(r'id="data">(.*?)</script>', (tmp_path / "attention.html").read_text("utf-8"), re.DOTALL)
    assert [s["source"] for s in json.loads(data[0])["sentences"]] == dev[:2]
    assert "Learning rate, this run, inverse_sqrt: 0.01 at its highest, update 20; 0.00354 at 160." in found.seen


@pytest.mark.usefixtures("unwritten")
def test_what_is_too_long_is_left_out_and_counted(run: Path, tmp_path: Path) -> None:
    found = look(run, tmp_path, ["the dog", "dog " * 30])
    assert found.seen[0] == "Sentences looked at: 1. Left out, too long or without output: 1."
    with pytest.raises(ConfigError, match="None of 1 sentences can be shown"):
        look(run, tmp_path, ["dog " * 30])


@pytest.mark.usefixtures("unwritten")
def test_what_does_not_fit_on_the_page_is_not_shown_and_the_report_is_whole(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["the dog", "dog the", "the the dog"]
    looked = look(run, tmp_path, lines).links
    one = len((tmp_path / "attention.html").read_bytes())
    monkeypatch.setattr("transduce.lab.attention_page.MOST_BYTES", 80)
    fewer = look(run, tmp_path, lines).links
    assert [text.split()[-4] for (_, text) in (*looked, *fewer)] == ["2", "1"]
    assert len((tmp_path / "attention.html").read_bytes()) < one


@pytest.mark.usefixtures("unwritten")
def test_without_a_model_there_are_positions_and_the_papers_learning_rate(tmp_path: Path) -> None:
    found = look(None, tmp_path)
    assert found.seen[0] == "No model was given (--model): nothing of heads here."
    assert figures(found) == ["positions_sinusoids", "learning_rate"]
    spread = re.findall(r"equally far apart it differs by up to (\S+)\.$", found.seen[1])
    assert float(spread[0]) < 1e-6, "the dot product of two sinusoids follows from their distance"
    first, last = ((512 * steps) ** -0.5 for steps in (4000, 100_000))
    assert f"{first:.3g} at its highest, update 4,000; {last:.3g} at 100,000." in found.seen[2]


@pytest.mark.usefixtures("unwritten", "unchecked")
def test_learned_positions_and_layers_without_heads(tmp_path: Path) -> None:
    rival = ("model.positions=learned", "model.max_positions=40", 'model.layer={kind="recurrent"}')
    compose.train(tiny_config(tmp_path, *rival, "training.max_steps=60"), tmp_path / "run", reporter=Heard())
    found = look(tmp_path / "run", tmp_path / "out", LINES)
    assert "Encoder self-attention: none, these layers are of another type." in found.seen
    assert {head["kind"] for head in found.measured["heads"]} == {"cross"}
    positions = ["positions_sinusoids", "positions_learned_source", "positions_learned_target"]
    assert figures(found) == ["heads_cross", *positions, "learning_rate"]
    assert any(line.startswith("learned positions of the target: the cosine") for line in found.seen)


def test_what_is_wrong(run: Path, tmp_path: Path) -> None:
    for model, lines, said in (
        (None, ["the dog"], "--input: sentences to look at need a model"),
        (bundle_folder(run), None, "a model alone has no sentences to look at"),
        (run, ["", " "], "--input: no line with text"),
    ):
        with pytest.raises(ConfigError, match=said):
            look(model, tmp_path, lines)
