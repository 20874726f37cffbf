"""Sinusoids against the formula, learned positions, and what neither may do."""

import math

import numpy as np
import pytest
import torch

from transduce.errors import DataError
from transduce.nn.positions import LearnedPositions, SinusoidalPositions, sinusoids

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("d_model", [2, 8, 7])
def test_sinusoids_are_the_formula(d_model: int) -> None:
    table = np.zeros((50, d_model))
    for pos in range(50):
        for column in range(d_model):
            angle = pos / 10000 ** ((column - column % 2) / d_model)
            table[pos, column] = math.sin(angle) if column % 2 == 0 else math.cos(angle)
    np.testing.assert_allclose(sinusoids(50, d_model).numpy(), table, atol=1e-7)


def test_far_positions_are_as_exact_as_near_ones() -> None:
    far = sinusoids(100_001, 4)[100_000].double()
    expected = [math.sin(1e5), math.cos(1e5), math.sin(1e5 / 100), math.cos(1e5 / 100)]
    torch.testing.assert_close(far, torch.tensor(expected, dtype=torch.float64), atol=1e-7, rtol=0)


def test_a_shift_is_a_rotation_that_does_not_depend_on_the_position() -> None:
    """Section 3.5: "for any fixed offset k, PE(pos+k) can be represented as a linear function of PE(pos)"."""
    pairs = sinusoids(60, 6).double().view(60, 3, 2)
    k = 7
    angle = k / 10000 ** (torch.arange(3, dtype=torch.float64) * 2 / 6)
    sine, cosine = pairs[:-k, :, 0], pairs[:-k, :, 1]
    turned = torch.stack([sine * angle.cos() + cosine * angle.sin(), cosine * angle.cos() - sine * angle.sin()], dim=-1)
    torch.testing.assert_close(turned, pairs[k:], atol=1e-6, rtol=0)


def test_the_table_grows_and_is_no_weight() -> None:
    positions = SinusoidalPositions(6, n=4).double()
    torch.testing.assert_close(positions(2, 9), sinusoids(11, 6)[2:].double())
    assert len(positions.table) >= 11
    assert positions.table.dtype == torch.float64
    assert not list(positions.parameters())
    assert not positions.state_dict()


def test_learned_positions_are_rows_of_the_table() -> None:
    positions = LearnedPositions(4, max_positions=5)
    torch.nn.init.normal_(positions.weight)
    assert torch.equal(positions(0, 5), positions.weight)
    assert torch.equal(positions(3, 2), positions.weight[3:])


def test_learned_positions_end() -> None:
    with pytest.raises(DataError, match="A sequence of 6 positions, but the model has learned only 5. Cut the input"):
        LearnedPositions(4, max_positions=5)(5, 1)
