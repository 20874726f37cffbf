"""Attention maps against what the ordinary forward pass multiplies, and what is said of heads with known habits."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.nn.tiny import VARIANTS, ids, tiny, variant_name
from transduce.decoding.attention import KINDS, AttentionKind, attention_maps, each_head, head_statistics, role
from transduce.nn import attention
from transduce.nn.attention import KeyValue, scaled_dot_product_attention
from transduce.nn.dropout import Dropout

pytestmark = pytest.mark.unit


CALLS = [("encoder", 0), ("encoder", 1), ("decoder", 0), ("cross", 0), ("decoder", 1), ("cross", 1)]


def overheard(model: nn.Module, source: Tensor, target: Tensor) -> list[Tensor]:
    """The weights of every attention, from the queries and keys that go by during `model(source, target)`."""
    heard: list[tuple[Tensor, Tensor]] = []

    def listening(q: Tensor, kv: KeyValue, mask: Tensor | None, dropout: Dropout) -> tuple[Tensor, Tensor]:
        heard.append((q[0].detach(), kv.k[0].detach()))
        return scaled_dot_product_attention(q, kv, mask, dropout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "scaled_dot_product_attention", listening)
        model(source, target)
    weights = []
    for (kind, _), (q, k) in zip(CALLS, heard, strict=True):
        scores = torch.einsum("htk,hlk->htl", q, k) / 2**0.5
        if kind == "decoder":
            later = torch.ones(scores.shape[1:]).triu(1).bool()
            scores[:, later] = -torch.inf
        weights.append(scores.exp() / scores.exp().sum(-1, keepdim=True))
    return weights


@pytest.mark.parametrize("changes", VARIANTS, ids=variant_name)
def test_the_maps_are_what_the_forward_pass_uses(changes: dict[str, Any]) -> None:
    model = tiny(**changes, p_drop=0.5)
    source, target = ids([5]), ids([4])
    model.eval()
    expected = overheard(model, source, target)
    model.train()
    maps = attention_maps(model, source[0], target[0])
    assert model.training, "the mode is put back"
    for (kind, layer), weights in zip(CALLS, expected, strict=True):
        assert torch.allclose(getattr(maps, kind)[layer].double(), weights, atol=1e-6)
    assert [stack.shape for stack in (maps.encoder, maps.decoder, maps.cross)] == [
        (2, 3, 5, 5),
        (2, 3, 4, 4),
        (2, 3, 4, 5),
    ]
    assert len(list(each_head(maps))) == 18


def test_every_row_is_a_distribution_and_the_decoder_is_blind_to_later_pieces() -> None:
    maps = attention_maps(tiny(), ids([6])[0], ids([5])[0])
    for kind in KINDS:
        assert torch.allclose(getattr(maps, kind).sum(-1), torch.ones(()), atol=1e-5)
    assert maps.decoder.triu(1).abs().max() == 0


def shifted(n: int, by: int) -> Tensor:
    """Every row looks `by` positions on, the ends at themselves."""
    rows = torch.arange(n)
    return torch.eye(n)[(rows + by).clamp(0, n - 1)]


@pytest.mark.parametrize(
    ("kind", "weights", "expected"),
    [
        ("encoder", shifted(9, -1), "previous piece"),
        ("encoder", shifted(9, 1), "next piece"),
        ("encoder", shifted(9, 0), "itself"),
        ("encoder", torch.eye(9)[torch.full((9,), 8)], "end symbol"),
        ("encoder", torch.full((9, 9), 1 / 9), "broad"),
        ("decoder", shifted(9, 0), "piece just written"),
        ("decoder", torch.eye(9)[torch.zeros(9, dtype=torch.long)], "start symbol"),
        ("decoder", torch.ones(9, 9).tril() / torch.arange(1, 10)[:, None], "broad"),
        ("cross", torch.eye(9)[::2], "diagonal"),
        ("cross", torch.full((4, 4), 1 / 4), "broad"),
        ("decoder", torch.ones(4, 4).tril() / torch.arange(1, 5)[:, None], "broad"),
    ],
)
def test_heads_with_one_habit_are_named_by_it(kind: AttentionKind, weights: Tensor, expected: str) -> None:
    assert role(head_statistics(weights, kind), kind) == expected


def test_the_start_symbol_is_no_piece_that_was_written() -> None:
    found = head_statistics(torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]]), "decoder")
    assert (found.first, found.previous, found.same) == pytest.approx((1.75 / 3, 0.25 / 3, 1.0 / 3))


def test_statistics_of_a_head_computed_by_hand() -> None:
    found = head_statistics(torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.25, 0.5], [0.0, 0.0, 1.0]]), "encoder")
    assert found.entropy == pytest.approx((1.0 + 1.5 + 0.0) / 3)
    assert found.breadth == pytest.approx(2.5 / (3 * 1.5849625))
    assert found.distance == pytest.approx((0.5 + 0.75 + 0.0) / 3)
    assert (found.previous, found.same, found.next) == pytest.approx((0.25 / 3, 1.75 / 3, 1.0 / 3))
    assert (found.first, found.last) == pytest.approx((0.25, 0.5))
    assert role(replace(found, same=0.4), "encoder") == "mixed"
