"""The gradient of an update, with a thread of its own for every part of it.

The operations of a small model are too short to be shared among threads: on two cores, two threads on every operation
made a step of a tiny model (d_model 128) 1.2 times as fast as one, and 1.5 times at d_model 256. Two threads that each
take one half of the batch through the whole model meet once a step instead (docs/performance.md). In return each has
a gradient of its own in memory. A part is small, because what its layers keep for their backward pass is held at once.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import torch
from torch import nn

from transduce.device import operation_threads
from transduce.shapes import Tensor

Gradients = Sequence[Tensor | None]
Differentiate = Callable[[list[nn.Parameter], int], tuple[Tensor, Gradients]]


LEAST = 512  # tokens for a thread of its own
MOST = 1 << 19  # tokens of a part, times the model's width: what is held at once; costs a few percent (docs/log.md)


class Cut(NamedTuple):
    """Into how many `parts` an update is cut, and how many `lanes` compute them, one part each at a time."""

    lanes: int
    parts: int

    def of_each(self, batches: int) -> int:
        """Into how many parts each of the update's batches is cut."""
        return -(-self.parts // batches)


def cut(threads: int, tokens: int, d_model: int) -> Cut:
    """For an update with `tokens` target tokens: lanes of `LEAST` tokens or more, as many parts in each, none above
    `MOST`."""
    n = max(1, min(threads, tokens // LEAST))
    return Cut(n, n * -(-tokens * d_model // (n * MOST)))


def set_gradients(model: nn.Module, n: int, differentiate: Differentiate, lanes: int, threads: int) -> list[Tensor]:
    """Set every parameter's `grad` to the sum over parts 0 to n - 1; returns their losses in order.

    `differentiate` gives the loss of a part and its gradient. Part i is computed in lane i modulo `lanes`, which sums
    what it computes; then the lanes' sums are added in order. So the result does not depend on who is faster. The
    `threads` are shared out evenly among the lanes.
    """
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.grad = None  # the last update's need not be held while this one's are made

    def share(first: int) -> tuple[list[Tensor], list[Tensor | None]]:
        losses: list[Tensor] = []
        total: list[Tensor | None] = []
        for number in range(first, n, lanes):
            loss, gradients = differentiate(parameters, number)
            losses.append(loss)
            total = _added(total, gradients) if total else list(gradients)
        return losses, total

    lanes = min(lanes, n)
    if lanes == 1:
        shares = [share(0)]
    else:
        with operation_threads(max(1, threads // lanes)):
            shares = list(_pool(lanes).map(share, range(lanes)))
    total = shares[0][1]
    for _, other in shares[1:]:
        total = _added(total, other)
    for parameter, gradient in zip(parameters, total, strict=True):
        parameter.grad = gradient
    return [shares[i % lanes][0][i // lanes] for i in range(n)]


def _added(total: list[Tensor | None], more: Gradients) -> list[Tensor | None]:
    """The sum, in the tensors of `total`. A parameter that only some parts use has a gradient from those."""
    both = [(a, b) for a, b in zip(total, more, strict=True) if a is not None and b is not None]
    if both:
        torch._foreach_add_([a for a, _ in both], [b for _, b in both])
    return [b if a is None else a for a, b in zip(total, more, strict=True)]


@cache
def _pool(lanes: int) -> ThreadPoolExecutor:
    def begin() -> None:
        torch.set_flush_denormal(True)  # a thread's own setting (`device.tune_process`)

    return ThreadPoolExecutor(lanes, thread_name_prefix="gradient", initializer=begin)
