"""Sizes are counted, and the count is that of the model that is built."""

from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from transduce.nn.attention import Attention
from transduce.nn.convolution import Convolution
from transduce.nn.recurrence import Recurrence
from transduce.nn.restricted import RestrictedAttention
from transduce.nn.transformer import Layer, TransformerConfig, build
from transduce.sizes import flops_per_token, linear_shapes, parameters, stacks

pytestmark = pytest.mark.unit

TINY = TransformerConfig(n_layers=2, d_model=8, d_ff=12, n_heads=2, d_k=3, d_v=5)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("share", ["all", "target", "none"])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_as_many_parameters_as_the_model_has(norm: str, share: str, positions: str) -> None:
    config = replace(TINY, norm=norm, share_embeddings=share, positions=positions, max_positions=11)  # type: ignore[arg-type]
    sizes = (30, 30) if share == "all" else (20, 30)
    model = build(config, *sizes, 0)
    assert parameters(config, *sizes) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "layer",
    [Attention(), RestrictedAttention(neighbourhood=3), Recurrence(), Convolution(), Convolution(separable=True)],
    ids=str,
)
def test_linear_shapes_are_those_of_the_layers(layer: Layer) -> None:
    config = replace(TINY, layer=layer, share_embeddings="none")
    model = build(config, 20, 30, 0)
    found = [m for m in model.modules() if isinstance(m, nn.Linear) and m is not model.output]
    assert sorted(linear_shapes(config)) == sorted((m.out_features, m.in_features) for m in found)


def test_the_paper_s_base_model() -> None:
    """Table 3: 65 million parameters, and 213 million for the big one."""
    assert parameters(TransformerConfig(), 37_000, 37_000) == 63_082_496
    big = TransformerConfig(d_model=1024, d_ff=4096, n_heads=16)
    assert parameters(big, 37_000, 37_000) == pytest.approx(213e6, rel=0.02)


def test_the_paper_s_training_cost() -> None:
    """Table 2 says 3.3e18, which is what 8 GPUs can do at most in 12 hours; of that, training uses a good part."""
    counted = 100_000 * 25_000 * flops_per_token(TransformerConfig(), 37_000, 37_000)
    assert 0.2 < counted / 3.3e18 < 1


@pytest.mark.parametrize("change", [{"n_layers": 3}, {"d_model": 16}, {"d_ff": 99}, {"n_heads": 4}, {"d_k": 9}])
def test_more_of_anything_costs_more(change: dict[str, Any]) -> None:
    more = replace(TINY, **change)
    for count in (parameters, flops_per_token):
        assert count(more, 30, 30) > count(TINY, 30, 30)
    assert sum(stack.kept for stack in stacks(more, 25)) > sum(stack.kept for stack in stacks(TINY, 25))


@pytest.mark.parametrize("where", ["attention_dropout", "activation_dropout"])
def test_dropout_inside_sublayers_is_kept_for_the_backward_pass(where: str) -> None:
    changes: dict[str, Any] = {where: 0.1}
    found, plain = stacks(replace(TINY, **changes), 25), stacks(TINY, 25)
    assert sum(stack.kept for stack in found) > sum(stack.kept for stack in plain)
    assert [stack.multiplied for stack in found] == [stack.multiplied for stack in plain]
