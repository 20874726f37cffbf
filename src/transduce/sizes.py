"""How large a model is and what it costs, from its config alone: nothing is built."""

from transduce.nn.transformer import TransformerConfig

SENTENCE = 25  # pieces a side, for the part of the cost that grows with length; the paper's corpora have about that
CHUNK = 512  # rows of logits at a time (`nn.loss`)


def parameters(c: TransformerConfig, source_size: int, target_size: int) -> int:
    """Number of weights: 63,082,496 for the paper's base model with 37,000 shared pieces."""
    attention = c.n_heads * (2 * c.d_k * (c.d_model + 1) + c.d_v * (c.d_model + 1) + c.d_v * c.d_model) + c.d_model
    feed_forward = 2 * c.d_model * c.d_ff + c.d_ff + c.d_model
    norm = 2 * c.d_model
    layers = c.n_layers * (attention + feed_forward + 2 * norm) + c.n_layers * (2 * attention + feed_forward + 3 * norm)
    last = 2 * norm if c.norm == "pre" else 0
    tables = {"all": target_size, "target": source_size + target_size, "none": source_size + 2 * target_size}
    positions = 2 * c.max_positions * c.d_model if c.positions == "learned" else 0
    return layers + last + tables[c.share_embeddings] * c.d_model + positions


def flops_per_token(c: TransformerConfig, source_size: int, target_size: int) -> int:
    """Floating-point operations of training on one target piece and, on average, one source piece.

    Two for each weight that multiplies, three times (forward, gradient of the input, gradient of the weight), and
    attention's products for sentences of 25 pieces.
    """
    attention = c.n_heads * (2 * c.d_k + 2 * c.d_v) * c.d_model
    feed_forward = 2 * c.d_model * c.d_ff
    products = c.n_layers * (3 * attention + 2 * feed_forward) + target_size * c.d_model
    mixing = c.n_layers * 3 * c.n_heads * (c.d_k + c.d_v) * SENTENCE
    return 6 * (products + mixing)


def training_memory(c: TransformerConfig, source_size: int, target_size: int, tokens: int) -> int:
    """Bytes that a float32 step with `tokens` source and target pieces takes: an estimate.

    Weights, gradient and two moments; what each layer keeps for the backward pass; a chunk of logits and the
    gradient of the output matrix; and 300 MB for Python and PyTorch.
    """
    state = 16 * parameters(c, source_size, target_size)
    attention = 4 * c.n_heads * max(c.d_k, c.d_v) + 3 * c.n_heads * SENTENCE + 5 * c.d_model
    feed_forward = 2 * c.d_ff + 4 * c.d_model
    kept = 4 * tokens * c.n_layers * (3 * attention + 2 * feed_forward)
    loss = 4 * (3 * CHUNK * target_size + target_size * c.d_model + 2 * tokens * c.d_model)
    return state + kept + loss + 300_000_000
