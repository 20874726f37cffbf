"""How large a model is and what it costs, from its config alone: nothing is built."""

from typing import NamedTuple, assert_never

from transduce.nn.attention import Attention
from transduce.nn.convolution import Convolution
from transduce.nn.recurrence import Recurrence
from transduce.nn.restricted import RestrictedAttention
from transduce.nn.transformer import TransformerConfig

SENTENCE = 25  # pieces a side, for the part of the cost that grows with length; the paper's corpora have about that
CHUNK = 512  # rows of logits at a time (`nn.loss`)


class _Part(NamedTuple):
    """One sub-layer: its weights that multiply, its other weights, what each position multiplies besides, and how many
    numbers it keeps a position for the backward pass."""

    weights: int
    biases: int
    mixing: int
    kept: int


def parameters(c: TransformerConfig, source_size: int, target_size: int) -> int:
    """Number of weights: 63,082,496 for the paper's base model with 37,000 shared pieces."""
    layers = c.n_layers * sum(part.weights + part.biases + 2 * c.d_model for part in _layer(c))
    last = 4 * c.d_model if c.norm == "pre" else 0
    tables = {"all": target_size, "target": source_size + target_size, "none": source_size + 2 * target_size}
    positions = 2 * c.max_positions * c.d_model if c.positions == "learned" else 0
    return layers + last + tables[c.share_embeddings] * c.d_model + positions


def flops_per_token(c: TransformerConfig, source_size: int, target_size: int) -> int:
    """Floating-point operations of training on one target piece and, on average, one source piece.

    Two for each weight that multiplies, three times (forward, gradient of the input, gradient of the weight), and
    attention's products for sentences of 25 pieces.
    """
    layers = c.n_layers * sum(part.weights + part.mixing for part in _layer(c))
    return 6 * (layers + target_size * c.d_model)


def training_memory(c: TransformerConfig, source_size: int, target_size: int, tokens: int) -> int:
    """Bytes that a float32 step with `tokens` source and target pieces takes: an estimate.

    Weights, gradient and two moments; what each layer keeps for the backward pass; a chunk of logits and the
    gradient of the output matrix; and 300 MB for Python and PyTorch.
    """
    state = 16 * parameters(c, source_size, target_size)
    kept = 4 * tokens * c.n_layers * sum(part.kept for part in _layer(c))
    loss = 4 * (3 * CHUNK * target_size + target_size * c.d_model + 2 * tokens * c.d_model)
    return state + kept + loss + 300_000_000


def _layer(c: TransformerConfig) -> tuple[_Part, ...]:
    """The five sub-layers of an encoder layer and a decoder layer."""
    feed_forward = _Part(2 * c.d_model * c.d_ff, c.d_ff + c.d_model, 0, 2 * c.d_ff + 4 * c.d_model)
    return _mixer(c, 2), _mixer(c, 1), _attention(c, SENTENCE), feed_forward, feed_forward


def _attention(c: TransformerConfig, seen: int) -> _Part:
    """Multi-head attention in which every position computes scores for `seen` others."""
    weights = 2 * c.n_heads * (c.d_k + c.d_v) * c.d_model
    biases = c.n_heads * (2 * c.d_k + c.d_v) + c.d_model
    kept = 4 * c.n_heads * max(c.d_k, c.d_v) + 3 * c.n_heads * seen + 5 * c.d_model
    return _Part(weights, biases, c.n_heads * (c.d_k + c.d_v) * seen, kept)


def _mixer(c: TransformerConfig, directions: int) -> _Part:
    """The layer type; recurrent ones read the encoder's side in two `directions`, each with half of the width."""
    d = c.d_model
    match c.layer:
        case Attention():
            return _attention(c, SENTENCE)
        case RestrictedAttention(neighbourhood=r):
            return _attention(c, min(SENTENCE, 2 * r - 1))
        case Recurrence(cell=cell):
            gates = 4 if cell == "lstm" else 3
            return _Part(gates * (d * d + d * d // directions), 2 * gates * d, 0, (2 * gates + 5) * d)
        case Convolution(kernel=kernel, separable=True):
            return _Part(kernel * d + d * d, d, 0, 7 * d)
        case Convolution(kernel=kernel):
            return _Part(kernel * d * d, d, 0, 6 * d)
        case _:
            assert_never(c.layer)
