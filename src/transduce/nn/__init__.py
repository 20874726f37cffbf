"""The Transformer as pure tensor code. Nothing here reads files, prints, or knows about text."""

from transduce.nn.attention import MultiHeadAttention
from transduce.nn.decoder import Decoder, DecoderLayer
from transduce.nn.encoder import Encoder, EncoderLayer
from transduce.nn.feed_forward import FeedForward
from transduce.nn.loss import label_smoothed_nll
from transduce.nn.transformer import Transformer, TransformerConfig, build

__all__ = [
    "Decoder",
    "DecoderLayer",
    "Encoder",
    "EncoderLayer",
    "FeedForward",
    "MultiHeadAttention",
    "Transformer",
    "TransformerConfig",
    "build",
    "label_smoothed_nll",
]
