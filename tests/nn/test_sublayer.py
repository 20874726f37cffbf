"""What stands around a sub-layer: post-norm as in the paper, pre-norm, and neither residual."""

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from transduce.nn.sublayer import Norm, Plain, PostNorm, PreNorm, build_connection

pytestmark = pytest.mark.unit

D = 6


def sublayer(x: Tensor) -> Tensor:
    return 3 * x.flip(-1) - 1


def normalised(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Layer normalisation by its definition."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("norm", get_args(Norm))
def test_connections_are_their_formulas(norm: Norm, residual: bool) -> None:
    connection = build_connection(D, 0.0, norm, residual).double()
    nn.init.normal_(connection.norm.weight)
    nn.init.normal_(connection.norm.bias)
    x = torch.randn(2, 3, D, dtype=torch.float64)
    through = x if residual else torch.zeros_like(x)
    if norm == "post":
        expected = normalised(through + sublayer(x), connection.norm)
    else:
        expected = through + sublayer(normalised(x, connection.norm))
    torch.testing.assert_close(connection(x, sublayer), expected)


@pytest.mark.parametrize(
    ("norm", "residual", "kind"), [("post", True, PostNorm), ("pre", True, PreNorm), ("pre", False, Plain)]
)
def test_the_names_build_the_right_kind(norm: Norm, residual: bool, kind: type) -> None:
    assert type(build_connection(D, 0.1, norm, residual)) is kind


def test_dropout_is_on_the_sub_layer_and_not_on_the_residual_path() -> None:
    """Section 5.4: "to the output of each sub-layer, before it is added to the sub-layer input"."""
    x = torch.randn(50, 40, D)
    y = PreNorm(D, 0.5)(x, torch.ones_like)
    torch.testing.assert_close((y - x).round(decimals=4).unique(), torch.tensor([0.0, 2.0]))
    y = build_connection(D, 0.5, "pre", residual=False)(x, torch.ones_like)
    torch.testing.assert_close(y.unique(), torch.tensor([0.0, 2.0]))
    post = PostNorm(D, 0.5)
    assert (post(x, torch.zeros_like) - normalised(x, post.norm)).abs().max() < 1e-5
