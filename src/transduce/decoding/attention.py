"""Where a trained model looks: every head's weights for a sentence and its translation, and what a head does."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from transduce.nn import Transformer
from transduce.nn.attention import MultiHeadAttention, SelfAttention
from transduce.nn.decoder import DecoderLayer
from transduce.nn.encoder import EncoderLayer
from transduce.nn.masks import not_padding
from transduce.nn.mixer import Mixer
from transduce.shapes import Bool, Float, Int, Tensor

AttentionKind = Literal["encoder", "decoder", "cross"]
KINDS: tuple[AttentionKind, ...] = get_args(AttentionKind)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionMaps:
    """The three attentions of section 3.2.3 for one sentence: weights of every layer and head, each row summing to 1.

    Row t of `decoder` and `cross` belongs to the step that writes piece t of the target, its end symbol last. Column
    t of `decoder` is what that step reads: the start symbol first, then the pieces before.
    """

    encoder: Float[Tensor, "I H S S"]
    decoder: Float[Tensor, "I H T T"]
    cross: Float[Tensor, "I Hc T S"]  # Hc: layers of other types have no heads of their own, only these

    def to(self, device: torch.device) -> "AttentionMaps":
        """The same weights on another device."""
        return AttentionMaps(
            encoder=self.encoder.to(device), decoder=self.decoder.to(device), cross=self.cross.to(device)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadStatistics:
    """One head over one sentence, averaged over its rows.

    `entropy` is in bits, `breadth` the same over the most that was possible, `distance` how many positions away it
    looks. `previous`, `same`, `next`, `first` and `last` are the shares of weight on the position before, the position
    itself, the one after, and the two ends. In cross-attention a row's own position is its place in the source, by
    share of the length: `same` is the diagonal. In the decoder, weight on the start symbol is `first` and nothing else.
    """

    entropy: float
    breadth: float
    distance: float
    previous: float
    same: float
    next: float
    first: float
    last: float


@torch.no_grad()
def attention_maps(model: Transformer, source: Int[Tensor, " S"], target_in: Int[Tensor, " T"]) -> AttentionMaps:
    """Every head's weights for `source` (with its end symbol) and `target_in` (with its start symbol), dropout off.

    The layers run as in training, and are asked for their weights on the way: `MultiHeadAttention.forward` gives them.
    Layers of other types (recurrent, convolutional, restricted) give maps of no heads.
    """
    training = model.training
    model.eval()
    try:
        real = not_padding(source[None], model.pad)
        memory_mask = real[:, None]
        encoder, decoder, cross = [], [], []
        x = model.source(source[None])
        for layer in model.encoder.layers:
            assert isinstance(layer, EncoderLayer)
            encoder.append(_own(layer.mixer, layer.around_mixer, x, real))
            x = layer(x, real)
        memory = model.encoder.norm(x)
        x = model.target(target_in[None])
        for layer in model.decoder.layers:
            assert isinstance(layer, DecoderLayer)
            decoder.append(_own(layer.mixer, layer.around_mixer, x, None))
            after_own = layer.around_mixer(x, layer.mixer)
            attention = layer.cross_attention
            cross.append(_weights(attention, layer.around_cross_attention, after_own, memory, memory_mask))
            x = layer(x, memory, memory_mask)
    finally:
        model.train(training)
    return AttentionMaps(encoder=torch.cat(encoder), decoder=torch.cat(decoder), cross=torch.cat(cross))


def _own(
    layer: Mixer,
    around: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor],
    x: Float[Tensor, "1 T D"],
    real: Bool[Tensor, "1 T"] | None,
) -> Float[Tensor, "1 H T T"]:
    if not isinstance(layer, SelfAttention):
        return x.new_zeros(1, 0, x.shape[1], x.shape[1])
    return _weights(layer.attention, around, x, None, layer.mask(x, real))


def _weights(
    attention: MultiHeadAttention,
    around: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor],
    x: Float[Tensor, "1 T D"],
    memory: Float[Tensor, "1 S D"] | None,
    mask: Bool[Tensor, "1 #T L"] | None,
) -> Float[Tensor, "1 H T L"]:
    """The weights of the attention inside the connection `around`, which may normalise what goes in first."""
    found: list[Tensor] = []

    def listen(y: Tensor) -> Tensor:
        read = y if memory is None else memory
        output, weights = attention(y, read, read, mask, return_weights=True)
        found.append(weights)
        return output  # type: ignore[no-any-return]

    around(x, listen)
    return found[0].float()


def head_statistics(weights: Float[Tensor, "T L"], kind: AttentionKind) -> HeadStatistics:
    """What a head's weights say of it. Rows must sum to 1."""
    rows, columns = weights.shape
    place = torch.arange(rows, dtype=torch.float32)
    if kind == "cross":  # row t's place in the source
        place = (place * (columns - 1) / max(1, rows - 1)).round()
    offset = torch.arange(columns)[None] - place[:, None]
    visible = torch.arange(1, rows + 1) if kind == "decoder" else torch.full((rows,), columns)

    named = torch.arange(columns) > 0 if kind == "decoder" else torch.ones(columns, dtype=torch.bool)

    def share(chosen: Bool[Tensor, "T L"]) -> float:
        return float((weights * (chosen & named)).sum() / rows)

    bits = -(weights * weights.clamp_min(1e-12).log2()).sum()
    return HeadStatistics(
        entropy=float(bits / rows),
        breadth=float(bits / visible.log2().sum().clamp_min(1e-12)) if columns > 1 else 0.0,
        distance=float((weights * offset.abs()).sum() / rows),
        previous=share(offset == -1),
        same=share(offset == 0),
        next=share(offset == 1),
        first=float(weights[:, 0].mean()),
        last=float(weights[:, -1].mean()),
    )


def shares(s: HeadStatistics, kind: AttentionKind) -> dict[str, float]:
    """The share of a head's weight on each of the places that mean something in this kind of attention."""
    match kind:
        case "encoder":
            return {"previous piece": s.previous, "itself": s.same, "next piece": s.next, "end symbol": s.last}
        case "decoder":
            return {"piece just written": s.same, "two pieces back": s.previous, "start symbol": s.first}
        case "cross":
            return {"diagonal": s.previous + s.same + s.next, "end symbol": s.last}


def role(s: HeadStatistics, kind: AttentionKind) -> str:
    """What a head does, in a few words: how widely it spreads, or else where more than half of its weight goes. (Even
    weights on five pieces or fewer have half of it on any three of them.)"""
    if s.breadth > 0.8:
        return "broad"
    found = shares(s, kind)
    most = max(found, key=lambda words: found[words])
    return most if found[most] > 0.5 else "mixed"


def each_head(maps: AttentionMaps) -> Iterator[tuple[AttentionKind, int, int, Float[Tensor, "T L"]]]:
    """Kind, layer and head (from 0), weights."""
    for kind in KINDS:
        stack = getattr(maps, kind)
        for layer in range(stack.shape[0]):
            for head in range(stack.shape[1]):
                yield kind, layer, head, stack[layer, head]
