"""The plan of a run: its sums, and the steps that fit into minutes."""

from dataclasses import replace

import pytest

from transduce.plan import ALPHAS, DECODED, FEW, SHARE, VALIDATIONS, Plan, Timing, choosing, fit, to_values
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
