"""The plan of a run: its sums, and the steps that fit into minutes."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.tiny import tiny_config
from transduce.cost import DECODE, SCORE, Work, count, update_seconds
from transduce.data.prepare import Prepared, load_prepared, prepare
from transduce.machine import Machine
from transduce.plan import (
    ALPHAS,
    DECODED,
    FEW,
    SHARE,
    VALIDATIONS,
    Plan,
    Timing,
    choosing,
    fit,
    make_plan,
    predict,
    to_values,
)
from transduce.rundata import sources
from transduce.rundir import Chosen
from transduce.training.parallel import Cut
from transduce.training.trainer import TrainingConfig

pytestmark = pytest.mark.unit

TIMING = Timing(update=0.5, validation=4.0, measured=True)
PLAN = Plan(
    kinds=("bpe", "bpe"),
    source_pieces=100,
    target_pieces=200,
    n_layers=2,
    d_model=16,
    layer="self-attention",
    parameters=9_999,
    pairs=1_000,
    updates=105,
    passes=2.5,
    target_pieces_an_update=300.0,
    checkpoint_every=10,
    average=5,
    alphas=False,
    patience=0,
    precision="fp32",
    device="cpu",
    threads=1,
    timing=TIMING,
    memory=10**9,
    refused={"ctranslate2": [], "huggingface": ["model.norm = pre"], "argos": []},
)


def test_all_of_the_time_is_counted() -> None:
    assert PLAN.training_seconds == 105 * 0.5
    assert PLAN.validation_seconds == (11 + 3 * DECODED) * 4.0  # the last one, after five updates, too
    assert PLAN.seconds == PLAN.training_seconds + PLAN.validation_seconds
    assert PLAN.target_pieces_a_second == 600
    values = to_values(PLAN)
    assert values["seconds"] == PLAN.seconds
    assert values["timing"] == {"update": 0.5, "validation": 4.0, "measured": True}


def test_so_few_updates_of_text_are_too_few() -> None:
    text, spelled = (replace(PLAN, kinds=("bpe", kind)) for kind in ("bpe", "characters"))
    assert [text.too_short, spelled.too_short, replace(text, updates=FEW).too_short] == [True, False, False]


def test_what_nobody_timed_takes_no_time() -> None:
    plan = replace(PLAN, timing=None)
    assert plan.seconds == plan.target_pieces_a_second == 0


@pytest.mark.parametrize(("validations", "candidates"), [(1, 1), (2, 2), (5, 2), (6, 3)])
def test_candidates_that_are_the_same_are_decoded_once(validations: int, candidates: int) -> None:
    assert choosing(validations, average=5, alphas=False) == candidates * DECODED
    assert choosing(validations, average=5, alphas=True) == (candidates + ALPHAS) * DECODED


@pytest.mark.parametrize("alphas", [False, True])
@pytest.mark.parametrize("minutes", [1.5, 10.0, 60.0])
def test_a_plan_of_what_fits_into_minutes_takes_these_minutes(minutes: float, alphas: bool) -> None:
    training = TrainingConfig(max_steps=10**6, checkpoint_every=10**6, minutes=minutes)
    timing = replace(TIMING, validation=0.5)
    steps, every, seconds = fit(training, timing, alphas)
    plan = replace(PLAN, updates=steps, checkpoint_every=every, alphas=alphas, timing=timing)
    assert plan.seconds == pytest.approx(minutes * 60, rel=0.05)
    assert steps / every == pytest.approx(VALIDATIONS, rel=0.2)
    assert steps * seconds == pytest.approx(minutes * 60)


@pytest.mark.parametrize(("minutes", "validations"), [(0.5, 1), (3.0, 1), (6.0, 5), (10.0, 9), (20.0, 20)])
def test_slow_validations_are_few(minutes: float, validations: int) -> None:
    training = TrainingConfig(max_steps=10**6, checkpoint_every=10**6, minutes=minutes, average=5)
    timing = replace(TIMING, validation=10.0)
    steps, every, _ = fit(training, timing, alphas=False)
    assert -(-steps // every) == validations
    rest = (validations + choosing(validations, 5, alphas=False)) * timing.validation
    assert rest <= SHARE * minutes * 60 or validations == 1
    assert steps * timing.update + rest == pytest.approx(minutes * 60, abs=timing.update + 0.01)


def test_steps_may_be_the_tighter_limit() -> None:
    training = TrainingConfig(max_steps=7, checkpoint_every=5, minutes=60.0)
    assert fit(training, TIMING, alphas=False)[:2] == (7, 5)


def test_however_few_minutes_there_is_one_step() -> None:
    assert fit(TrainingConfig(minutes=0.001), TIMING, alphas=False)[:2] == (1, 1)


MACHINE = Machine(threads=1, fp32=1e11, bf16=2e11, memory=2e10, cache=9e10, call=3e-6)
CHOSEN = Chosen(
    max_steps=12,
    checkpoint_every=4,
    warmup=1,
    precision="fp32",
    device="cpu",
    threads=1,
    seconds_per_step=0.0,
    command="",
    start_from="",
)


@pytest.fixture
def planned(tmp_path: Path) -> tuple[Prepared, Work]:
    """The data of the tiny recipe, and what its updates are."""
    config = tiny_config(tmp_path)
    prepare(tmp_path / "data", sources(config), config.tokenizer, lambda text: None, lambda n: None)
    prepared = load_prepared(tmp_path / "data")
    return prepared, Work.of(prepared.epochs, config.batching, Cut(1, 1), config.training.seed)


def test_a_validation_is_predicted_by_the_pair_and_reads_it_once(
    planned: tuple[Prepared, Work], tmp_path: Path
) -> None:
    prepared, work = planned
    sizes = prepared.tokenizers.source.size, prepared.tokenizers.target.size
    config = tiny_config(tmp_path, "training.r_drop=2.0", "evaluation.sentences=4")
    timing = predict(config, "fp32", prepared, MACHINE, work, scored=20)
    once = update_seconds(count(config.model, *sizes, work), MACHINE, "fp32")
    assert timing.update > once
    assert timing.validation == pytest.approx(once / work.pairs * (SCORE * 20 + DECODE * 4))


def test_an_average_of_the_weights_is_in_the_memory(planned: tuple[Prepared, Work], tmp_path: Path) -> None:
    prepared, work = planned
    configs = [tiny_config(tmp_path, f"training.ema={ema}") for ema in (0.0, 0.9)]
    plain, averaged = (make_plan(config, CHOSEN, prepared, None, work, base=0, peak=0) for config in configs)
    assert averaged.memory - plain.memory == 4 * plain.parameters


def test_minutes_that_have_no_room_for_a_validation_say_nothing_wrong_of_an_update() -> None:
    _, every, each = fit(TrainingConfig(minutes=0.1), replace(TIMING, update=2.0, validation=20.0), alphas=False)
    assert each == 2.0 + 20.0 / every
