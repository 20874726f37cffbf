"""The gradient of an update, with a thread of its own for every part of it.

The operations of a small model are too short to be shared among threads: on two cores, two threads on every operation
made a step of a tiny model (d_model 128) 1.2 times as fast as one, and 1.5 times at d_model 256. Two threads that each
take one half of the batch through the whole model meet once a step instead (docs/performance.md). In return each has
a gradient of its own in memory, to which its parts add. A part is small, because what its layers keep for their
backward pass is held at once.
"""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple, TypeVar

import torch
from torch import nn

from transduce.device import operation_threads
from transduce.shapes import Tensor

Model = TypeVar("Model", bound=nn.Module)

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


def in_lanes(model: Model, n: int) -> list[Model]:
    """`model` and n - 1 copies of it, which have its weights, in the same memory, and gradients of their own."""

    def another() -> Model:
        shared: dict[int, Tensor] = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in model.parameters()}
        return copy.deepcopy(model, shared | {id(buffer): buffer for buffer in model.buffers()})

    return [model, *(another() for _ in range(n - 1))]


def set_gradients(
    lanes: Sequence[Model], n: int, backward: Callable[[Model, int], Tensor], threads: int
) -> list[Tensor]:
    """Set the `grad` of every parameter of `lanes[0]` to the sum over parts 0 to n - 1; returns their losses in order.

    `backward` adds the gradient of a part to those of a model, and gives the part's loss. Part i is computed in lane
    i modulo their number (`in_lanes`); then the lanes' sums are added in order. So the result does not depend on who is
    faster. The `threads` are shared out evenly among the lanes.
    """
    lanes = lanes[:n]
    parameters = [list(lane.parameters()) for lane in lanes]
    for lane, own in zip(lanes, parameters, strict=True):
        if lane.training != lanes[0].training:
            lane.train(lanes[0].training)
        for parameter, shared in zip(own, parameters[0], strict=True):
            parameter.data = shared.data
            parameter.grad = None  # the last update's need not be held while this one's are made

    def share(first: int) -> list[Tensor]:
        return [backward(lanes[first], number) for number in range(first, n, len(lanes))]

    if len(lanes) == 1:
        losses = [share(0)]
    else:
        with operation_threads(max(1, threads // len(lanes))):
            losses = list(_pool(len(lanes)).map(share, range(len(lanes))))
    for own in parameters[1:]:
        _move_gradients(own, parameters[0])
    return [losses[i % len(lanes)][i // len(lanes)] for i in range(n)]


def _move_gradients(lane: Sequence[nn.Parameter], model: Sequence[nn.Parameter]) -> None:
    """Add those of `lane` to those of `model`. A parameter that only some parts use has a gradient from those."""
    sums, more = [], []
    for own, total in zip(lane, model, strict=True):
        if total.grad is None:
            total.grad = own.grad
        elif own.grad is not None:
            sums.append(total.grad)
            more.append(own.grad)
        own.grad = None
    if sums:
        torch._foreach_add_(sums, more)


@cache
def _pool(lanes: int) -> ThreadPoolExecutor:
    def begin() -> None:
        torch.set_flush_denormal(True)  # a thread's own setting (`device.tune_process`)

    return ThreadPoolExecutor(lanes, thread_name_prefix="gradient", initializer=begin)
