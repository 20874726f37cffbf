"""Laws that every layer type obeys, for the tests of each of them."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from tests.nn.tiny import backward, grad


class LayerType(Protocol):
    """The three verbs of a layer that a decoder can be made of."""

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor: ...

    def start(self, n: int) -> Any: ...

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]: ...


def causal_mask(t: int) -> Tensor:
    return torch.ones(1, t, t, dtype=torch.bool).tril()


def no_peeking(function: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Causality by gradient: output t depends on inputs up to t, on each of them, and on no later one."""
    for t in range(x.shape[1]):
        leaf = x.detach().clone().requires_grad_()
        backward((function(leaf)[:, t] * torch.randn(x.shape[-1], dtype=x.dtype)).sum())
        seen = grad(leaf).abs().amax(dim=(0, 2))
        assert (seen[: t + 1] > 0).all()
        assert (seen[t + 1 :] == 0).all()


def padding_is_inert(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, lengths: list[int]) -> None:
    """`function(x, mask)` of padded rows is what it is of each row alone, and padding gets no gradient."""
    real = torch.arange(x.shape[1]) < torch.tensor(lengths)[:, None]
    leaf = x.detach().clone().requires_grad_()
    padded = function(leaf, real[:, None])
    for i, n in enumerate(lengths):
        alone = function(x[i : i + 1, :n], torch.ones(1, 1, n, dtype=torch.bool))
        torch.testing.assert_close(padded[i, :n], alone[0])
    backward((padded * torch.randn_like(padded))[real].sum())
    assert (grad(leaf)[real].abs().amax(-1) > 0).all()
    assert (grad(leaf)[~real] == 0).all()


def step_equals_forward(layer: LayerType, x: Tensor) -> None:
    """One position at a time gives what the whole gives, also after rows were reordered, doubled and dropped."""
    whole = layer(x, causal_mask(x.shape[1]))
    rows = torch.arange(len(x))
    state = layer.start(len(x))
    for t in range(x.shape[1]):
        y, after = layer.step(x[rows, t], state)
        torch.testing.assert_close(y, whole[rows, t])
        again, _ = layer.step(x[rows, t], state)
        assert torch.equal(y, again), "a step changed the state that it was given"
        chosen = torch.randint(len(rows), (max(1, len(rows) - t % 2),))
        rows, state = rows[chosen], after.select(chosen)
