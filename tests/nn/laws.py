"""Laws that every layer type obeys, for the tests of each of them."""

from collections.abc import Callable

import torch
from torch import Tensor

from tests.nn.tiny import backward, grad
from transduce.nn.mixer import CausalMixer


def influences(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """seen[t, s]: whether output t depends on input s, by gradient."""
    rows = []
    for t in range(x.shape[1]):
        leaf = x.detach().clone().requires_grad_()
        backward((function(leaf)[:, t] * torch.randn(x.shape[-1], dtype=x.dtype)).sum())
        rows.append(grad(leaf).abs().amax(dim=(0, 2)) > 0)
    return torch.stack(rows)


def no_peeking(function: Callable[[Tensor], Tensor], x: Tensor, reach: int | None = None) -> None:
    """Causality by gradient: output t depends on inputs up to t, on each of them, and on no later one.

    A layer type that looks no more than `reach` positions back depends on none before these.
    """
    t = x.shape[1]
    earlier = torch.ones(t, t, dtype=torch.bool).tril()
    near = earlier if reach is None else earlier.triu(-reach)
    assert torch.equal(influences(function, x), near)


def padding_is_inert(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, lengths: list[int]) -> None:
    """`function(x, real)` of padded rows is what it is of each row alone, and padding gets no gradient."""
    real = torch.arange(x.shape[1]) < torch.tensor(lengths)[:, None]
    leaf = x.detach().clone().requires_grad_()
    padded = function(leaf, real)
    for i, n in enumerate(lengths):
        alone = function(x[i : i + 1, :n], torch.ones(1, n, dtype=torch.bool))
        torch.testing.assert_close(padded[i, :n], alone[0])
    backward((padded * torch.randn_like(padded))[real].sum())
    assert (grad(leaf)[real].abs().amax(-1) > 0).all()
    assert (grad(leaf)[~real] == 0).all()


def step_equals_forward(layer: CausalMixer, x: Tensor) -> None:
    """One position at a time gives what the whole gives, also after rows were reordered, doubled and dropped."""
    whole = layer(x)
    rows = torch.arange(len(x))
    state = layer.start(len(x))
    for t in range(x.shape[1]):
        y, after = layer.step(x[rows, t], state)
        torch.testing.assert_close(y, whole[rows, t])
        again, _ = layer.step(x[rows, t], state)
        assert torch.equal(y, again), "a step changed the state that it was given"
        chosen = torch.randint(len(rows), (max(1, len(rows) - t % 2),))
        rows, state = rows[chosen], after.select(chosen)
