"""Which model is kept: the averages by their score, a single checkpoint only when luck does not explain it.

And what is measured on the dev set.
"""

from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import tiny_config, write_corpus, write_lines
from transduce import validation
from transduce.checkpoint import DevResult, Progress
from transduce.compose import prepare_data
from transduce.config import RunConfig
from transduce.data.collate import collate
from transduce.data.prepare import Prepared, load_prepared, prepare
from transduce.decoding import score_pairs
from transduce.decoding.translator import Translator
from transduce.evaluation.metrics import MetricScore
from transduce.nn.transformer import Transformer, build
from transduce.rundata import load_data, sources
from transduce.text.pieces import IDS
from transduce.validation import Candidate, DevSet, choose_model, spread

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
    config: RunConfig,
    outputs: dict[str, list[str]],
    patch: pytest.MonkeyPatch,
    validations: int = 4,
    penalised: dict[float, list[str]] | None = None,
) -> tuple[str, list[str], float]:
    """The steps of the model that is kept when their average says `outputs`, what was told, and its alpha when the
    model that was chosen says `penalised` with other ones."""
    model = build(config.model, 9, 9, IDS.pad)  # "has" the steps it is the average of
    patch.setattr(validation, "saved_steps", lambda run: list(SCORES))
    patch.setattr(validation, "load_weights", lambda run, step: step)
    patch.setattr(validation, "average", lambda steps: {"steps": torch.tensor(list(steps))})
    patch.setattr(validation, "load_weights_into", lambda model, weights, where: setattr(model, "has", weights))
    patch.setattr(DevSet, "decode", lambda self, model, d: outputs[" ".join(map(str, model.has["steps"].tolist()))])
    patch.setattr(DevSet, "decode_alphas", lambda self, model, alphas: [(penalised or {})[alpha] for alpha in alphas])
    dev = object.__new__(DevSet)
    dev.references, dev._config = REFERENCES, config
    results = [
        DevResult(step=step, loss=1.0, metric="accuracy", score=score, higher_is_better=True)
        for step, score in list(SCORES.items())[:validations]
    ]
    told: list[str] = []
    kept = choose_model(Path("run"), config, Progress(history=tuple(results)), model, dev, told.append)
    steps = " ".join(map(str, kept.weights["steps"].tolist()))
    said = outputs[steps] if kept.alpha == config.decoding.alpha else (penalised or {})[kept.alpha]
    assert kept.outputs == said
    assert kept.score.score == sum(o == r[0] for o, r in zip(said, REFERENCES, strict=True))
    return steps, told, kept.alpha


def test_the_better_average(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = {"3 4": right(range(60)), "1 4": right(range(63)), "1": right(range(61))}
    kept, told, _ = choose(config, outputs, monkeypatch)
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
    kept, told, _ = choose(config, outputs, monkeypatch)
    assert kept == "3 4"
    assert told[-1].startswith("  the average is kept")


def test_a_checkpoint_that_is_better_is_kept(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = {"3 4": right(range(60)), "1 4": right(range(50)), "1": right(range(55), range(60, 75))}
    kept, told, _ = choose(config, outputs, monkeypatch)
    assert kept == "1"
    assert len(told) == 3


def test_what_there_is_once_is_decoded_once(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, told, _ = choose(config, {"1": right(range(62))}, monkeypatch, validations=1)
    assert kept == "1"
    assert told == ["  last checkpoint (1): accuracy 62.00"]
    kept, told, _ = choose(config, {"1 2": right(range(62)), "1": right(range(60))}, monkeypatch, validations=2)
    assert kept == "1 2"
    assert told == ["  average of the last 2 (1, 2): accuracy 62.00", "  best checkpoint (1): accuracy 60.00"]


@pytest.mark.parametrize(
    ("n", "expected"), [(1, [0]), (2, [0, 5]), (4, [0, 2, 5, 7]), (10, list(range(10))), (20, list(range(10)))]
)
def test_what_is_measured_is_from_all_over_the_dev_set(n: int, expected: list[int]) -> None:
    assert spread(range(10), n) == expected


OUTPUTS = {"3 4": right(range(60)), "1 4": right(range(50)), "1": right(range(50))}


def test_a_length_penalty_that_is_better_is_kept(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those asked for, and not what it is anyway once more."""
    config = replace(config, evaluation=replace(config.evaluation, alphas=(0.6, 1.0, 1.4)))
    penalised = {1.0: right(range(66)), 1.4: right(range(59))}
    steps, told, alpha = choose(config, OUTPUTS, monkeypatch, penalised=penalised)
    assert (steps, alpha) == ("3 4", 1.0)
    assert told[3:] == [
        "  average of the last 2 (3, 4), alpha 1: accuracy 66.00",
        "  average of the last 2 (3, 4), alpha 1.4: accuracy 59.00",
    ]


def test_the_length_penalty_that_it_has_anyway_is_not_tried(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(config, evaluation=replace(config.evaluation, alphas=(0.6,)))
    steps, told, alpha = choose(config, OUTPUTS, monkeypatch)
    assert (steps, len(told), alpha) == ("3 4", 3, 0.6)


def test_a_length_penalty_that_may_be_better_by_chance_is_not_kept(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, evaluation=replace(config.evaluation, alphas=(1.0,)))
    penalised = {1.0: right(range(50), range(60, 72))}
    steps, told, alpha = choose(config, OUTPUTS, monkeypatch, penalised=penalised)
    assert (steps, alpha) == ("3 4", 0.6)
    assert told[-1].startswith("  alpha 0.6 is kept")


@pytest.mark.parametrize(("metric", "best"), [("wer", 20.0), ("accuracy", 30.0)])
def test_of_error_rates_the_lowest_is_the_best(metric: str, best: float) -> None:
    scores = [MetricScore(score=score, signature="") for score in (20.0, 30.0)]
    candidates = [Candidate(label="", weights={}, alpha=0.6, outputs=[], metric=metric, score=one) for one in scores]
    assert max(candidates, key=attrgetter("rank")).score.score == best


def untrained(config: RunConfig, folder: Path) -> tuple[Prepared, DevSet, Transformer]:
    """The data of `config`, its dev set, and a model that has learned nothing."""
    prepare(folder, sources(config), config.tokenizer, lambda text: None, lambda n: None)
    prepared = load_prepared(folder)
    model = build(config.model, prepared.tokenizers.source.size, prepared.tokenizers.target.size, IDS.pad)
    return prepared, DevSet(config, prepared, torch.device("cpu"), "fp32"), model


def test_a_validation_knows_which_way_its_metric_goes(tmp_path: Path) -> None:
    for metric, higher in (("wer", False), ("accuracy", True)):
        _, dev, model = untrained(tiny_config(tmp_path, f"evaluation.metric={metric}"), tmp_path / metric)
        assert dev.validate(model, 1).higher_is_better == higher


def test_the_loss_is_nats_a_piece_of_what_training_would_read(tmp_path: Path) -> None:
    """Without smoothing and dropout, however it is cut into batches, and of no more than `max_length` pieces a side."""
    settings = ("training.label_smoothing=0.3", "batching.max_tokens=16", "data.max_length=3")
    prepared, dev, model = untrained(tiny_config(tmp_path, *settings), tmp_path / "data")
    encode = prepared.tokenizers.source.encode, prepared.tokenizers.target.encode
    whole = [(encode[0](source), encode[1](target)) for source, target in prepared.dev]
    pairs = [(source[:3], target[:3]) for source, target in whole]
    assert pairs != whole
    loss = dev.loss(model.train())
    pieces = sum(len(target) + 1 for _, target in pairs)
    assert loss == pytest.approx(-sum(score_pairs(model.eval(), collate(pairs))) / pieces, rel=1e-5)


def test_dev_outputs_may_be_as_long_as_users_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that does not end is cut at the same length, so it is chosen for what it will do."""
    limits = []

    def translator(*given: Any, max_target_length: int, **named: Any) -> Translator:
        limits.append(max_target_length)
        return Translator(*given, max_target_length=max_target_length, **named)

    config = tiny_config(tmp_path, "data.max_length=3", "decoding.extra_length=5", "training.max_steps=1")
    _, dev, model = untrained(config, tmp_path / "data")
    monkeypatch.setattr("transduce.validation.Translator", translator)
    dev.validate(model, 1)
    assert limits == [8]  # as Translator.load has it


@pytest.mark.parametrize(("setting", "inputs"), [("evaluation.by_line=false", 1), ("evaluation.by_line=true", 2)])
def test_several_references_of_an_input_or_an_input_each(tmp_path: Path, setting: str, inputs: int) -> None:
    write_corpus(tmp_path)
    write_lines(tmp_path / "dev.aa", ["dog", "dog"])
    write_lines(tmp_path / "dev.bb", ["GOD", "X"])
    config = tiny_config(tmp_path, setting)
    prepare_data(config, tmp_path / "run")
    dev = DevSet(config, load_data(tmp_path / "run", config), torch.device("cpu"), "fp32")
    assert len(dev.references) == inputs
