"""Which model is kept: the averages by their score, a single checkpoint only when luck does not explain it."""

from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_config
from transduce import validation
from transduce.checkpoint import DevResult, Progress
from transduce.config import RunConfig
from transduce.nn.transformer import build
from transduce.text.pieces import IDS
from transduce.validation import DevSet, choose_model

pytestmark = pytest.mark.unit

LINES = 100
REFERENCES = [[f"line {i}"] for i in range(LINES)]
SCORES = {1: 62.0, 2: 40.0, 3: 50.0, 4: 55.0}  # of four validations; the first was the best


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return tiny_config(tmp_path, "evaluation.metric=accuracy", "training.average=2")


def right(*lines: range) -> list[str]:
    """Outputs that are right in these lines only."""
    return [f"line {i}" if any(i in part for part in lines) else "wrong" for i in range(LINES)]


def choose(
    config: RunConfig, outputs: dict[str, list[str]], patch: pytest.MonkeyPatch, validations: int = 4
) -> tuple[str, list[str]]:
    """The steps of the model that is kept when their average says `outputs`, and what was told."""
    model = build(config.model, 9, 9, IDS.pad)  # "has" the steps it is the average of
    patch.setattr(validation, "load_weights", lambda run, step: step)
    patch.setattr(validation, "average", lambda steps: {"steps": torch.tensor(list(steps))})
    patch.setattr(validation, "load_weights_into", lambda model, weights, where: setattr(model, "has", weights))
    patch.setattr(DevSet, "decode", lambda self, model, d: outputs[" ".join(map(str, model.has["steps"].tolist()))])
    dev = object.__new__(DevSet)
    dev.references, dev._config = REFERENCES, config
    results = [
        DevResult(step=step, loss=1.0, metric="accuracy", score=score, higher_is_better=True)
        for step, score in list(SCORES.items())[:validations]
    ]
    told: list[str] = []
    _, weights, scores = choose_model(Path("run"), config, Progress(history=tuple(results)), model, dev, told.append)
    kept = " ".join(map(str, weights["steps"].tolist()))
    assert scores["accuracy"].score == sum(o == r[0] for o, r in zip(outputs[kept], REFERENCES, strict=True))
    return kept, told


def test_the_better_average(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = {"3 4": right(range(60)), "1 4": right(range(63)), "1": right(range(61))}
    kept, told = choose(config, outputs, monkeypatch)
    assert kept == "1 4"
    assert told == [
        "  average of the last 2 (3, 4): accuracy 60.00",
        "  average of the best 2 (1, 4): accuracy 63.00",
        "  best checkpoint (1): accuracy 61.00",
    ]


def test_a_checkpoint_that_may_be_better_by_chance_is_not_kept(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two lines more, of 22 in which they differ: one standard error is more than four lines."""
    outputs = {"3 4": right(range(60)), "1 4": right(range(50)), "1": right(range(50), range(60, 72))}
    kept, told = choose(config, outputs, monkeypatch)
    assert kept == "3 4"
    assert told[-1].startswith("  the average is kept")


def test_a_checkpoint_that_is_better_is_kept(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = {"3 4": right(range(60)), "1 4": right(range(50)), "1": right(range(55), range(60, 75))}
    kept, told = choose(config, outputs, monkeypatch)
    assert kept == "1"
    assert len(told) == 3


def test_what_there_is_once_is_decoded_once(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, told = choose(config, {"1": right(range(62))}, monkeypatch, validations=1)
    assert kept == "1"
    assert told == ["  last checkpoint (1): accuracy 62.00"]
    kept, told = choose(config, {"1 2": right(range(62)), "1": right(range(60))}, monkeypatch, validations=2)
    assert kept == "1 2"
    assert told == ["  average of the last 2 (1, 2): accuracy 62.00", "  best checkpoint (1): accuracy 60.00"]
