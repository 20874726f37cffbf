"""Multi-head attention, section 3.2."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, final

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from transduce.errors import ConfigError
from transduce.nn.dropout import Dropout
from transduce.nn.masks import causal
from transduce.shapes import Bool, Float, Int, Tensor

ROW = 16  # scores: what a register of AVX512 holds
HIDDEN = torch.finfo(torch.float32).min  # added to the score of a key that is not attended to


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention:
    """The paper's layer type: every position attends to all (encoder), or to those up to its own (decoder)."""

    kind: Literal["self-attention"] = "self-attention"


class KeyValue(NamedTuple):
    """Keys and values, projected and split into heads. Those of all positions so far are a self-attention's state."""

    k: Float[Tensor, "B H L K"]
    v: Float[Tensor, "B H L Kv"]

    def append(self, new: "KeyValue") -> "KeyValue":
        """These positions and, behind them, `new` ones, in the type of the new ones."""
        k = torch.cat((self.k.to(new.k.dtype), new.k), dim=2)  # B H L K -> B H (L + M) K
        return KeyValue(k, torch.cat((self.v.to(new.v.dtype), new.v), dim=2))

    def select(self, rows: Int[Tensor, " M"]) -> "KeyValue":
        """Keys and values of which row i is this one's row rows[i]."""
        return KeyValue(self.k.index_select(0, rows), self.v.index_select(0, rows))


def split_heads(x: Float[Tensor, "B T HK"], n_heads: int) -> Float[Tensor, "B H T K"]:
    """The last axis into heads, each contiguous: products of strided heads take three times as long."""
    # B T (H K) -> B H T K
    return x.view(*x.shape[:-1], n_heads, x.shape[-1] // n_heads).transpose(1, 2).contiguous()


def split_keys(x: Float[Tensor, "B L HK"], n_heads: int) -> Float[Tensor, "B H L K"]:
    """`split_heads`, but the transpose of each head is contiguous: that is what queries are multiplied by."""
    return x.view(*x.shape[:-1], n_heads, x.shape[-1] // n_heads).permute(0, 2, 3, 1).contiguous().transpose(-2, -1)


def join_heads(x: Float[Tensor, "B H T K"]) -> Float[Tensor, "B T HK"]:
    """The inverse of `split_heads`: the paper's Concat(head_1, ..., head_h)."""
    return x.transpose(1, 2).flatten(2)  # B H T K -> B T (H K)


def scaled_dot_product_attention(
    q: Float[Tensor, "B H T K"],
    kv: KeyValue,
    mask: Bool[Tensor, "#B #T L"] | None,
    dropout: Dropout | None = None,
) -> tuple[Float[Tensor, "B H T Kv"], Float[Tensor, "B H T L"]]:
    """Eq. 1: softmax(Q K^T / sqrt(d_k)) V, and the weights. `mask` True = may attend, the same for all heads. A row
    that may attend nowhere (a sentence of nothing but padding) attends to all alike, so that its gradient is finite.

    `dropout` acts on the weights where they multiply V; those returned are whole, and sum to one.

    Two batched products and a softmax: for sentences they are faster on CPU than the fused kernels. The softmax is
    in float32 where the products are bf16: it is more exact, and eight times as fast on CPU (docs/performance.md).
    Differentiable once, by `backward` and `torch.autograd.grad`; not by `torch.func`.

    Raises:
        ConfigError: a mask of other than three axes.
    """
    check_mask(mask)
    hidden = None if mask is None else torch.zeros_like(mask, dtype=torch.float32).masked_fill_(~mask, HIDDEN)[:, None]
    scale = 1.0 / math.sqrt(q.shape[-1])
    apply: Callable[..., Tensor] = _ScaledSoftmax.apply  # PyTorch gives it no type
    weights = apply(q @ kv.k.transpose(-2, -1), hidden, scale)
    dropped = weights if dropout is None else dropout(weights)
    return dropped.to(kv.v.dtype) @ kv.v, weights


def check_mask(mask: Tensor | None) -> None:
    """Raise `ConfigError` where a mask has other axes than those it would be read with."""
    if mask is not None and mask.dim() != 3:
        raise ConfigError(f"mask: {mask.dim()} axes. Give three: sentences (or 1), queries (or 1), keys.")


class _ScaledSoftmax(torch.autograd.Function):
    """softmax(scale x products + hidden) over the last axis, in float32 at least, where `hidden` is 0 or `HIDDEN`.

    Rows of fewer than `ROW` scores are filled up with -inf: PyTorch's softmax takes ten times as long without.
    """

    @staticmethod
    def forward(ctx: Any, products: Tensor, hidden: Tensor | None, scale: float) -> Tensor:
        length, dtype = products.shape[-1], torch.promote_types(products.dtype, torch.float32)
        scores = products.new_full((*products.shape[:-1], max(length, ROW)), -torch.inf, dtype=dtype)
        if hidden is None:
            torch.mul(products.to(dtype), scale, out=scores[..., :length])
        else:
            torch.add(hidden, products, alpha=scale, out=scores[..., :length])
        weights = torch.softmax(scores, -1, out=scores)
        ctx.save_for_backward(weights)
        ctx.scale, ctx.dtype = scale, products.dtype
        return weights[..., :length]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (weights,), (grad,) = ctx.saved_tensors, grads
        length = grad.shape[-1]
        if length == weights.shape[-1]:
            scores = torch._softmax_backward_data(grad, weights, -1, weights.dtype).mul_(ctx.scale)
        else:  # as many operations in a row
            filled = torch.zeros_like(weights)
            torch.mul(grad, ctx.scale, out=filled[..., :length])
            scores = torch._softmax_backward_data(filled, weights, -1, weights.dtype)[..., :length]
        return scores.to(ctx.dtype), None, None


@final
class MultiHeadAttention(nn.Module):
    """Section 3.2.2: h attention functions in parallel, their outputs concatenated and projected.

    `d_k` and `d_v` are per head (Table 3, rows A and B); left out, they are the paper's d_model / h.

    Differs: with `model.attention_dropout`, weights are dropped out after the softmax. It is off by default: section
    5.4 names the outputs of sub-layers and the embeddings only. The code published with the paper can do it.

    Raises:
        ConfigError: no heads, or d_model does not divide into them; a dropout below 0, or 1 and above.
    """

    def __init__(
        self, d_model: int, n_heads: int, d_k: int | None = None, d_v: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if n_heads < 1:
            raise ConfigError(f"n_heads = {n_heads}: must be at least 1.")
        if (d_k is None or d_v is None) and d_model % n_heads:
            raise ConfigError(f"d_model = {d_model} does not divide into {n_heads} heads. Give d_k and d_v.")
        d_k = d_model // n_heads if d_k is None else d_k
        d_v = d_model // n_heads if d_v is None else d_v
        self.n_heads = n_heads
        self.w_q = nn.Linear(d_model, n_heads * d_k)
        self.w_k = nn.Linear(d_model, n_heads * d_k)
        self.w_v = nn.Linear(d_model, n_heads * d_v)
        self.w_o = nn.Linear(n_heads * d_v, d_model)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        query: Float[Tensor, "B T D"],
        key: Float[Tensor, "B L D"],
        value: Float[Tensor, "B L D"],
        mask: Bool[Tensor, "#B #T L"] | None = None,
        return_weights: bool = False,
    ) -> Float[Tensor, "B T D"] | tuple[Float[Tensor, "B T D"], Float[Tensor, "B H T L"]]:
        """Attend from `query` to `key` and `value`; with `return_weights` also each head's weights.

        `mask` is True where position t may attend to position l; see `scaled_dot_product_attention`.
        """
        projected = zip((self.w_q, self.w_k, self.w_v), (query, key, value), strict=True)
        q, k, v = (split_heads(w(x), self.n_heads) for w, x in projected)
        heads, weights = scaled_dot_product_attention(q, KeyValue(k, v), mask, self.dropout)
        y = self.w_o(join_heads(heads))
        return (y, weights) if return_weights else y

    def keys_values(self, x: Float[Tensor, "B L D"]) -> KeyValue:
        """What positions `x` offer to be attended to: computed once, used by every `attend`."""
        return KeyValue(*self._project(x, (self.w_k, self.w_v)))

    def queries_keys_values(self, x: Float[Tensor, "B T D"]) -> tuple[Float[Tensor, "B H T K"], KeyValue]:
        """What positions `x` ask, and what they offer."""
        q, k, v = self._project(x, (self.w_q, self.w_k, self.w_v))
        return q, KeyValue(k, v)

    def no_keys_values(self, n: int) -> KeyValue:
        """What no positions of `n` rows offer."""
        k, v = (p.weight.new_empty(n, self.n_heads, 0, p.out_features // self.n_heads) for p in (self.w_k, self.w_v))
        return KeyValue(k, v)

    def attend(
        self, query: Float[Tensor, "B T D"], kv: KeyValue, mask: Bool[Tensor, "#B #T L"] | None
    ) -> Float[Tensor, "B T D"]:
        """Attend from `query` to what `keys_values` gave."""
        return self.join(split_heads(self.w_q(query), self.n_heads), kv, mask)

    def join(
        self, q: Float[Tensor, "B H T K"], kv: KeyValue, mask: Bool[Tensor, "#B #T L"] | None
    ) -> Float[Tensor, "B T D"]:
        """Concat(head_1, ..., head_h) W^O for queries, keys and values that were projected before."""
        y: Tensor = self.w_o(join_heads(self._heads(q, kv, mask)))
        return y

    def _heads(
        self, q: Float[Tensor, "B H T K"], kv: KeyValue, mask: Bool[Tensor, "#B #T L"] | None
    ) -> Float[Tensor, "B H T Kv"]:
        if q.device.type == "cpu":
            return scaled_dot_product_attention(q, kv, mask, self.dropout)[0]
        check_mask(mask)
        dropped = self.dropout.p if self.training else 0.0  # elsewhere PyTorch's kernels know better
        visible = None if mask is None else mask[:, None]  # B T L -> B 1 T L
        return nn.functional.scaled_dot_product_attention(q, kv.k, kv.v, visible, dropped)

    def _project(self, x: Float[Tensor, "B L D"], projections: Sequence[nn.Linear]) -> list[Float[Tensor, "B H L K"]]:
        """Several projections of the same positions, as one product: it is larger, and so is its gradient's."""
        weight, sizes = torch.cat([p.weight for p in projections]), [p.out_features for p in projections]
        y = nn.functional.linear(x, weight, torch.cat([p.bias for p in projections]))
        split = {id(self.w_k): split_keys} if x.device.type == "cpu" else {}  # fused kernels want rows of keys
        parts = zip(projections, torch.split(y, sizes, -1), strict=True)
        return [split.get(id(p), split_heads)(part, self.n_heads) for p, part in parts]


@final
class SelfAttention(nn.Module):
    """Self-attention as a layer type: whole sequences by `forward`, one position at a time by `start` and `step`.

    `causal`: a position attends to itself and what comes before it (section 3.2.3, the decoder's).
    """

    def __init__(self, attention: MultiHeadAttention, causal: bool) -> None:
        super().__init__()
        self.attention = attention
        self.causal = causal

    def forward(self, x: Float[Tensor, "B T D"], real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D"]:
        """Whole sequences; nothing attends to padding."""
        q, kv = self.attention.queries_keys_values(x)
        return self.attention.join(q, kv, self.mask(x, real))

    def mask(self, x: Float[Tensor, "B T D"], real: Bool[Tensor, "B T"] | None) -> Bool[Tensor, "#B #T T"] | None:
        """Which positions may attend to which."""
        visible = None if real is None else real[:, None]
        if not self.causal:
            return visible
        earlier = causal(x.shape[1], x.device)
        return earlier if visible is None else earlier & visible

    def start(self, n: int) -> KeyValue:
        """The state of `n` rows before any position."""
        return self.attention.no_keys_values(n)

    def step(self, x: Float[Tensor, "N D"], state: KeyValue) -> tuple[Float[Tensor, "N D"], KeyValue]:
        """The next position's output: it sees all positions before it and itself. For causal layers."""
        kv = state.append(self.attention.keys_values(x[:, None]))
        return self.attention.attend(x[:, None], kv, None)[:, 0], kv
