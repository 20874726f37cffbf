"""The loss against its formula and against `torch.nn.functional.cross_entropy`: values, gradients, chunk borders."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.nn.tiny import PAD, backward, grad, ids
from transduce.nn import loss as module
from transduce.nn.loss import label_smoothed_nll, r_drop_nll, reference_nll, reference_r_drop

pytestmark = pytest.mark.unit

V, D = 13, 6
CHUNK, BLOCK = 40, 7  # rows held, and of them in float32
smoothings = pytest.mark.parametrize("eps_ls", [0.0, 0.1, 0.6])


@pytest.fixture(autouse=True)
def few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOGITS", CHUNK * V)
    monkeypatch.setattr(module, "WIDE", BLOCK * V)


def inputs(lengths: list[int], dtype: torch.dtype, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    targets = ids(lengths, extra=2, limit=V)
    states = scale * torch.randn(*targets.shape, D, dtype=dtype)
    return states.requires_grad_(), torch.randn(V, D, dtype=dtype).requires_grad_(), targets


def copy(x: Tensor) -> Tensor:
    return x.detach().clone().requires_grad_()


def torch_s(states: Tensor, weight: Tensor, targets: Tensor, eps_ls: float) -> Tensor:
    logits = (states @ weight.T).flatten(0, 1)
    return F.cross_entropy(logits, targets.flatten(), ignore_index=PAD, label_smoothing=eps_ls, reduction="sum")


def formula(states: Tensor, weight: Tensor, targets: Tensor, eps_ls: float) -> Tensor:
    return reference_nll(states, weight, targets, eps_ls, PAD)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@smoothings
@pytest.mark.parametrize(
    "lengths",
    [[4, 1, 3], [1], [BLOCK + 1], [CHUNK - 1], [CHUNK], [CHUNK, 1], [CHUNK + 3, 2 * CHUNK]],
    ids=["ragged", "one row", "two blocks", "one below a chunk", "a chunk", "one above a chunk", "four chunks"],
)
def test_values_and_gradients_are_torch_s_and_the_formula_s(
    lengths: list[int], eps_ls: float, dtype: torch.dtype
) -> None:
    states, weight, targets = inputs(lengths, dtype)
    loss, n = label_smoothed_nll(states, weight, targets, eps_ls, PAD)
    assert n == sum(lengths)
    backward(loss * 0.7)
    for reference in (torch_s, formula):
        s, w = copy(states), copy(weight)
        expected = reference(s, w, targets, eps_ls)
        torch.testing.assert_close(loss.double(), expected.double(), rtol=1e-5, atol=2e-5)
        assert loss.dtype == dtype
        backward(expected * 0.7)
        torch.testing.assert_close(grad(states), grad(s), rtol=1e-5, atol=2e-5)
        torch.testing.assert_close(grad(weight), grad(w), rtol=1e-4, atol=1e-4)
    assert (grad(states)[targets == PAD] == 0).all()
    assert reference_nll(states, weight, targets, eps_ls, PAD)[1] == n


def test_uniform_predictions_cost_log_v() -> None:
    targets = ids([3, 2], limit=V)
    for eps_ls in (0.0, 0.3):
        loss, n = label_smoothed_nll(torch.zeros(2, 3, D), torch.randn(V, D), targets, eps_ls, PAD)
        assert loss.item() / n == pytest.approx(math.log(V))


@smoothings
def test_no_real_target_costs_nothing(eps_ls: float) -> None:
    states, weight, _ = inputs([2, 2], torch.float32)
    loss, n = label_smoothed_nll(states, weight, torch.full((2, 4), PAD), eps_ls, PAD)
    assert (loss.item(), n) == (0.0, 0)
    backward(loss)
    assert (grad(states) == 0).all()
    assert (grad(weight) == 0).all()


@smoothings
def test_where_nothing_is_differentiated_no_gradient_is_made(eps_ls: float, monkeypatch: pytest.MonkeyPatch) -> None:
    states, weight, targets = inputs([5, 2], torch.float32)
    expected, _ = label_smoothed_nll(states, weight, targets, eps_ls, PAD)
    shapes: list[torch.Size] = []

    def counted(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def made(x: Tensor, **how: Any) -> Tensor:
            shapes.append(x.shape)
            return make(x, **how)

        return made

    monkeypatch.setattr(torch, "zeros_like", counted(torch.zeros_like))
    monkeypatch.setattr(torch, "empty_like", counted(torch.empty_like))
    with torch.no_grad():
        loss, _ = label_smoothed_nll(states, weight, targets, eps_ls, PAD)
    assert (loss, shapes) == (expected, [])
    label_smoothed_nll(states, weight, targets, eps_ls, PAD)
    assert weight.shape in shapes


@smoothings
def test_huge_logits_stay_finite(eps_ls: float) -> None:
    """exp(z - max) underflows, and with denormals flushed softmax alone would give log 0."""
    states, weight, targets = inputs([5, 2], torch.float32, scale=300.0)
    before = torch.set_flush_denormal(True)
    try:
        loss, _ = label_smoothed_nll(states, weight, targets, eps_ls, PAD)
        backward(loss)
    finally:
        torch.set_flush_denormal(False)
    assert before
    s, w = copy(states), copy(weight)
    expected = torch_s(s.double(), w.double(), targets, eps_ls)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)
    backward(expected)
    torch.testing.assert_close(grad(states), grad(s), rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(grad(weight), grad(w), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(("needs_states", "needs_weight"), [(True, False), (False, True), (False, False)])
def test_only_the_gradients_that_are_wanted(needs_states: bool, needs_weight: bool) -> None:
    states, weight, targets = inputs([4, 2], torch.float32)
    loss, _ = label_smoothed_nll(states, weight, targets, 0.1, PAD)
    backward(loss)
    s, w = states.detach().requires_grad_(needs_states), weight.detach().requires_grad_(needs_weight)
    part, _ = label_smoothed_nll(s, w, targets, 0.1, PAD)
    assert torch.equal(part, loss)
    assert part.requires_grad == (needs_states or needs_weight)
    if part.requires_grad:
        backward(part)
    for x, wanted, whole in ((s, needs_states, states), (w, needs_weight, weight)):
        assert (x.grad is not None) == wanted
        if wanted:
            torch.testing.assert_close(grad(x), grad(whole))


def test_second_derivatives_are_refused() -> None:
    """They would be wrong: the first are computed where autograd does not look."""
    states, weight, targets = inputs([2], torch.float32)
    loss, _ = label_smoothed_nll(states, weight, targets, 0.1, PAD)
    (first,) = torch.autograd.grad(loss.square(), states, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        backward(first.pow(2).sum())


def test_autocast_computes_in_bf16_and_sums_in_float32() -> None:
    states, weight, targets = inputs([CHUNK, 40], torch.float32)
    expected = torch_s(s := copy(states), w := copy(weight), targets, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        loss, n = label_smoothed_nll(states, weight, targets, 0.1, PAD)
    backward(loss)
    backward(expected)
    assert loss.dtype == grad(weight).dtype == torch.float32
    assert loss.item() / n == pytest.approx(expected.item() / n, rel=0.01)
    for ours, theirs in ((states, s), (weight, w)):
        off = (grad(ours) - grad(theirs)).norm() / grad(theirs).norm()
        assert off < 0.02
    rows = states.detach().bfloat16()
    by_rows, _ = label_smoothed_nll(rows, weight, targets, 0.1, PAD)  # states that are bf16 already
    torch.testing.assert_close(by_rows, loss.detach())


# ---- R-Drop


RAGGED = {"ragged": [4, 1, 3], "one row": [1], "two blocks": [BLOCK + 1], "chunks": [CHUNK + 3, 2 * CHUNK]}


def twice(lengths: list[int], dtype: torch.dtype, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """States of two passes that are not the same."""
    states, weight, targets = inputs(lengths, dtype, scale)
    other = states.detach() + 0.5 * scale * torch.randn_like(states)
    return torch.cat((states.detach(), other)).requires_grad_(), weight, targets


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [0.3, 5.0])
@smoothings
@pytest.mark.parametrize("lengths", RAGGED.values(), ids=RAGGED.keys())
def test_r_drop_and_its_gradients_are_the_formula_s(
    lengths: list[int], eps_ls: float, alpha: float, dtype: torch.dtype
) -> None:
    states, weight, targets = twice(lengths, dtype)
    loss, n = r_drop_nll(states, weight, targets, eps_ls, PAD, alpha)
    s, w = copy(states), copy(weight)
    expected, count = reference_r_drop(s, w, targets, eps_ls, PAD, alpha)
    assert n == count == sum(lengths)
    torch.testing.assert_close(loss.double(), expected.double(), rtol=1e-5, atol=2e-5)
    backward(loss * 0.7)
    backward(expected * 0.7)
    torch.testing.assert_close(grad(states), grad(s), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(grad(weight), grad(w), rtol=1e-4, atol=1e-3)


def test_the_divergence_is_torch_s() -> None:
    states, weight, targets = twice([5, 2], torch.float64)
    p, q = ((one[targets != PAD] @ weight.T).log_softmax(-1) for one in states.chunk(2))
    apart = sum(F.kl_div(a, b, reduction="sum", log_target=True) for a, b in ((p, q), (q, p)))
    with_it, _ = r_drop_nll(states, weight, targets, 0.1, PAD, 3.0)
    without = sum(torch_s(one, weight, targets, 0.1) for one in states.chunk(2)) / 2
    torch.testing.assert_close(with_it.double(), without + 3.0 / 4 * apart, rtol=1e-6, atol=0)


def test_r_drop_of_equal_passes_is_the_loss_of_one() -> None:
    states, weight, targets = inputs([CHUNK, 4], torch.float32)
    one, n = label_smoothed_nll(states, weight, targets, 0.1, PAD)
    backward(one)
    s, w = torch.cat((copy(states), copy(states))).detach().requires_grad_(), copy(weight)
    both, count = r_drop_nll(s, w, targets, 0.1, PAD, 5.0)
    backward(both)
    assert count == n
    torch.testing.assert_close(both, one)
    torch.testing.assert_close(sum(grad(s).chunk(2)), grad(states))
    torch.testing.assert_close(grad(w), grad(weight), rtol=1e-4, atol=1e-4)


def test_r_drop_is_the_sum_of_its_parts() -> None:
    states, weight, targets = twice([5, 1, CHUNK, 3], torch.float64)
    whole, _ = r_drop_nll(states, weight, targets, 0.1, PAD, 2.0)
    backward(whole)
    s, w = copy(states), copy(weight)
    passes = s.chunk(2)
    parts = [
        r_drop_nll(torch.cat([one[a:b] for one in passes]), w, targets[a:b], 0.1, PAD, 2.0)[0]
        for a, b in ((0, 1), (1, 3), (3, 4))
    ]
    total = torch.stack(parts).sum()
    backward(total)
    torch.testing.assert_close(total, whole, rtol=1e-6, atol=0)
    torch.testing.assert_close(grad(s), grad(states))
    torch.testing.assert_close(grad(w), grad(weight), rtol=1e-5, atol=1e-5)  # summed in float32


def test_r_drop_of_huge_logits_stays_finite() -> None:
    states, weight, targets = twice([5, 2], torch.float32, scale=300.0)
    before = torch.set_flush_denormal(True)
    try:
        loss, _ = r_drop_nll(states, weight, targets, 0.1, PAD, 1.0)
        backward(loss)
    finally:
        torch.set_flush_denormal(False)
    assert before
    expected, _ = reference_r_drop(copy(states), copy(weight), targets, 0.1, PAD, 1.0)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0)
    assert grad(states).isfinite().all()
    assert grad(weight).isfinite().all()


def test_r_drop_in_autocast() -> None:
    states, weight, targets = twice([CHUNK, 40], torch.float32)
    expected, _ = reference_r_drop(s := copy(states), w := copy(weight), targets, 0.1, PAD, 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = r_drop_nll(states, weight, targets, 0.1, PAD, 1.0)
    backward(loss)
    backward(expected)
    assert loss.item() == pytest.approx(expected.item(), rel=0.01)
    for ours, theirs in ((states, s), (weight, w)):
        assert (grad(ours) - grad(theirs)).norm() / grad(theirs).norm() < 0.02
