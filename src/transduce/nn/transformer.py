"""The Transformer, section 3: its config and the one place that builds it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, assert_never, final, get_args

from torch import nn

from transduce.errors import ConfigError
from transduce.nn.attention import Attention, MultiHeadAttention, SelfAttention
from transduce.nn.convolution import Convolution, Convolutional
from transduce.nn.decoder import Decoder, DecoderLayer, Memory
from transduce.nn.embedding import Embedding
from transduce.nn.encoder import Encoder, EncoderLayer
from transduce.nn.feed_forward import FeedForward
from transduce.nn.init import initialise
from transduce.nn.masks import not_padding
from transduce.nn.mixer import CausalMixer, Mixer, MixerState
from transduce.nn.positions import LearnedPositions, SinusoidalPositions
from transduce.nn.recurrence import BidirectionalRecurrent, Recurrence, Recurrent
from transduce.nn.restricted import RestrictedAttention, RestrictedSelfAttention
from transduce.nn.sublayer import Connection, Norm, build_connection
from transduce.shapes import Float, Int, Tensor

Positions = Literal["sinusoidal", "learned"]
Sharing = Literal["all", "target", "none"]
Layer = Attention | Recurrence | Convolution | RestrictedAttention


LAYERS: dict[str, type[Layer]] = {layer().kind: layer for layer in get_args(Layer)}


def layer_from(values: Mapping[str, Any]) -> Layer:
    """A layer type from plain values, of which `kind` names it. Raises `ConfigError` where there is no such kind."""
    settings = dict(values)
    kind = settings.pop("kind", None)
    if kind not in LAYERS:
        raise ConfigError(f"model.layer.kind = {kind!r}: no such layer type. Use one of {', '.join(LAYERS)}.")
    return LAYERS[kind](**settings)


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerConfig:
    """Table 3's columns, in its order, then what the paper fixes. The defaults are the paper's base model.

    `d_k` and `d_v` are per head and not derived: rows (A) and (B) vary h and d_k apart. (eps_ls, the last column,
    belongs to the loss: `training.label_smoothing`.) `attention_dropout` is of the weights after the softmax, also of
    those over the memory, which are attention whatever the layers are; `activation_dropout` of what is inside the
    feed-forward network. `layer` is what stands in the place of self-attention in both
    stacks, one of Table 1; the decoder reads the memory by attention, whatever the layers are.

    Differs: the paper has self-attention only. The other layer types are its rivals, to be measured beside it.
    """

    n_layers: int = 6
    d_model: int = 512
    d_ff: int = 2048
    n_heads: int = 8
    d_k: int = 64
    d_v: int = 64
    p_drop: float = 0.1
    positions: Positions = "sinusoidal"
    norm: Norm = "post"
    residual: bool = True
    share_embeddings: Sharing = "all"
    max_positions: int = 1024  # learned positions only
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    layer: Layer = field(default_factory=Attention)

    def __post_init__(self) -> None:
        for name in ("n_layers", "d_model", "d_ff", "n_heads", "d_k", "d_v", "max_positions"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name} = {getattr(self, name)}: must be at least 1.")
        for name, known in (("positions", Positions), ("norm", Norm), ("share_embeddings", Sharing)):
            if getattr(self, name) not in get_args(known):
                raise ConfigError(
                    f"model.{name} = {getattr(self, name)!r}: no such choice. Use one of {', '.join(get_args(known))}."
                )
        for name in ("p_drop", "attention_dropout", "activation_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"model.{name} = {getattr(self, name)}: a probability, at least 0 and below 1.")
        if self.d_model % 2:
            raise ConfigError(f"model.d_model = {self.d_model}: must be even (sines and cosines come in pairs).")


@final
@dataclass(frozen=True, slots=True)
class TransformerState:
    """Decoding state as a value: `step` takes one and returns the next."""

    position: int
    own: tuple[MixerState, ...]
    memory: tuple[Memory, ...]

    def select(self, rows: Int[Tensor, " M"]) -> "TransformerState":
        """The state whose row i is this one's row rows[i]; rows of one source stay together."""
        own = tuple(state.select(rows) for state in self.own)
        return TransformerState(self.position, own, tuple(memory.select(rows) for memory in self.memory))


@final
class Transformer(nn.Module):
    """Encoder and decoder with their embeddings. The loss and the search are outside."""

    def __init__(self, source: Embedding, encoder: Encoder, target: Embedding, decoder: Decoder, pad: int) -> None:
        super().__init__()
        self.source = source
        self.encoder = encoder
        self.target = target
        self.decoder = decoder
        self.pad = pad
        self.output: nn.Linear | None = None  # None: the target embedding's matrix (section 3.4)

    @property
    def output_weight(self) -> Float[Tensor, "V D"]:
        """The pre-softmax linear transformation; states @ output_weight.T are the logits."""
        return self.target.table.weight if self.output is None else self.output.weight

    def forward(self, source: Int[Tensor, "B S"], target_in: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """The decoder's states for every position of `target_in`, given `source` (ids, padded at the right)."""
        real = not_padding(source, self.pad)
        memory = self.encoder(self.source(source), real)
        return self.decoder(self.target(target_in), memory, real[:, None])  # type: ignore[no-any-return]

    def start(self, source: Int[Tensor, "B S"], copies: int = 1) -> TransformerState:
        """Encode; the state of B * copies empty targets, `copies` adjacent rows for each source."""
        real = not_padding(source, self.pad)
        memory = self.encoder(self.source(source), real)
        own, cross = [], []
        for layer in self.decoder.layers:
            assert isinstance(layer, DecoderLayer)
            own.append(layer.mixer.start(len(source) * copies))
            cross.append(Memory(layer.cross_attention.keys_values(memory), real[:, None], copies))
        return TransformerState(0, tuple(own), tuple(cross))

    def step(
        self, previous: Int[Tensor, " N"], state: TransformerState
    ) -> tuple[Float[Tensor, "N V"], TransformerState]:
        """Logits of the next piece after `previous` (the start symbol first), and the state that includes it."""
        x = self.target(previous[:, None], first=state.position)[:, 0]
        own = []
        for layer, past, memory in zip(self.decoder.layers, state.own, state.memory, strict=True):
            assert isinstance(layer, DecoderLayer)
            x, after = layer.step(x, past, memory)
            own.append(after)
        logits = nn.functional.linear(self.decoder.norm(x), self.output_weight)
        return logits, TransformerState(state.position + 1, tuple(own), state.memory)


def build(config: TransformerConfig, source_size: int, target_size: int, pad: int) -> Transformer:
    """A freshly initialised Transformer over vocabularies of the given sizes, from torch's global generator.

    Raises:
        ConfigError: all embeddings shared, but the two vocabularies differ in size.
    """
    c = config
    if c.share_embeddings == "all" and source_size != target_size:
        raise ConfigError(
            f"model.share_embeddings = 'all' needs one vocabulary, but source has {source_size} pieces and target "
            f"{target_size}. Set tokenizer.joint = true, or share_embeddings = 'target'."
        )
    target_table = nn.Embedding(target_size, c.d_model)
    source_table = target_table if c.share_embeddings == "all" else nn.Embedding(source_size, c.d_model)
    model = Transformer(
        Embedding(source_table, _positions(c), c.p_drop),
        Encoder([_encoder_layer(c, i) for i in range(c.n_layers)], _last_norm(c)),
        Embedding(target_table, _positions(c), c.p_drop),
        Decoder([_decoder_layer(c, i) for i in range(c.n_layers)], _last_norm(c)),
        pad,
    )
    if c.share_embeddings == "none":
        model.output = nn.Linear(c.d_model, target_size, bias=False)
    initialise(model)
    return model


def _encoder_layer(c: TransformerConfig, index: int) -> EncoderLayer:
    return EncoderLayer(encoder_mixer(c, index), _feed_forward(c), (_around(c), _around(c)))


def _decoder_layer(c: TransformerConfig, index: int) -> DecoderLayer:
    around = (_around(c), _around(c), _around(c))
    return DecoderLayer(decoder_mixer(c, index), _attention(c), _feed_forward(c), around)


def encoder_mixer(c: TransformerConfig, index: int) -> Mixer:
    """What lets positions see each other in encoder layer `index` (from 0): before and after their own."""
    match c.layer:
        case Attention():
            return SelfAttention(_attention(c), causal=False)
        case Recurrence(cell=cell):
            half = c.d_model // 2
            return BidirectionalRecurrent(Recurrent(cell, c.d_model, half), Recurrent(cell, c.d_model, half))
        case Convolution(kernel=kernel, separable=separable):
            dilation = c.layer.dilation(index)
            return Convolutional(c.d_model, kernel, dilation, separable, after=(kernel - 1) // 2 * dilation)
        case RestrictedAttention(neighbourhood=r):
            return RestrictedSelfAttention(_attention(c), before=r // 2, after=(r - 1) // 2)
        case _:
            assert_never(c.layer)


def decoder_mixer(c: TransformerConfig, index: int) -> CausalMixer:
    """The same for decoder layer `index`: a position and those before it."""
    match c.layer:
        case Attention():
            return SelfAttention(_attention(c), causal=True)
        case Recurrence(cell=cell):
            return Recurrent(cell, c.d_model, c.d_model)
        case Convolution(kernel=kernel, separable=separable):
            return Convolutional(c.d_model, kernel, c.layer.dilation(index), separable, after=0)
        case RestrictedAttention(neighbourhood=r):
            return RestrictedSelfAttention(_attention(c), before=r - 1, after=0)
        case _:
            assert_never(c.layer)


def _attention(c: TransformerConfig) -> MultiHeadAttention:
    return MultiHeadAttention(c.d_model, c.n_heads, c.d_k, c.d_v, c.attention_dropout)


def _feed_forward(c: TransformerConfig) -> FeedForward:
    return FeedForward(c.d_model, c.d_ff, c.activation_dropout)


def _around(c: TransformerConfig) -> Connection:
    return build_connection(c.d_model, c.p_drop, c.norm, c.residual)


def _last_norm(c: TransformerConfig) -> nn.LayerNorm | nn.Identity:
    return nn.LayerNorm(c.d_model) if c.norm == "pre" else nn.Identity()


def _positions(c: TransformerConfig) -> SinusoidalPositions | LearnedPositions:
    match c.positions:
        case "sinusoidal":
            return SinusoidalPositions(c.d_model)
        case "learned":
            return LearnedPositions(c.d_model, c.max_positions)
