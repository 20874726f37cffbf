"""A trained Transformer laid out for decoding on a processor: packed weights, and memories that are never moved.

It computes what `Transformer.start` and `Transformer.step` compute, which remain the readable reference (a test holds
the two together). What is different is where things are:

- Keys and values of the prefixes lie in *slots*. A step writes one slot for each of the W prefixes of a sentence, at
  the same place for all sentences. What a prefix has read is a mask over its sentence's slots, so when prefixes change
  places only masks do. Slots that no prefix reads any more are squeezed out now and then.
- A sentence that has just begun has read no slot. So it can take the place of a finished one at any step.
- A sentence's prefixes are the rows of one product with its slots, and with its source.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import nn
from torch.nn.functional import embedding

from transduce.device import has_fast_bf16
from transduce.errors import ConfigError
from transduce.nn.attention import MultiHeadAttention, SelfAttention
from transduce.nn.decoder import DecoderLayer
from transduce.nn.embedding import Embedding
from transduce.nn.encoder import EncoderLayer
from transduce.nn.packed import Format, Product, has_int8, pack
from transduce.nn.sublayer import Connection, Plain, PreNorm
from transduce.nn.transformer import Transformer
from transduce.shapes import Float, Int, Tensor

_ROUND = 16  # slots and sources are read in multiples of this, so that few shapes of products occur
_DENSE = torch.contiguous_format  # or a change of type would keep the order of the axes, and be copied twice
_ROWS_FOR_BF16 = 32
_SQUEEZE = 8  # steps between two squeezes of the slots


def runs_packed(model: Transformer) -> bool:
    """Whether `PackedTransformer` can run `model`: self-attention in all layers, weights on the processor."""
    layers = [*model.encoder.layers, *model.decoder.layers]
    attends = all(isinstance(layer.mixer, SelfAttention) for layer in layers)
    return attends and model.output_weight.device.type == "cpu"


def check_packed(model: Transformer, form: Format) -> None:
    """Raise `ConfigError` unless `model` can be packed in this format: see `runs_packed` and `has_int8`."""
    if not runs_packed(model):
        raise ConfigError(f"{form}: only a Transformer of self-attention layers on a processor can be packed.")
    if form == "int8" and not has_int8():
        raise ConfigError("int8: PyTorch has no fast 8-bit products for this processor. Use fp32 or bf16.")


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the decoder reads of some sources: keys and values of every decoder layer."""

    k: list[Float[Tensor, "B H S K"]]
    v: list[Float[Tensor, "B H S Kv"]]
    lengths: list[int]


@final
class PackedTransformer:
    """The weights of a `Transformer`, packed. They are copies: later training shows in the embeddings alone, and in
    `output_weight`, the output matrix itself, for those who want some of its rows. `dtype` is that of states.

    Raises:
        ConfigError: as `check_packed`.
    """

    def __init__(self, model: Transformer, form: Format) -> None:
        check_packed(model, form)
        self.dtype = torch.bfloat16 if form == "bf16" else torch.float32
        self.narrow_memory = form != "fp32" and has_fast_bf16(torch.device("cpu"))
        with torch.no_grad():
            self._source, self._target = model.source, model.target
            self._encoder = [_EncoderLayer(layer, form) for layer in model.encoder.layers]
            self.layers = [_DecoderLayer(layer, form) for layer in model.decoder.layers]
            self._encoder_norm = _Norm(model.encoder.norm, self.dtype)
            self._norm = _Norm(model.decoder.norm, self.dtype)
            self.output_weight = model.output_weight.detach()  # V D
            self._output = pack(model.output_weight, None, form)

    def encode(self, sources: Sequence[Sequence[int]]) -> Encoded:
        """Ids of sources (end symbols included) as the decoder reads them."""
        lengths = [len(ids) for ids in sources]
        width = max(lengths)
        ids = torch.zeros(len(sources), width, dtype=torch.long)
        unseen = torch.zeros(len(sources), width, dtype=self.dtype)
        for i, row in enumerate(sources):
            ids[i, : len(row)] = torch.tensor(row)
            unseen[i, len(row) :] = -math.inf
        mask = None if min(lengths) == width else unseen[:, None, None]
        x = _embed(self._source, ids, self._source.positions(0, width).repeat(len(sources), 1), self.dtype)
        for layer in self._encoder:
            x = layer(x, len(sources), mask)
        x = self._encoder_norm(x)
        pairs = [layer.keys_values(x, len(sources)) for layer in self.layers]
        return Encoded([k for k, _ in pairs], [v for _, v in pairs], lengths)

    def step(self, previous: Int[Tensor, " N"], positions: Sequence[int], memory: "Memories") -> Float[Tensor, "N D"]:
        """Decoder states after `previous`, which stands at its sentence's entry of `positions`.

        Row b * W + w is prefix w of place b. `memory` takes the new positions in.
        """
        table = self._target.positions(0, max(positions) + 1)
        where = torch.tensor(positions).repeat_interleave(memory.beam)
        x = _embed(self._target, previous, table.index_select(0, where), self.dtype)
        memory.open_slots()
        for i, layer in enumerate(self.layers):
            x = layer(x, i, memory)
        return self._norm(x)

    def logits(self, states: Float[Tensor, "N D"]) -> Float[Tensor, "N V"]:
        """Logits of the next piece."""
        return self._output(states)


@final
class Memories:
    """What B sentences of `beam` prefixes each have read: their sources, and the slots of their prefixes.

    A place b holds a sentence from `join` on. Places that hold none are computed all the same, until `keep` drops them.
    """

    def __init__(self, model: PackedTransformer, places: int, beam: int, longest_source: int) -> None:
        self.beam = beam
        self.places = places
        # Memories in bf16 are half as much to read; a few rows are multiplied faster in float32.
        narrow = model.narrow_memory and places * beam >= _ROWS_FOR_BF16
        self._dtype = torch.bfloat16 if narrow else torch.float32
        self._heads = [(layer.n_heads, layer.d_k, layer.d_v) for layer in model.layers]
        width = _rounded(longest_source)
        self.source_k = [torch.zeros(places * h, k, width, dtype=self._dtype) for h, k, _ in self._heads]
        self.source_v = [torch.zeros(places * h, width, v, dtype=self._dtype) for h, _, v in self._heads]
        self.source_mask = torch.full((places, 1, 1, width), -math.inf, dtype=self._dtype)
        self.source_mask[..., 0] = 0.0
        self._lengths = [1] * places
        self._squeeze_at = self._room = _rounded(_SQUEEZE * beam)
        self.k = [torch.zeros(places * h, k, self._room, dtype=self._dtype) for h, k, _ in self._heads]
        self.v = [torch.zeros(places * h, self._room, v, dtype=self._dtype) for h, _, v in self._heads]
        self.mask = torch.full((places, 1, beam, self._room), -math.inf, dtype=self._dtype)
        self._own = torch.full((beam, beam), -math.inf, dtype=self._dtype).fill_diagonal_(0.0)
        self.used = 0  # slots written, the ones of this step included
        self.read = 0  # slots that products run over
        self.source_read = width

    def join(self, place: int, encoded: Encoded, which: int) -> None:
        """A new sentence, source `which` of `encoded`, in the place of whatever was there."""
        length = encoded.lengths[which]
        for i, (h, _, _) in enumerate(self._heads):
            rows = slice(place * h, (place + 1) * h)
            self.source_k[i][rows, :, :length] = encoded.k[i][which, :, :length].transpose(1, 2)
            self.source_v[i][rows, :length] = encoded.v[i][which, :, :length]
        self.source_mask[place] = -math.inf
        self.source_mask[place, :, :, :length] = 0.0
        self.mask[place] = -math.inf
        self._lengths[place] = length
        self.source_read = min(_rounded(max(self._lengths)), self.source_mask.shape[-1])

    def open_slots(self) -> None:
        """Make room for one more position of every prefix, which only that prefix can read."""
        if self.used + self.beam > self._squeeze_at:
            self._squeeze(torch.arange(self.places))
        self.mask[:, 0, :, self.used : self.used + self.beam] = self._own
        self.used += self.beam
        self.read = min(_rounded(self.used), self._room)

    def write(self, layer: int, k: Float[Tensor, "B H W K"], v: Float[Tensor, "B H W Kv"]) -> None:
        """The keys and values of the slots that `open_slots` opened."""
        h, d_k, d_v = self._heads[layer]
        new = slice(self.used - self.beam, self.used)
        self.k[layer].view(self.places, h, d_k, self._room)[..., new] = k.transpose(2, 3)
        self.v[layer].view(self.places, h, self._room, d_v)[:, :, new] = v

    def select(self, rows: Int[Tensor, " N"]) -> None:
        """Row j now continues what row `rows[j]`, of the same place, has read."""
        self.mask = self.mask.view(rows.shape[0], -1).index_select(0, rows).view_as(self.mask)

    def keep(self, places: Sequence[int]) -> None:
        """Drop all other places."""
        chosen = torch.tensor(places)
        for i, (h, _, _) in enumerate(self._heads):
            rows = (chosen[:, None] * h + torch.arange(h)).flatten()
            self.source_k[i] = self.source_k[i].index_select(0, rows)
            self.source_v[i] = self.source_v[i].index_select(0, rows)
        self.source_mask = self.source_mask.index_select(0, chosen)
        self._lengths = [self._lengths[place] for place in places]
        self._squeeze(chosen)

    def _squeeze(self, places: Int[Tensor, " B"]) -> None:
        """Only these places, and only the slots that some prefix reads."""
        mask = self.mask.index_select(0, places)
        unread = (mask[:, 0, :, : self.used] == -math.inf).all(1)  # B C
        order = unread.byte().argsort(dim=1, stable=True)
        live = int((~unread).sum(1).max()) if self.used else 0
        order = order[:, :live]
        self._squeeze_at = live + _SQUEEZE * self.beam
        room = _rounded(self._squeeze_at)
        self.mask = mask.new_full((len(places), 1, self.beam, room), -math.inf)
        index = order[:, None, None].expand(-1, 1, self.beam, -1)
        self.mask[..., :live] = mask.gather(3, index)
        for i, (h, d_k, d_v) in enumerate(self._heads):
            k = self.k[i].view(self.places, h * d_k, -1).index_select(0, places)
            k = k.gather(2, order[:, None].expand(-1, h * d_k, -1))
            self.k[i] = k.new_zeros(len(places) * h, d_k, room)
            self.k[i][..., :live] = k.view(len(places) * h, d_k, live)
            heads = places[:, None] * h + torch.arange(h)  # B H
            rows = (heads[:, :, None] * self._room + order[:, None]).flatten()  # B H L -> (B H L)
            v = self.v[i].view(-1, d_v).index_select(0, rows)
            self.v[i] = v.new_zeros(len(places) * h, room, d_v)
            self.v[i][:, :live] = v.view(len(places) * h, live, d_v)
        self.places, self.used, self._room = len(places), live, room


def _rounded(n: int) -> int:
    return -(-n // _ROUND) * _ROUND


def _embed(
    table: Embedding, ids: Int[Tensor, "..."], positions: Float[Tensor, "N D"], dtype: torch.dtype
) -> Float[Tensor, "N D"]:
    return (embedding(ids.flatten(), table.table.weight) * table.scale + positions).to(dtype)


def _attend(
    q: Float[Tensor, "B W HK"],
    k: Float[Tensor, "BH K L"],
    v: Float[Tensor, "BH L Kv"],
    mask: Float[Tensor, "B 1 #W L"] | None,
) -> Float[Tensor, "BW HKv"]:
    """Eq. 1 for W queries of each of B sentences, already divided by sqrt(d_k)."""
    b, w, _ = q.shape
    h = k.shape[0] // b
    queries = q.view(b, w, h, -1).transpose(1, 2).to(k.dtype, memory_format=_DENSE)
    scores = torch.bmm(queries.reshape(b * h, w, -1), k)  # B H W K -> (B H) W K
    if mask is not None:
        scores.view(b, h, w, -1).add_(mask)
    heads = torch.bmm(scores.softmax(-1), v).view(b, h, w, -1)
    return heads.transpose(1, 2).to(q.dtype, memory_format=_DENSE).reshape(b * w, -1)  # B H W Kv -> (B W) (H Kv)


@final
class _Norm:
    """Layer normalisation of rows of the given type; nothing where `norm` is the identity."""

    def __init__(self, norm: nn.Module, dtype: torch.dtype) -> None:
        self._norm = norm if isinstance(norm, nn.LayerNorm) else None
        if self._norm is not None:
            self._shape = list(self._norm.normalized_shape)
            self._weight, self._bias = (p.detach().to(dtype, copy=True) for p in (self._norm.weight, self._norm.bias))
            self._eps = self._norm.eps

    def __call__(self, x: Tensor) -> Tensor:
        return x if self._norm is None else torch.layer_norm(x, self._shape, self._weight, self._bias, self._eps)


@final
class _Around:
    """What stands around a sub-layer, without dropout."""

    def __init__(self, connection: nn.Module, dtype: torch.dtype) -> None:
        assert isinstance(connection, Connection)
        self._norm = _Norm(connection.norm, dtype)
        self._first = isinstance(connection, PreNorm) or (isinstance(connection, Plain) and connection.normalise_first)
        self._residual = not isinstance(connection, Plain)

    def before(self, x: Tensor) -> Tensor:
        """What the sub-layer reads."""
        return self._norm(x) if self._first else x

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        """x and what the sub-layer made of it."""
        if self._residual:
            y = y.add_(x)
        return y if self._first else self._norm(y)


def _qkv(attention: MultiHeadAttention, form: Format) -> Product:
    """Queries (divided by sqrt(d_k)), keys and values in one product."""
    q, k, v = attention.w_q, attention.w_k, attention.w_v
    scale = math.sqrt(attention.n_heads / q.out_features)
    weight = torch.cat([q.weight * scale, k.weight, v.weight])
    return pack(weight, torch.cat([q.bias * scale, k.bias, v.bias]), form)


def _split(attention: MultiHeadAttention) -> list[int]:
    return [w.out_features for w in (attention.w_q, attention.w_k, attention.w_v)]


def _heads(x: Float[Tensor, "B T HK"], h: int) -> Float[Tensor, "B H T K"]:
    return x.view(*x.shape[:2], h, -1).transpose(1, 2)


@final
class _FeedForward:
    def __init__(self, layer: EncoderLayer | DecoderLayer, form: Format, dtype: torch.dtype) -> None:
        ff = layer.feed_forward
        self._around = _Around(layer.around_feed_forward, dtype)
        self._w_1 = pack(ff.w_1.weight, ff.w_1.bias, form, relu=True)
        self._w_2 = pack(ff.w_2.weight, ff.w_2.bias, form)

    def __call__(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        return self._around.after(x, self._w_2(self._w_1(self._around.before(x))))


@final
class _EncoderLayer:
    def __init__(self, layer: nn.Module, form: Format) -> None:
        dtype = torch.bfloat16 if form == "bf16" else torch.float32
        assert isinstance(layer, EncoderLayer)
        assert isinstance(layer.mixer, SelfAttention)
        attention = layer.mixer.attention
        self._h = attention.n_heads
        self._sizes = _split(attention)
        self._around = _Around(layer.around_mixer, dtype)
        self._qkv = _qkv(attention, form)
        self._out = pack(attention.w_o.weight, attention.w_o.bias, form)
        self._feed_forward = _FeedForward(layer, form, dtype)

    def __call__(
        self, x: Float[Tensor, "BS D"], sentences: int, mask: Float[Tensor, "B 1 1 S"] | None
    ) -> Float[Tensor, "BS D"]:
        qkv = self._qkv(self._around.before(x)).view(sentences, -1, sum(self._sizes))
        q, k, v = qkv.split_with_sizes(self._sizes, -1)
        heads = _attend(q, _heads(k, self._h).flatten(0, 1).transpose(1, 2), _heads(v, self._h).flatten(0, 1), mask)
        return self._feed_forward(self._around.after(x, self._out(heads)))


@final
class _DecoderLayer:
    def __init__(self, layer: nn.Module, form: Format) -> None:
        dtype = torch.bfloat16 if form == "bf16" else torch.float32
        assert isinstance(layer, DecoderLayer)
        assert isinstance(layer.mixer, SelfAttention)
        own, cross = layer.mixer.attention, layer.cross_attention
        self.n_heads = own.n_heads
        self._sizes = _split(own)
        self.d_k, self.d_v = self._sizes[0] // own.n_heads, self._sizes[2] // own.n_heads
        self._around, self._around_cross = (
            _Around(layer.around_mixer, dtype),
            _Around(layer.around_cross_attention, dtype),
        )
        self._qkv = _qkv(own, form)
        self._out = pack(own.w_o.weight, own.w_o.bias, form)
        scale = 1 / math.sqrt(self.d_k)
        self._cross_q = pack(cross.w_q.weight * scale, cross.w_q.bias * scale, form)
        self._cross_kv = pack(
            torch.cat([cross.w_k.weight, cross.w_v.weight]), torch.cat([cross.w_k.bias, cross.w_v.bias]), form
        )
        self._cross_out = pack(cross.w_o.weight, cross.w_o.bias, form)
        self._feed_forward = _FeedForward(layer, form, dtype)

    def keys_values(self, x: Float[Tensor, "BS D"], sentences: int) -> tuple[Tensor, Tensor]:
        """What this layer reads of the encoder's output."""
        kv = self._cross_kv(x).view(sentences, -1, sum(self._sizes[1:]))
        k, v = kv.split_with_sizes(self._sizes[1:], -1)
        return _heads(k, self.n_heads), _heads(v, self.n_heads)

    def __call__(self, x: Float[Tensor, "N D"], index: int, memory: Memories) -> Float[Tensor, "N D"]:
        b, w, h = memory.places, memory.beam, self.n_heads
        q, k, v = self._qkv(self._around.before(x)).view(b, w, -1).split_with_sizes(self._sizes, -1)
        memory.write(index, _heads(k, h), _heads(v, h))
        n = memory.read
        k, v = memory.k[index][..., :n], memory.v[index][:, :n]
        heads = _attend(q, k, v, memory.mask[..., :n])
        x = self._around.after(x, self._out(heads))
        q = self._cross_q(self._around_cross.before(x)).view(b, w, -1)
        n = memory.source_read
        k, v = memory.source_k[index][..., :n], memory.source_v[index][:, :n]
        heads = _attend(q, k, v, memory.source_mask[..., :n])
        return self._feed_forward(self._around_cross.after(x, self._cross_out(heads)))
