"""Learning rates against eq. 3, computed apart, and its properties."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transduce.training.schedule import inverse_sqrt, learning_rate, linear, noam

pytestmark = pytest.mark.unit


def test_noam_has_the_paper_s_values() -> None:
    assert noam(1, 512, 4000) == pytest.approx(1.7469e-07, rel=1e-4)
    assert noam(4000, 512, 4000) == pytest.approx(6.9877e-04, rel=1e-4)
    assert noam(100_000, 512, 4000) == pytest.approx(1.3975e-04, rel=1e-4)


@given(step=st.integers(1, 10**7), d_model=st.integers(1, 4096), warmup=st.integers(1, 10**5))
def test_noam_is_equation_3(step: int, d_model: int, warmup: int) -> None:
    expected = min(1 / math.sqrt(step), step / math.sqrt(warmup) ** 3) / math.sqrt(d_model)
    assert noam(step, d_model, warmup) == pytest.approx(expected, rel=1e-12)


@given(warmup=st.integers(1, 10**5), d_model=st.integers(1, 4096))
def test_warm_up_meets_decay_at_the_peak(warmup: int, d_model: int) -> None:
    peak = noam(warmup, d_model, warmup)
    assert peak == pytest.approx((d_model * warmup) ** -0.5, rel=1e-12)
    assert noam(2 * warmup, d_model, warmup) == pytest.approx(peak / math.sqrt(2), rel=1e-12)
    assert noam(4 * warmup, d_model, warmup) == pytest.approx(peak / 2, rel=1e-12)
    for step in {1, max(1, warmup // 2), warmup}:
        assert noam(step, d_model, warmup) == pytest.approx(peak * step / warmup, rel=1e-9)


@given(step=st.integers(1, 10**6), warmup=st.integers(1, 10**5))
def test_equation_3_is_the_inverse_square_root_with_its_own_height(step: int, warmup: int) -> None:
    assert inverse_sqrt(step, (512 * warmup) ** -0.5, warmup) == pytest.approx(noam(step, 512, warmup), rel=1e-9)


def test_names_give_functions_of_the_step() -> None:
    by_name = learning_rate("noam", d_model=64, peak=0.1, warmup=10, steps=100)
    assert [by_name(step) for step in (1, 10, 99)] == [noam(step, 64, 10) for step in (1, 10, 99)]
    by_name = learning_rate("inverse_sqrt", d_model=64, peak=0.1, warmup=10, steps=100)
    assert [by_name(step) for step in (5, 10, 40)] == pytest.approx([0.05, 0.1, 0.05])
    by_name = learning_rate("linear", d_model=64, peak=0.1, warmup=10, steps=99)
    assert [by_name(step) for step in (5, 10, 55, 99)] == pytest.approx([0.05, 0.1, 0.05, 0.1 / 90])


@given(steps=st.integers(1, 10**6), warmup=st.integers(1, 10**5), data=st.data())
def test_linear_rises_to_its_peak_and_falls_towards_nothing(steps: int, warmup: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(1, steps))
    rate = linear(step, 0.5, warmup, steps)
    assert 0 < rate <= 0.5
    assert rate <= 0.5 * step / warmup * (1 + 1e-12)
    assert linear(steps + 1, 0.5, warmup, steps) == 0
    if warmup <= step < steps:
        assert linear(step + 1, 0.5, warmup, steps) < rate
