"""The scripts of docs/examples do what their page says."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.nn.laws import no_peeking, padding_is_inert, step_equals_forward
from tools.pages import ROOT, blocks, section

pytestmark = pytest.mark.learn

EXAMPLES = ROOT / "docs" / "examples"
SECTIONS = {
    "agents": "Agents that talk: [agents.py](agents.py)",
    "sets": "Sets: [sets.py](sets.py)",
    "collapse": "Where a plain Transformer breaks: [collapse.py](collapse.py)",
    "new_layer": "A layer type of your own: [new_layer.py](new_layer.py)",
}


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(table: str) -> list[str]:
    """What does not depend on the machine: everything but numbers that were measured."""
    return re.sub(r"\s+", " ", re.sub(r"\d\S*\.\S*%?|\de[-+]\d+", "N", table)).split()


def run(name: str, capsys: pytest.CaptureFixture[str]) -> Any:
    """What `main` returned; it printed the table of the page."""
    found = example(name).main()
    (shown,) = blocks(section((EXAMPLES / "README.md").read_text(encoding="utf-8"), SECTIONS[name]))
    assert words(capsys.readouterr().out) == words(shown.text)
    return found


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == SECTIONS.keys()
    assert max(len(Path(path).read_text("utf-8").splitlines()) for path in EXAMPLES.glob("*.py")) < 150


@pytest.mark.slow
def test_agents_find_each_other_by_attention_only(capsys: pytest.CaptureFixture[str]) -> None:
    error = run("agents", capsys)
    assert error["attention"] < 0.1
    assert 0.5 < error["mean"] < 0.85, "more than nothing is heard, and far from everything"
    assert error["none"] > 0.9


@pytest.mark.slow
def test_order_matters_to_positions_only(capsys: pytest.CaptureFixture[str]) -> None:
    found = run("sets", capsys)
    difference, as_sorted, as_shuffled = found["without positions"]
    assert difference < 1e-5
    assert as_shuffled == pytest.approx(as_sorted, abs=1e-4)
    assert as_shuffled < 0.12
    difference, as_sorted, as_shuffled = found["with positions"]
    assert difference > 0.1
    assert as_sorted < 0.06
    assert as_shuffled > 0.25


@pytest.mark.slow
def test_a_layer_from_outside_copies(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("new_layer", capsys)["moving average"] > 0.95


def test_a_layer_from_outside_obeys_the_laws() -> None:
    layer = example("new_layer").MovingAverage(6).double()
    x = torch.randn(3, 5, 6, dtype=torch.float64)
    no_peeking(layer, x)
    padding_is_inert(layer, x, [5, 2, 4])
    step_equals_forward(layer, x)


@pytest.mark.slow
def test_what_cross_attention_does_not_pass_on_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    found = run("collapse", capsys)
    for around in ("nowhere", "self-attention", "feed-forward"):
        encoder, decoder, norms = found[around]
        assert max(*encoder[3:], *decoder) < 1e-5, "all positions are the same"
        assert max(norms[:-1]) < 1e-6 < 0.1 < norms[-1]
    assert min(found["cross-attention"][2]) > 1e-3
