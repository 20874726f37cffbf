"""Masks: True = may attend."""

import pytest
import torch

from transduce.nn.masks import causal, not_padding

pytestmark = pytest.mark.unit


def test_not_padding() -> None:
    assert not_padding(torch.tensor([[5, 6, 9], [5, 9, 9]]), pad=9).tolist() == [
        [True, True, False],
        [True, False, False],
    ]


def test_causal() -> None:
    mask = causal(4, torch.device("cpu"))
    assert mask.shape == (1, 4, 4)
    assert all(bool(mask[0, i, j]) == (j <= i) for i in range(4) for j in range(4))
