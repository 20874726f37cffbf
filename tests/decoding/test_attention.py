"""Attention maps against what the ordinary forward pass multiplies, and what is said of heads with known habits."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.nn.tiny import VARIANTS, ids, tiny, variant_name
from transduce.decoding.attention import KINDS, AttentionKind, attention_maps, each_head, head_statistics, role

pytestmark = pytest.mark.unit


def overheard(model: nn.Module, source: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Weights by module name, from the queries and keys that go by during `model(source, target)`."""
    heard: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda _m, _i, out, name=name: heard.update({name: out.detach()}))
        for name, module in model.named_modules()
        if name.endswith(("w_q", "w_k"))
    ]
    model(source, target)
    for handle in handles:
        handle.remove()
    weights = {}
    for name in (name.removesuffix(".w_q") for name in heard if name.endswith("w_q")):
        q, k = (heard[f"{name}.{side}"][0].reshape(-1, 3, 2) for side in ("w_q", "w_k"))
        scores = torch.einsum("thk,lhk->htl", q, k) / 2**0.5
        if name.startswith("decoder") and "cross" not in name:
            later = torch.ones(scores.shape[1:]).triu(1).bool()
            scores[:, later] = -torch.inf
        weights[name] = scores.exp() / scores.exp().sum(-1, keepdim=True)
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
    for name, weights in expected.items():
        side, _, layer, place, *_ = name.split(".")
        kind = "cross" if "cross" in place else side
        assert torch.allclose(getattr(maps, kind)[int(layer)].double(), weights, atol=1e-6)
    assert len(expected) == 6
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
    ],
)
def test_heads_with_one_habit_are_named_by_it(kind: AttentionKind, weights: Tensor, expected: str) -> None:
    assert role(head_statistics(weights, kind), kind) == expected


def test_statistics_of_a_head_computed_by_hand() -> None:
    found = head_statistics(torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.25, 0.5], [0.0, 0.0, 1.0]]), "encoder")
    assert found.entropy == pytest.approx((1.0 + 1.5 + 0.0) / 3)
    assert found.breadth == pytest.approx(2.5 / (3 * 1.5849625))
    assert found.distance == pytest.approx((0.5 + 0.75 + 0.0) / 3)
    assert (found.previous, found.same, found.next) == pytest.approx((0.25 / 3, 1.75 / 3, 1.0 / 3))
    assert (found.first, found.last) == pytest.approx((0.25, 0.5))
    assert role(replace(found, same=0.4), "encoder") == "mixed"
