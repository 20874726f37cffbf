"""The Transformer as pure tensor code. Nothing here reads files, prints, or knows about text."""

from transduce.nn.attention import Attention, MultiHeadAttention, SelfAttention
from transduce.nn.convolution import Convolution
from transduce.nn.decoder import Decoder, DecoderLayer
from transduce.nn.embedding import Embedding
from transduce.nn.encoder import Encoder, EncoderLayer
from transduce.nn.feed_forward import FeedForward
from transduce.nn.init import initialise
from transduce.nn.loss import label_smoothed_nll
from transduce.nn.mixer import CausalMixer, Mixer, MixerState
from transduce.nn.positions import LearnedPositions, SinusoidalPositions, sinusoids
from transduce.nn.recurrence import Recurrence
from transduce.nn.restricted import RestrictedAttention
from transduce.nn.sublayer import PostNorm, PreNorm
from transduce.nn.transformer import Transformer, TransformerConfig, build

__all__ = [
    "Attention",
    "CausalMixer",
    "Convolution",
    "Decoder",
    "DecoderLayer",
    "Embedding",
    "Encoder",
    "EncoderLayer",
    "FeedForward",
    "LearnedPositions",
    "Mixer",
    "MixerState",
    "MultiHeadAttention",
    "PostNorm",
    "PreNorm",
    "Recurrence",
    "RestrictedAttention",
    "SelfAttention",
    "SinusoidalPositions",
    "Transformer",
    "TransformerConfig",
    "build",
    "initialise",
    "label_smoothed_nll",
    "sinusoids",
]
