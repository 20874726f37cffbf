"""The decoder stack, section 3.1, over whole targets and one position at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from transduce.nn.attention import KeyValue, MultiHeadAttention
from transduce.nn.feed_forward import FeedForward
from transduce.nn.mixer import CausalMixer, MixerState
from transduce.nn.sublayer import Connection
from transduce.shapes import Bool, Float, Int, Tensor


@final
@dataclass(frozen=True, slots=True)
class Memory:
    """The encoder's output as one decoder layer reads it: per source, not per decoded row.

    Rows `i * copies` to `(i + 1) * copies - 1` of a decoding batch read source i.
    """

    kv: KeyValue
    mask: Bool[Tensor, "B 1 S"]
    copies: int

    def select(self, rows: Int[Tensor, " M"]) -> "Memory":
        """Sources of the rows that stay. Rows of one source stay together, `copies` of them."""
        sources = rows[:: self.copies] // self.copies
        if torch.equal(sources, torch.arange(len(self.mask), device=sources.device)):
            return self  # rows changed places inside their sources: nothing to copy
        return Memory(self.kv.select(sources), self.mask.index_select(0, sources), self.copies)


@final
class DecoderLayer(nn.Module):
    """A causal mixer (the paper's is masked self-attention), attention over the encoder's output, feed-forward, each
    inside a connection."""

    def __init__(
        self,
        mixer: CausalMixer,
        cross_attention: MultiHeadAttention,
        feed_forward: FeedForward,
        connections: tuple[Connection, Connection, Connection],
    ) -> None:
        super().__init__()
        self.mixer = mixer
        self.cross_attention = cross_attention
        self.feed_forward = feed_forward
        self.around_mixer, self.around_cross_attention, self.around_feed_forward = connections

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        memory: Float[Tensor, "B S D"],
        memory_mask: Bool[Tensor, "B 1 S"],
    ) -> Float[Tensor, "B T D"]:
        """One layer over whole targets."""
        cross = self.cross_attention
        x = self.around_mixer(x, lambda y: self.mixer(y))
        x = self.around_cross_attention(x, lambda y: cross.attend(y, cross.keys_values(memory), memory_mask))
        return self.around_feed_forward(x, self.feed_forward)  # type: ignore[no-any-return]

    def step(
        self, x: Float[Tensor, "N D"], state: MixerState, memory: Memory
    ) -> tuple[Float[Tensor, "N D"], MixerState]:
        """One layer at one position of every row."""
        after: list[MixerState] = []

        def own_past(y: Tensor) -> Tensor:
            out, new = self.mixer.step(y, state)
            after.append(new)
            return out

        def sources(y: Tensor) -> Tensor:
            # (B W) D -> B W D: a source's rows are its queries
            grouped = y.unflatten(0, (-1, memory.copies))  # type: ignore[no-untyped-call]
            return self.cross_attention.attend(grouped, memory.kv, memory.mask).flatten(0, 1)

        x = self.around_mixer(x, own_past)
        x = self.around_cross_attention(x, sources)
        return self.around_feed_forward(x, self.feed_forward), after[0]


@final
class Decoder(nn.Module):
    """N layers; `norm` is the last LayerNorm of a pre-norm stack, the identity after post-norm layers."""

    def __init__(self, layers: Sequence[DecoderLayer], norm: nn.LayerNorm | nn.Identity) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = norm

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        memory: Float[Tensor, "B S D"],
        memory_mask: Bool[Tensor, "B 1 S"],
    ) -> Float[Tensor, "B T D"]:
        """Embedded target so far to states, position by position blind to what comes later (section 3.2.3)."""
        for layer in self.layers:
            x = layer(x, memory, memory_mask)
        return self.norm(x)  # type: ignore[no-any-return]
