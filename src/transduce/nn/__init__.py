"""The Transformer as pure tensor code. Nothing here reads files, prints, or knows about text."""

from transduce.nn.attention import Attention, MultiHeadAttention
from transduce.nn.convolution import Convolution
from transduce.nn.decoder import Decoder, DecoderLayer
from transduce.nn.encoder import Encoder, EncoderLayer
from transduce.nn.feed_forward import FeedForward
from transduce.nn.loss import label_smoothed_nll
from transduce.nn.mixer import CausalMixer, Mixer, MixerState
from transduce.nn.recurrence import Recurrence
from transduce.nn.restricted import RestrictedAttention
from transduce.nn.transformer import Transformer, TransformerConfig, build

__all__ = [
    "Attention",
    "CausalMixer",
    "Convolution",
    "Decoder",
    "DecoderLayer",
    "Encoder",
    "EncoderLayer",
    "FeedForward",
    "Mixer",
    "MixerState",
    "MultiHeadAttention",
    "Recurrence",
    "RestrictedAttention",
    "Transformer",
    "TransformerConfig",
    "build",
    "label_smoothed_nll",
]
