import math

import pytest
import torch

from transduce.decoding.search import check_finite, length_penalty, never_produced
from transduce.errors import ConfigError, TransduceError
from transduce.text.pieces import IDS

pytestmark = pytest.mark.unit


def test_length_penalty_closed_form() -> None:
    assert length_penalty(1, 0.6) == 1.0  # the empty output: only its end symbol
    assert length_penalty(19, 0.5) == 2.0
    assert length_penalty(100, 0.0) == 1.0
    assert length_penalty(7, 0.6) == pytest.approx(math.exp(0.6 * math.log(2)))


def test_never_produced() -> None:
    cpu = torch.device("cpu")
    assert never_produced(IDS, [9, 1, 9], cpu).tolist() == [0, 1, 2, 9]
    with pytest.raises(ConfigError, match="end symbol"):
        never_produced(IDS, [IDS.eos], cpu)


def test_check_finite() -> None:
    check_finite(torch.tensor([1.0, -1e30]))
    for broken in (math.nan, math.inf, -math.inf):
        with pytest.raises(TransduceError, match="not finite"):
            check_finite(torch.tensor([1.0, broken]))
