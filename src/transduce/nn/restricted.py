"""Restricted self-attention, the last row of Table 1: O(r n d) operations for a neighbourhood of r positions."""

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import nn

from transduce.errors import ConfigError
from transduce.nn.attention import KeyValue, MultiHeadAttention, join_heads
from transduce.nn.dropout import Dropout
from transduce.shapes import Bool, Float, Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class RestrictedAttention:
    """Self-attention over a `neighbourhood` of r positions.

    It is centred in the encoder; in the decoder it is a position and the r - 1 before it.
    """

    kind: Literal["restricted"] = "restricted"
    neighbourhood: int = 31

    def __post_init__(self) -> None:
        if self.neighbourhood < 1:
            raise ConfigError(f"model.layer.neighbourhood = {self.neighbourhood}: must be at least 1.")


@final
class RestrictedSelfAttention(nn.Module):
    """Position t attends to positions t - before ... t + after. `after` = 0 is causal."""

    def __init__(self, attention: MultiHeadAttention, before: int, after: int) -> None:
        super().__init__()
        self.attention = attention
        self.before = before
        self.after = after

    def forward(self, x: Float[Tensor, "B T D"], real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D"]:
        """Whole sequences."""
        a = self.attention
        q, kv = a.queries_keys_values(x)
        t = x.shape[1]
        before, after = min(self.before, t - 1), min(self.after, t - 1)
        heads = neighbourhood_attention(q, kv, before, after, real, a.dropout)
        return a.w_o(join_heads(heads))  # type: ignore[no-any-return]

    def start(self, n: int) -> KeyValue:
        """The state of `n` rows before any position."""
        return self.attention.no_keys_values(n)

    def step(self, x: Float[Tensor, "N D"], state: KeyValue) -> tuple[Float[Tensor, "N D"], KeyValue]:
        """The next position's output. The state keeps no more than `before` positions. For causal layers."""
        kv = state.append(self.attention.keys_values(x[:, None]))
        first = max(0, kv.k.shape[2] - self.before)
        return self.attention.attend(x[:, None], kv, None)[:, 0], KeyValue(kv.k[:, :, first:], kv.v[:, :, first:])


def neighbourhood_attention(
    q: Float[Tensor, "B H T K"],
    kv: KeyValue,
    before: int,
    after: int,
    real: Bool[Tensor, "B T"] | None,
    dropout: Dropout | None = None,
) -> Float[Tensor, "B H T Kv"]:
    """Eq. 1, in which query t meets keys t - before ... t + after only: in blocks of r = before + 1 + after queries.

    A block's queries see 2r - 1 keys between them, so fewer than 2 r (n + r) scores are computed, in whole products. A
    query that stands at padding sees itself.
    """
    t, r = q.shape[2], before + 1 + after
    blocks = -(-t // r)
    fill = blocks * r - t
    # B H T K -> B H n r K, and for keys and values B H n K 2r-1
    queries = nn.functional.pad(q, (0, 0, 0, fill)).unflatten(2, (blocks, r))  # type: ignore[no-untyped-call]
    k, v = (nn.functional.pad(x, (0, 0, before, fill + after)).unfold(2, 2 * r - 1, r) for x in kv)
    there = q.new_ones(1, t, dtype=torch.bool) if real is None else real
    there = nn.functional.pad(there, (before, fill + after)).unfold(1, 2 * r - 1, r)[:, None, :, None]
    offset = torch.arange(2 * r - 1, device=q.device) - torch.arange(r, device=q.device)[:, None]  # r 2r-1
    allowed = (offset >= 0) & (offset < r) & there | (offset == before)
    scores = (queries * q.shape[-1] ** -0.5) @ k
    weights = scores.masked_fill(~allowed, -torch.inf).softmax(-1)
    weights = weights if dropout is None else dropout(weights)
    heads: Tensor = weights @ v.transpose(-2, -1)
    return heads.flatten(2, 3)[:, :, :t]  # B H n r Kv -> B H T Kv
