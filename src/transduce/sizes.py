"""How large a model is and what its work is, counted from its config alone: nothing is built."""

from typing import NamedTuple, assert_never

from transduce.nn.attention import Attention
from transduce.nn.convolution import Convolution
from transduce.nn.recurrence import Recurrence
from transduce.nn.restricted import RestrictedAttention
from transduce.nn.transformer import TransformerConfig

SENTENCE = 25  # pieces a side, for the part of the cost that grows with length; the paper's corpora have about that


class _Part(NamedTuple):
    """One sub-layer: its weights that multiply, its other weights, what each position multiplies besides, how many
    numbers it keeps a position for the backward pass, and rows and columns of its linear transformations."""

    weights: int
    biases: int
    mixing: int
    kept: int
    linear: tuple[tuple[int, int], ...] = ()


class Stack(NamedTuple):
    """The encoder's or the decoder's layers: multiplications and numbers kept for the backward pass, both for each
    position, and the number of sub-layers."""

    multiplied: int
    kept: int
    sublayers: int


def parameters(c: TransformerConfig, source_size: int, target_size: int) -> int:
    """Number of weights: 63,082,496 for the paper's base model with 37,000 shared pieces."""
    parts = [part for stack in _layers(c, SENTENCE) for part in stack]
    layers = c.n_layers * sum(part.weights + part.biases + 2 * c.d_model for part in parts)
    last = 4 * c.d_model if c.norm == "pre" else 0
    tables = {"all": target_size, "target": source_size + target_size, "none": source_size + 2 * target_size}
    positions = 2 * c.max_positions * c.d_model if c.positions == "learned" else 0
    return layers + last + tables[c.share_embeddings] * c.d_model + positions


def flops_per_token(c: TransformerConfig, source_size: int, target_size: int) -> int:
    """Floating-point operations of training on one target piece and, on average, one source piece.

    Two for each weight that multiplies, three times (forward, gradient of the input, gradient of the weight), and
    attention's products for sentences of 25 pieces.
    """
    return 6 * (sum(stack.multiplied for stack in stacks(c, SENTENCE)) + target_size * c.d_model)


def linear_shapes(c: TransformerConfig) -> list[tuple[int, int]]:
    """Rows and columns of the linear transformations of all layers, without the output's."""
    return c.n_layers * [shape for stack in _layers(c, SENTENCE) for part in stack for shape in part.linear]


def stacks(c: TransformerConfig, length: int) -> tuple[Stack, Stack]:
    """Encoder and decoder, for sentences of `length` pieces."""
    encoder, decoder = _layers(c, length)
    return _stack(c, encoder), _stack(c, decoder)


def _stack(c: TransformerConfig, parts: tuple[_Part, ...]) -> Stack:
    n = c.n_layers
    return Stack(
        multiplied=n * sum(part.weights + part.mixing for part in parts),
        kept=n * sum(part.kept for part in parts),
        sublayers=n * len(parts),
    )


def _layers(c: TransformerConfig, length: int) -> tuple[tuple[_Part, ...], tuple[_Part, ...]]:
    """The sub-layers of an encoder layer and of a decoder layer."""
    inside = (2 + (c.activation_dropout > 0)) * c.d_ff
    linear = (c.d_ff, c.d_model), (c.d_model, c.d_ff)
    feed_forward = _Part(2 * c.d_model * c.d_ff, c.d_ff + c.d_model, 0, inside + 4 * c.d_model, linear)
    encoder, decoder = _mixer(c, 2, length), _mixer(c, 1, length)
    return (encoder, feed_forward), (decoder, _attention(c, length), feed_forward)


def _attention(c: TransformerConfig, seen: int) -> _Part:
    """Multi-head attention in which every position computes scores for `seen` others."""
    keys, values = c.n_heads * c.d_k, c.n_heads * c.d_v
    weights = 2 * (keys + values) * c.d_model
    biases = 2 * keys + values + c.d_model
    scores = (5 if c.attention_dropout > 0 else 3) * c.n_heads * seen
    kept = 4 * c.n_heads * max(c.d_k, c.d_v) + scores + 5 * c.d_model
    linear = (keys, c.d_model), (keys, c.d_model), (values, c.d_model), (c.d_model, values)
    return _Part(weights, biases, (keys + values) * seen, kept, linear)


def _mixer(c: TransformerConfig, directions: int, length: int) -> _Part:
    """The layer type; recurrent ones read the encoder's side in two `directions`, each with half of the width."""
    d = c.d_model
    match c.layer:
        case Attention():
            return _attention(c, length)
        case RestrictedAttention(neighbourhood=r):
            return _attention(c, min(length, 2 * r - 1))
        case Recurrence(cell=cell):
            gates = 4 if cell == "lstm" else 3
            return _Part(gates * (d * d + d * d // directions), 2 * gates * d, 0, (2 * gates + 5) * d)
        case Convolution(kernel=kernel, separable=True):
            return _Part(kernel * d + d * d, d, 0, 7 * d, ((d, d),))
        case Convolution(kernel=kernel):
            return _Part(kernel * d * d, d, 0, 6 * d)
        case _:
            assert_never(c.layer)
