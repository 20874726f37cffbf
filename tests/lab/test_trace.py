"""Counting operations: on graphs whose depth, products and memory are known."""

from collections.abc import Callable

import pytest
import torch

from transduce.lab.trace import count, unfused
from transduce.shapes import Tensor

pytestmark = pytest.mark.unit


def chain(forward: Callable[[Tensor], Tensor]) -> int:
    return count(forward, torch.ones(4, requires_grad=True))[0].chain


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_a_chain_is_as_long_as_it_is(depth: int) -> None:
    def forward(x: Tensor) -> Tensor:
        for _ in range(depth):
            x = x.sin()
        return x

    ahead, both = count(forward, torch.ones(4, requires_grad=True))
    assert (ahead.operations, ahead.chain) == (depth, depth)
    # the sum, its gradient of one (expanded: a view), and two operations for the derivative of each sine, of which the
    # cosine waits for the sine's input only
    assert both.operations == depth + 2 + 2 * depth
    assert both.chain == depth + 2 + depth


def test_what_could_run_at_once_is_not_a_chain() -> None:
    assert chain(lambda x: torch.stack([x.sin(), x.cos(), x.exp()])) == 2
    assert chain(lambda x: x.sin() + x.cos().exp()) == 3


def test_views_are_free_and_copies_are_not() -> None:
    assert chain(lambda x: x.view(2, 2).t()[None] * 1.0) == 1
    assert chain(lambda x: x.view(2, 2).t().contiguous() * 1.0) == 2


def test_what_does_not_come_from_the_input_waits_for_nothing() -> None:
    assert chain(lambda x: x * torch.arange(4.0).sin().cos().exp()) == 1


def test_writing_into_a_part_waits_for_that_part() -> None:
    def apart(x: Tensor) -> Tensor:
        y = x * 2
        for part in y.detach().unsafe_split(1):
            part.sin_()
        return y

    def overlapping(x: Tensor) -> Tensor:
        y = x * 2
        for _ in range(4):
            y.detach()[:2].sin_()
        return y

    assert chain(apart) == 2
    assert chain(overlapping) == 5


def test_products_count_two_for_each_multiplication() -> None:
    weights = torch.ones(5, 3, requires_grad=True)
    ahead, both = count(lambda x: x @ weights, torch.ones(4, 5, requires_grad=True))
    assert ahead.flops == 2 * 4 * 5 * 3
    assert both.flops == 3 * ahead.flops
    assert ahead.moved == 4 * (4 * 5 + 5 * 3 + 4 * 3)


def test_memory_is_what_is_held_at_once() -> None:
    with torch.no_grad():
        x = torch.ones(1000)

    def forward(x: Tensor) -> Tensor:
        with torch.no_grad():
            for _ in range(5):
                x = x + 1  # the one before is freed
        return x.requires_grad_()

    assert count(forward, x)[0].peak == 2 * 4000
    kept = count(lambda x: x.sin().sin().sin(), torch.ones(1000, requires_grad=True))[0]
    assert kept.peak == 3 * 4000  # for the backward pass


def test_without_fused_kernels_every_cell_is_seen_and_then_they_are_back() -> None:
    cells, x = torch.nn.LSTM(4, 4, batch_first=True), torch.randn(1, 9, 4, requires_grad=True)
    before = torch.backends.mkldnn.enabled
    with unfused():
        assert count(lambda x: cells(x)[0], x)[0].operations > 9
    assert torch.backends.mkldnn.enabled == before
