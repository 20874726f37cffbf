"""What a computation does, seen from below: every operation that PyTorch runs, and on which results each one waits."""

import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from transduce.shapes import Tensor


@dataclass(kw_only=True, slots=True)
class Counts:
    """`flops`: two for each multiplication in a matrix product or convolution, as `torch.utils.flop_counter` counts;
    `operations`: those that write memory (a product is one, a view is none); `chain`: the most of them that wait for
    one another, from the input on; `moved`: bytes of what they read and write; `peak`: most bytes held at a time
    besides the input and the weights."""

    flops: int = 0
    operations: int = 0
    chain: int = 0
    moved: int = 0
    peak: int = 0


def count(forward: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Counts, Counts]:
    """What `forward` does with `x`, and what it and the backward pass from the sum of its result do together."""
    trace = _Trace(x)
    own = {torch.ops.aten.convolution_backward: _convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=own) as flops, trace:
        y = forward(x)
        ahead = replace(trace.counts, flops=flops.get_total_flops())
        y.sum().backward()  # type: ignore[no-untyped-call]
    return ahead, replace(trace.counts, flops=flops.get_total_flops())


def _convolution_backward(grad: torch.Size, x: object, weight: torch.Size, *others: Any, **more: Any) -> int:
    """Each of the two gradients multiplies as often as the convolution.

    PyTorch's own formula (2.13) forgets the groups of a separable one, d of them (its pull request 183405).
    """
    wanted = others[-1]
    return int(2 * math.prod(grad) * math.prod(weight[1:]) * sum(wanted[:2]))


Span = tuple[int, int]  # of a storage: the first element that a tensor sees, and the one after the last


@dataclass(slots=True)
class _Storage:
    """How long the chain is that ends in each part that was written (none where nothing comes from the input)."""

    size: int
    written: dict[Span, int] = field(default_factory=dict)

    def depth(self, span: Span) -> int | None:
        return max((d for (a, b), d in self.written.items() if a < span[1] and span[0] < b), default=None)


class _Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows storages, not tensors: views of one storage hold what was written to it, but only the part they see."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = Counts()
        self._known: dict[int, _Storage] = {}
        self._held = 0
        self._follow(x, held=False).written[_span(x)] = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        read = list(_tensors((*args, *kwargs.values())))
        waits = [d for t in read if (s := self._known.get(_key(t))) and (d := s.depth(_span(t))) is not None]
        sources = {_key(t) for t in read}
        result = func(*args, **kwargs)
        changed = func._schema.is_mutable
        written = [t for t in _tensors(result) if changed or _key(t) not in sources]
        if not written:  # a view
            return result
        self.counts.operations += 1
        self.counts.moved += sum(map(_bytes, (*read, *written)))
        for t in written:
            storage = self._known.get(_key(t)) or self._follow(t, held=True)
            if waits:
                storage.written[_span(t)] = max(waits) + 1
                self.counts.chain = max(self.counts.chain, max(waits) + 1)
        return result

    def _follow(self, t: Tensor, held: bool) -> _Storage:
        """From now on until it is freed."""
        key, storage = _key(t), t.untyped_storage()
        self._known[key] = _Storage(storage.nbytes())
        if held:
            self._held += storage.nbytes()
            self.counts.peak = max(self.counts.peak, self._held)
        weakref.finalize(storage, self._freed, key, held)
        return self._known[key]

    def _freed(self, key: int, held: bool) -> None:
        size = self._known.pop(key).size
        self._held -= size if held else 0


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, torch.Tensor):
        if values.numel():
            yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _tensors(value)


def _key(t: Tensor) -> int:
    return int(t.untyped_storage()._cdata)


def _span(t: Tensor) -> Span:
    first = int(t.storage_offset())
    return first, first + 1 + sum((n - 1) * step for n, step in zip(t.shape, t.stride(), strict=True))


def _bytes(t: Tensor) -> int:
    """A tensor that repeats its memory moves it once."""
    return min(t.numel() * t.element_size(), t.untyped_storage().nbytes())


@contextmanager
def unfused() -> Iterator[None]:
    """Without the kernels of oneDNN, one of which is a whole LSTM: every product of its cells is an operation."""
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)
