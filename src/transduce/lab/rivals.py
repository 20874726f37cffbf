"""The layer types of Table 1 as the laboratory takes them: built alike, each with what the paper says of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count

import torch
from torch import nn

from transduce.nn.attention import Attention, KeyValue, scaled_dot_product_attention
from transduce.nn.convolution import Convolution
from transduce.nn.masks import causal
from transduce.nn.mixer import CausalMixer
from transduce.nn.recurrence import Recurrence
from transduce.nn.restricted import RestrictedAttention, neighbourhood_attention
from transduce.nn.transformer import Layer, TransformerConfig, decoder_mixer
from transduce.shapes import Float, Tensor

PER_HEAD = 64  # the paper's d_k
NARROW = 8  # width of the layers whose paths are followed: paths do not depend on it


@dataclass(frozen=True, kw_only=True, slots=True)
class Rival:
    """A row of Table 1: O(n^`n` d^`d` w^`w`) operations for n positions of width d; w is k or r, where there is one.

    `alone`: the mixing of given queries, keys and values, which is all that the paper counts of attention; otherwise
    the layer as it stands in the decoder, with its projections.
    """

    layer: Layer
    complexity: str
    n: int
    d: int
    path: str
    w: int = 0
    alone: bool = False

    @property
    def recurrent(self) -> bool:
        """Whether it passes from one position to the next."""
        return isinstance(self.layer, Recurrence)


RIVALS = {
    "self-attention (mixing)": Rival(layer=Attention(), complexity="n² d", n=2, d=1, path="O(1)", alone=True),
    "self-attention (layer)": Rival(layer=Attention(), complexity="n² d", n=2, d=1, path="O(1)"),
    "LSTM": Rival(layer=Recurrence(cell="lstm"), complexity="n d²", n=1, d=2, path="O(n)"),
    "GRU": Rival(layer=Recurrence(cell="gru"), complexity="n d²", n=1, d=2, path="O(n)"),
    "convolution": Rival(layer=Convolution(), complexity="k n d²", n=1, d=2, w=1, path="O(n/k)"),
    "dilated convolution": Rival(
        layer=Convolution(dilated=True), complexity="k n d²", n=1, d=2, w=1, path="O(log_k n)"
    ),
    "separable convolution": Rival(
        layer=Convolution(separable=True), complexity="k n d + n d²", n=1, d=2, path="O(n/k)"
    ),
    "restricted (mixing)": Rival(
        layer=RestrictedAttention(), complexity="r n d", n=1, d=1, w=1, path="O(n/r)", alone=True
    ),
    "restricted (layer)": Rival(layer=RestrictedAttention(), complexity="r n d", n=1, d=1, w=1, path="O(n/r)"),
}


def sized(layer: Layer, w: int) -> Layer:
    """The layer type with a kernel, or a neighbourhood, of `w` positions, if it has one."""
    match layer:
        case Convolution():
            return replace(layer, kernel=w)
        case RestrictedAttention():
            return replace(layer, neighbourhood=w)
        case _:
            return layer


def build_layer(rival: Rival, d: int, w: int, index: int) -> CausalMixer:
    """Layer `index` (from 0) of a decoder of width `d`."""
    heads = _heads(d)
    layer = sized(rival.layer, w)
    return decoder_mixer(
        TransformerConfig(d_model=d, n_heads=heads, d_k=d // heads, d_v=d // heads, layer=layer), index
    )


def _heads(d: int) -> int:
    return 1 if d % PER_HEAD else d // PER_HEAD


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: `forward` of `x`, with `weights`."""

    forward: Callable[[Tensor], Tensor]
    x: Tensor
    weights: tuple[Tensor, ...] = ()


def subject(rival: Rival, batch: int, n: int, d: int, w: int) -> Subject:
    """`batch` sequences of `n` random vectors, and the rival. Of a dilated convolution it is the second layer."""
    if not rival.alone:
        layer = build_layer(rival, d, w, index=1)
        assert isinstance(layer, nn.Module)
        return Subject(layer, torch.randn(batch, n, d, requires_grad=True), tuple(layer.parameters()))
    mask = causal(n, torch.device("cpu"))

    def mix(x: Float[Tensor, "3 B H T K"]) -> Float[Tensor, "B H T K"]:
        q, k, v = x
        if isinstance(rival.layer, RestrictedAttention):
            return neighbourhood_attention(q, KeyValue(k, v), min(w, n) - 1, 0, None)
        return scaled_dot_product_attention(q, KeyValue(k, v), mask)[0]

    return Subject(mix, torch.randn(3, batch, _heads(d), n, d // _heads(d), requires_grad=True))


def reach(rival: Rival, n: int, w: int) -> list[int]:
    """How far back the output at the last of `n` positions is influenced from, after one layer, two, ... : until it is
    the first position, `n` - 1 back, or there are as many layers as positions. Of a recurrent layer: after one cell,
    two, ... Influence is a gradient that is not zero.
    """
    x = torch.randn(1, n, NARROW, dtype=torch.float64, requires_grad=True)
    found: list[int] = []
    for y in _cells(rival, x) if rival.recurrent else _layers(rival, x, w):
        (gradient,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
        first = int(gradient[0].abs().sum(-1).nonzero()[0])
        found.append(n - 1 - first)
        if first == 0:
            break
    return found


def _layers(rival: Rival, x: Tensor, w: int) -> Iterator[Tensor]:
    """The last position after each layer of a stack. Nothing else of a decoder leads from one position to another."""
    for index in range(x.shape[1]):
        layer = build_layer(rival, NARROW, w, index)
        assert isinstance(layer, nn.Module)
        x = layer.double()(x)
        yield x[:, -1]


def _cells(rival: Rival, x: Tensor) -> Iterator[Tensor]:
    """The last position after the last cell, the last two, ... : before them the state is zero."""
    layer = build_layer(rival, NARROW, 0, 0)
    assert isinstance(layer, nn.Module)
    layer.double()
    for cells in range(1, x.shape[1] + 1):
        state, y = layer.start(1), x[:, 0]
        for t in range(x.shape[1] - cells, x.shape[1]):
            y, state = layer.step(x[:, t], state)
        yield y


def path_length(layer: Layer, n: int) -> int:
    """The closed form: layers (cells, of a recurrent one) from the first of `n` positions to the last."""
    match layer:
        case Recurrence():
            return n
        case Convolution(kernel=k, dilated=True):
            return next(m for m in count(1) if k**m >= n)
        case Convolution(kernel=k):
            return -(-(n - 1) // (k - 1))
        case RestrictedAttention(neighbourhood=r):
            return -(-(n - 1) // (r - 1))
        case Attention():
            return 1


def closed_form(layer: Layer) -> str:
    """`path_length`, as one writes it."""
    match layer:
        case Recurrence():
            return "n"
        case Convolution(dilated=True):
            return "⌈log_k n⌉"
        case Convolution():
            return "⌈(n - 1) / (k - 1)⌉"
        case RestrictedAttention():
            return "⌈(n - 1) / (r - 1)⌉"
        case Attention():
            return "1"
