"""Exponents, lines and crossings, of curves that have them."""

import math

import pytest

from transduce.lab.fits import crossing, exponent, line, reaches_theory

pytestmark = pytest.mark.unit

XS = (16, 32, 64, 128, 256)


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5, 2.0])
def test_a_power_is_its_exponent(power: float) -> None:
    assert exponent(XS, [3.7 * x**power for x in XS]) == pytest.approx(power)


def test_noise_that_cancels_does_not_move_it() -> None:
    noisy = [x**2 * factor for x, factor in zip(XS, (1.1, 1 / 1.1, 1.0, 1 / 1.1, 1.1), strict=True)]
    assert exponent(XS, noisy) == pytest.approx(2)


def test_theory_is_reached_where_its_term_is_the_largest() -> None:
    assert reaches_theory(XS, [float(x**2) for x in XS], 2) == (16, 256)
    # n^2 + 20 n: from n to 2n it grows as n^2, to 0.15, when 2 - log2((4 n^2 + 40 n) / (n^2 + 20 n)) < 0.15, n > 82
    assert reaches_theory(XS, [x**2 + 20.0 * x for x in XS], 2) == (128, 256)
    assert reaches_theory(XS, [float(x) for x in XS], 2) is None


def test_a_line_is_exact_or_none() -> None:
    assert line({9: 64, 33: 232, 65: 456}) == (1, 7)
    assert line({9: 5, 33: 5}) == (5, 0)
    assert line({9: 64, 33: 233}) is None
    assert line({9: 64, 33: 232, 65: 457}) is None


def test_powers_cross_where_they_are_equal() -> None:
    squares, lines = [float(x**2) for x in XS], [100.0 * x for x in XS]
    assert crossing(XS, squares, lines) == pytest.approx(100)
    assert crossing(XS, squares, [float(x) for x in XS]) == 0
    assert crossing(XS, squares, [1e9] * 5) == math.inf
