"""Dropout: its rate, its scale, its mean; off in evaluation; a function of the seed."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.nn.tiny import backward
from transduce.errors import ConfigError
from transduce.nn.dropout import LEVELS, Dropout, seeded

pytestmark = pytest.mark.unit

N = 400_003  # not a multiple of four, the masks in a random word


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_rate_scale_and_mean(p: float) -> None:
    y = Dropout(p)(torch.ones(N))
    dropped = (y == 0).double().mean().item()
    assert dropped == pytest.approx(p, abs=5 * (p * (1 - p) / N) ** 0.5)
    rounded = round(p * LEVELS) / LEVELS
    torch.testing.assert_close(y[y != 0].unique(), torch.tensor([1 / (1 - rounded)]))
    assert y.double().mean().item() == pytest.approx(1, abs=5 * (p / (1 - p) / N) ** 0.5)


def test_neighbours_are_dropped_independently() -> None:
    dropped = (Dropout(0.3)(torch.ones(N)) == 0).double()
    for distance in (1, 2, 3, 4, 8):  # 1 to 3 share a random word
        both = (dropped[distance:] * dropped[:-distance]).mean().item()
        assert both == pytest.approx(0.09, abs=5 * (0.09 * 0.91 / N) ** 0.5)


def test_what_is_kept_is_scaled_and_so_is_its_gradient() -> None:
    x = torch.randn(3, 5, 7, requires_grad=True)
    y = Dropout(0.4)(x)
    mask = torch.where(y == 0, 0.0, 1 / (1 - round(0.4 * LEVELS) / LEVELS))
    torch.testing.assert_close(y, x * mask)
    backward(y.sum())
    torch.testing.assert_close(x.grad, mask)


def test_off_in_evaluation_and_for_zero() -> None:
    x = torch.randn(10)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_the_seed_decides() -> None:
    x, dropout = torch.ones(1000), Dropout(0.5)
    torch.manual_seed(7)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(7)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)


def test_a_seed_of_this_thread_alone() -> None:
    x, dropout = torch.ones(1000), Dropout(0.5)
    torch.manual_seed(7)
    outside = dropout(x)
    torch.manual_seed(7)
    with ThreadPoolExecutor(1) as other, seeded(3):
        inside = dropout(x)
        assert torch.equal(other.submit(dropout, x).result(), outside)  # from the global generator, untouched
        with seeded(3):
            assert torch.equal(dropout(x), inside)
        assert not torch.equal(dropout(x), inside)  # goes on


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (5, 2)])
def test_shape_and_type_stay(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    y = Dropout(0.5)(torch.ones(shape, dtype=dtype))
    assert y.shape == shape
    assert y.dtype == dtype


def test_a_rate_next_to_one_is_finite() -> None:
    assert Dropout(1 - 1e-9)(torch.ones(1000)).isfinite().all()


def test_other_devices_use_torch_s_own() -> None:
    assert Dropout(0.5)(torch.ones(3, device="meta")).shape == (3,)


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, float("nan")])
def test_a_rate_that_drops_all_or_is_none_is_refused(p: float) -> None:
    with pytest.raises(ConfigError, match="at least 0 and below 1"):
        Dropout(p)
