"""The encoder stack: padding is inert, order matters only through positions, pre-norm ends in a norm."""

import pytest
import torch
from torch import nn

from tests.nn.laws import padding_is_inert
from tests.nn.tiny import TINY, tiny

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_padding_is_inert(norm: str, residual: bool) -> None:
    encoder = tiny(norm=norm, residual=residual).encoder
    x = torch.randn(3, 5, TINY.d_model, dtype=torch.float64)
    padding_is_inert(lambda x, real: torch.as_tensor(encoder(x, real)), x, [5, 1, 3])


def test_without_positions_it_is_a_function_of_a_set() -> None:
    encoder, order = tiny().encoder, torch.tensor([3, 0, 4, 2, 1])
    x = torch.randn(2, 5, TINY.d_model, dtype=torch.float64)
    torch.testing.assert_close(encoder(x[:, order]), encoder(x)[:, order])


@pytest.mark.parametrize(("norm", "kind"), [("post", nn.Identity), ("pre", nn.LayerNorm)])
def test_only_a_pre_norm_stack_ends_in_a_norm_of_its_own(norm: str, kind: type) -> None:
    model = tiny(norm=norm)
    assert isinstance(model.encoder.norm, kind)
    assert isinstance(model.decoder.norm, kind)
    x = torch.randn(2, 5, TINY.d_model, dtype=torch.float64)
    last = list(model.encoder.modules())[-1] if norm == "pre" else model.encoder.layers[-1].around_feed_forward.norm
    assert isinstance(last, nn.LayerNorm)
    for parameter, value in ((last.weight, 1.0), (last.bias, 0.0)):
        nn.init.constant_(parameter, value)
    y = model.encoder(x)
    torch.testing.assert_close(y.mean(-1), torch.zeros(2, 5, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(y.var(-1, correction=0), torch.ones(2, 5, dtype=torch.float64), atol=1e-3, rtol=0)
