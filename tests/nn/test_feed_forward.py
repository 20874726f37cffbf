"""The feed-forward network is eq. 2, at each position apart."""

import numpy as np
import pytest
import torch

from tests.nn.laws import no_peeking
from tests.nn.tiny import backward, grad
from transduce.nn.dropout import Dropout
from transduce.nn.feed_forward import FeedForward

pytestmark = pytest.mark.unit


def test_it_is_equation_2() -> None:
    network = FeedForward(4, 7).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    before = x.clone()
    w_1, b_1, w_2, b_2 = (p.detach().numpy() for p in network.parameters())
    expected = np.maximum(0, x.numpy() @ w_1.T + b_1) @ w_2.T + b_2
    np.testing.assert_allclose(network(x).detach().numpy(), expected, rtol=1e-12)
    assert torch.equal(x, before)


def test_dropout_is_of_what_comes_out_of_the_relu() -> None:
    network = FeedForward(4, 50, dropout=0.4).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    plain = x.detach().clone().requires_grad_()
    torch.manual_seed(5)
    mask = Dropout(0.4)(torch.ones(2, 3, 50, dtype=torch.float64))
    expected = network.w_2(network.w_1(plain).relu() * mask)
    torch.manual_seed(5)
    y = network(x)
    torch.testing.assert_close(y, expected)
    backward(y.square().sum())
    backward(expected.square().sum())
    torch.testing.assert_close(grad(x), grad(plain))
    network.eval()
    torch.testing.assert_close(network(x), network.w_2(network.w_1(x).relu()))


def test_positions_do_not_mix() -> None:
    network = FeedForward(4, 30).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(network(x)[:, 1], network(x[:, 1]))
    with pytest.raises(AssertionError):  # no_peeking wants every position to see the ones before it
        no_peeking(network, x)
