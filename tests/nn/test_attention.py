"""Attention against loops over single numbers, against `torch.nn.MultiheadAttention`, and its laws."""

import math
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from tests.conftest import run_time_checks
from tests.nn.laws import no_peeking, padding_is_inert, step_equals_forward
from tests.nn.tiny import backward, grad, rand
from transduce.errors import ConfigError
from transduce.nn.attention import (
    KeyValue,
    MultiHeadAttention,
    SelfAttention,
    _ScaledSoftmax,
    join_heads,
    scaled_dot_product_attention,
    split_heads,
)
from transduce.nn.dropout import Dropout

pytestmark = pytest.mark.unit

Array = npt.NDArray[np.float64]

B, T, L, D, H = 2, 3, 4, 6, 3
MASKS = {
    "none": None,
    "full": torch.tensor(
        [[[1, 0, 1, 1], [0, 0, 0, 1], [1, 1, 1, 1]], [[1, 0, 0, 0], [0, 1, 1, 0], [1, 1, 0, 1]]]
    ).bool(),
    "same for all queries": torch.tensor([[[1, 1, 0, 1]], [[0, 1, 0, 0]]]).bool(),
    "same for all sentences": torch.tensor([[[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]]).bool(),
}
SIZES = {"d_k = d_v = d_model / h": (2, 2), "d_k < d_v": (2, 5), "d_k > d_v": (4, 1)}


def random_attention(d_k: int, d_v: int, n_heads: int = H, d_model: int = D) -> MultiHeadAttention:
    attention = MultiHeadAttention(d_model, n_heads, d_k, d_v).double()
    for parameter in attention.parameters():
        nn.init.normal_(parameter)
    return attention


def in_loops(a: MultiHeadAttention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> list[Array]:
    """Section 3.2.2 written out: outputs and weights, one sentence, head, query and key at a time."""

    def linear(layer: nn.Linear, x: Tensor) -> Array:
        return np.asarray(x.numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())

    d_k, d_v = a.w_k.out_features // a.n_heads, a.w_v.out_features // a.n_heads
    q, k, v = linear(a.w_q, query), linear(a.w_k, key), linear(a.w_v, value)
    all_weights = np.zeros((len(query), a.n_heads, query.shape[1], key.shape[1]))
    concat = np.zeros((len(query), query.shape[1], a.n_heads * d_v))
    allowed = np.ones((len(query), query.shape[1], key.shape[1])) if mask is None else mask.expand(B, T, L).numpy()
    for b in range(len(query)):
        for h in range(a.n_heads):
            for i in range(query.shape[1]):
                exponentials = []
                for j in range(key.shape[1]):
                    dot = sum(q[b, i, h * d_k + c] * k[b, j, h * d_k + c] for c in range(d_k))
                    exponentials.append(math.exp(dot / math.sqrt(d_k)) if allowed[b, i, j] else 0.0)
                for j in range(key.shape[1]):
                    all_weights[b, h, i, j] = exponentials[j] / sum(exponentials)
                    for c in range(d_v):
                        concat[b, i, h * d_v + c] += all_weights[b, h, i, j] * v[b, j, h * d_v + c]
    return [linear(a.w_o, torch.from_numpy(concat)), all_weights]


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
@pytest.mark.parametrize(("d_k", "d_v"), SIZES.values(), ids=SIZES.keys())
def test_attention_is_the_loops(d_k: int, d_v: int, mask: Tensor | None) -> None:
    attention = random_attention(d_k, d_v)
    query, key, value = rand(B, T, D), rand(B, L, D), rand(B, L, D)
    y, weights = attention(query, key, value, mask, return_weights=True)
    expected_y, expected_weights = in_loops(attention, query, key, value, mask)
    np.testing.assert_allclose(y.detach().numpy(), expected_y, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(weights.detach().numpy(), expected_weights, rtol=1e-10, atol=1e-12)
    assert torch.equal(attention(query, key, value, mask), y)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_attention_is_torch_s_with_the_same_weights(mask: Tensor | None) -> None:
    ours = random_attention(D // H, D // H)
    theirs = nn.MultiheadAttention(D, H, batch_first=True, dtype=torch.float64)
    projections = (ours.w_q, ours.w_k, ours.w_v)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
        theirs.out_proj.weight.copy_(ours.w_o.weight)
        theirs.out_proj.bias.copy_(ours.w_o.bias)
    inputs = [rand(B, n, D).requires_grad_() for n in (T, L, L)]
    copies = [x.detach().clone().requires_grad_() for x in inputs]
    forbidden = None if mask is None else ~mask.expand(B, T, L).repeat_interleave(H, dim=0)  # B T L -> (B H) T L
    y, weights = ours(*inputs, mask, return_weights=True)
    expected_y, expected_weights = theirs(*copies, attn_mask=forbidden, average_attn_weights=False)
    torch.testing.assert_close(y, expected_y)
    torch.testing.assert_close(weights, expected_weights)
    direction = torch.randn_like(y)
    backward((y * direction).sum())
    backward((expected_y * direction).sum())
    for x, copy in zip(inputs, copies, strict=True):
        torch.testing.assert_close(x.grad, copy.grad)
    torch.testing.assert_close(torch.cat([grad(p.weight) for p in projections]), theirs.in_proj_weight.grad)
    torch.testing.assert_close(torch.cat([grad(p.bias) for p in projections]), theirs.in_proj_bias.grad)
    torch.testing.assert_close(ours.w_o.weight.grad, theirs.out_proj.weight.grad)


def test_sizes_are_the_paper_s_unless_given() -> None:
    attention = MultiHeadAttention(d_model=512, n_heads=8)
    assert [attention.w_k.out_features, attention.w_v.out_features] == [512, 512]
    assert MultiHeadAttention(6, 4, d_k=3, d_v=1).w_o.in_features == 4
    with pytest.raises(ConfigError, match="d_model = 6 does not divide into 4 heads. Give d_k and d_v."):
        MultiHeadAttention(6, 4, d_k=3)


def test_heads_are_split_and_joined_without_loss() -> None:
    x = rand(B, T, 6)
    heads = split_heads(x, 2)
    assert heads.shape == (B, 2, T, 3)
    assert torch.equal(heads[:, 1], x[:, :, 3:])
    assert torch.equal(join_heads(heads), x)


def test_weights_are_a_distribution_over_what_the_mask_allows() -> None:
    mask = MASKS["full"]
    assert mask is not None
    _, weights = random_attention(2, 5)(rand(B, T, D), rand(B, L, D), rand(B, L, D), mask, return_weights=True)
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, H, T, dtype=torch.float64))
    assert torch.equal(weights > 0, mask[:, None].expand_as(weights))


def test_nothing_flows_through_a_masked_position() -> None:
    mask = MASKS["same for all queries"]
    assert mask is not None
    key, value = rand(B, L, D).requires_grad_(), rand(B, L, D).requires_grad_()
    y = random_attention(2, 5)(rand(B, T, D), key, value, mask)
    backward((y * torch.randn_like(y)).sum())
    for x in (key, value):
        assert (grad(x)[~mask[:, 0]] == 0).all()
    assert (grad(value)[mask[:, 0]].abs().amax(-1) > 0).all()


def test_keys_have_no_order() -> None:
    attention, order = random_attention(2, 5), torch.tensor([2, 0, 3, 1])
    mask = MASKS["full"]
    assert mask is not None
    query, key, value = rand(B, T, D), rand(B, L, D), rand(B, L, D)
    y = attention(query, key, value, mask)
    torch.testing.assert_close(attention(query, key[:, order], value[:, order], mask[:, :, order]), y)


def test_huge_scores_do_not_overflow() -> None:
    q = k = torch.tensor([[[[1e4, 0.0], [0.0, 1e4]]]])
    y, weights = scaled_dot_product_attention(q, KeyValue(k, k), None)
    assert torch.equal(weights, torch.eye(2)[None, None])
    assert torch.equal(y, k)


@pytest.mark.parametrize("length", [2, 20])
def test_a_row_that_may_attend_nowhere_attends_to_all_alike(length: int) -> None:
    mask = torch.ones(1, 2, length, dtype=torch.bool)
    mask[:, 1] = False
    query, x = rand(1, 2, D), rand(1, length, D).requires_grad_()
    attention = random_attention(2, 2)
    y, weights = attention(query, x, x, mask, return_weights=True)
    torch.testing.assert_close(weights[:, :, 1], torch.full((1, H, length), 1 / length, dtype=torch.float64))
    torch.testing.assert_close(y[:, :1], attention(query[:, :1], x, x))
    backward(y.sum())
    assert grad(x).isfinite().all()


@pytest.mark.parametrize("axes", [2, 4])
def test_a_mask_of_other_axes_is_refused(axes: int) -> None:
    """PyTorch's own attention takes B 1 T L; broadcast as B T L, its sentences would all get the first one's mask."""
    attention, x = MultiHeadAttention(D, H), torch.zeros(2, H, D)
    mask = torch.ones(H, H, dtype=torch.bool) if axes == 2 else torch.ones(2, 1, 1, H, dtype=torch.bool)
    for attend in (attention, lambda q, k, v, mask: attention.attend(q, attention.keys_values(k), mask)):
        with run_time_checks(False), pytest.raises(ConfigError, match=f"mask: {axes} axes"):
            attend(x, x, x, mask)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_whole_models_in_another_type(dtype: torch.dtype) -> None:
    attention, x = MultiHeadAttention(D, H).to(dtype), torch.randn(2, T, D, dtype=dtype)
    y = attention(x, x, x)
    assert y.dtype == dtype
    expected = deepcopy(attention).double()(*[x.double()] * 3)
    torch.testing.assert_close(y.double(), expected, atol=0.02 if dtype == torch.bfloat16 else 1e-12, rtol=0)


@pytest.mark.parametrize("shape", [(0, T, D), (2, 0, D)])
def test_nothing_to_attend_from_or_to(shape: tuple[int, int, int]) -> None:
    x = torch.randn(shape)
    assert MultiHeadAttention(D, H)(x, x, x).shape == x.shape


def test_dropped_weights_are_zero_and_the_others_scaled() -> None:
    """Values that are rows of the identity make heads of the weights that multiply them."""
    q, k, identity = rand(B, H, T, 2), rand(B, H, L, 2), torch.eye(L, dtype=torch.float64).expand(B, H, L, L)
    used, whole = scaled_dot_product_attention(q, KeyValue(k, identity), MASKS["full"], Dropout(0.5))
    assert torch.equal(scaled_dot_product_attention(q, KeyValue(k, identity), MASKS["full"])[1], whole)
    torch.testing.assert_close(used[used > 0], 2 * whole[used > 0])
    allowed = whole > 0
    assert 0 < (used[allowed] > 0).double().mean() < 1


def test_attention_dropout_is_of_every_way_in_and_off_in_evaluation() -> None:
    """The same sentence 4,000 times: with dropout every copy differs, and their mean is what is there without."""
    attention, copies = MultiHeadAttention(D, H, 2, 5, dropout=0.5).double(), 4000
    query, x = rand(1, T, D).expand(copies, T, D), rand(1, L, D).expand(copies, L, D)
    mask = torch.tensor([[[1, 0, 1, 1], [0, 0, 0, 1], [1, 1, 1, 1]]]).bool()

    def at_once() -> Tensor:
        y = attention(query, x, x, mask)
        assert isinstance(y, Tensor)
        return y

    def in_parts() -> Tensor:
        return attention.attend(query, attention.keys_values(x), mask)

    calls: list[Callable[[], Tensor]] = [at_once, in_parts]
    attention.eval()
    whole = [call() for call in calls]
    torch.testing.assert_close(*whole)
    attention.train()
    for call in calls:
        y = call()
        assert not torch.equal(y[0], y[1])
        torch.testing.assert_close(y.mean(0), whole[0][0], rtol=0, atol=0.1)


def test_projecting_keys_ahead_changes_nothing() -> None:
    attention, mask = random_attention(2, 5), MASKS["full"]
    query, x = rand(B, T, D), rand(B, L, D)
    torch.testing.assert_close(attention.attend(query, attention.keys_values(x), mask), attention(query, x, x, mask))


def test_self_attention_obeys_the_laws() -> None:
    layer = SelfAttention(random_attention(2, 5), causal=True)
    step_equals_forward(layer, rand(4, 6, D))
    no_peeking(lambda x: torch.as_tensor(layer(x)), rand(B, 5, D))
    padding_is_inert(layer, rand(3, 5, D), [5, 2, 1])
    padding_is_inert(SelfAttention(random_attention(2, 5), causal=False), rand(3, 5, D), [5, 2, 1])


def test_self_attention_steps_under_autocast() -> None:
    layer = SelfAttention(random_attention(2, 5).float(), causal=True)
    x = torch.randn(B, 3, D)
    state = layer.start(B)
    with torch.autocast("cpu", torch.bfloat16):
        whole = layer(x)
        for t in range(3):
            y, state = layer.step(x[:, t], state)
            torch.testing.assert_close(y, whole[:, t], rtol=0.05, atol=0.05)
    assert state.k.dtype == torch.bfloat16


@pytest.mark.parametrize("length", [5, 20])
@pytest.mark.parametrize(("masked", "d_k"), [(False, 64), (False, 7), (True, 64), (True, 7)])
def test_the_softmax_of_bf16_products_is_in_float32(length: int, masked: bool, d_k: int) -> None:
    apply: Callable[..., Tensor] = _ScaledSoftmax.apply
    products, scale = torch.randn(2, 3, 4, length).bfloat16(), 1 / math.sqrt(d_k)
    hidden = torch.zeros(2, 1, 4, length)
    hidden[..., 1] = -torch.inf
    expected = (products.float() * scale + (hidden if masked else 0)).softmax(-1)
    torch.testing.assert_close(apply(products, hidden if masked else None, scale), expected)


def test_keys_lie_as_whoever_multiplies_by_them_wants_them() -> None:
    """Transposed on a processor; elsewhere PyTorch's fused kernels take rows only (`meta` stands for that)."""
    attention = MultiHeadAttention(D, H)
    on_processor = attention.keys_values(torch.randn(2, 5, D)).k
    elsewhere = attention.to("meta").keys_values(torch.empty(2, 5, D, device="meta")).k
    assert on_processor.shape == elsewhere.shape
    assert (on_processor.stride(-2), elsewhere.stride(-1)) == (1, 1)
