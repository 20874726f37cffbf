"""Averages of weights: the mean, in the precision that went in, summed in float64."""

import pytest
import torch

from transduce.training.averaging import average

pytestmark = pytest.mark.unit


def test_it_is_the_mean() -> None:
    many = [{"a": torch.randn(3, 2), "b": torch.randn(4, dtype=torch.float64)} for _ in range(5)]
    mean = average(iter(many))
    assert mean.keys() == {"a", "b"}
    for name, value in mean.items():
        assert value.dtype == many[0][name].dtype
        torch.testing.assert_close(value, torch.stack([one[name] for one in many]).mean(0))


def test_one_is_itself_and_nothing_is_changed() -> None:
    one = {"a": torch.randn(5), "b": torch.randn(5).double(), "c": torch.randn(5).bfloat16()}
    before = {name: value.clone() for name, value in one.items()}
    assert all(torch.equal(value, one[name]) for name, value in average([one]).items())
    average([one, one, one])
    assert all(torch.equal(value, before[name]) for name, value in one.items())


def test_copies_average_to_themselves_exactly() -> None:
    one = {"a": torch.randn(1000) * 1e-3}
    assert torch.equal(average([one] * 7)["a"], one["a"])


def test_small_differences_are_not_lost() -> None:
    values = [{"a": torch.tensor([1.0 + k * 2**-23])} for k in range(4)]  # neighbours in float32
    assert average(values)["a"].item() == pytest.approx(1 + 1.5 * 2**-23, abs=2**-24)
    assert average([{"a": torch.tensor([1e30])}, {"a": torch.tensor([2.0])}, {"a": torch.tensor([-1e30])}])[
        "a"
    ].item() == pytest.approx(0.0, abs=1)
