"""Embeddings are scaled, then positions are added, then dropout."""

import math

import pytest
import torch
from torch import nn

from transduce.nn.embedding import Embedding
from transduce.nn.positions import LearnedPositions, SinusoidalPositions, sinusoids

pytestmark = pytest.mark.unit


def test_scaled_table_plus_position() -> None:
    table = nn.Embedding(9, 6)
    embedding = Embedding(table, SinusoidalPositions(6), 0.0)
    ids = torch.tensor([[3, 8, 3], [1, 0, 2]])
    expected = table.weight[ids] * math.sqrt(6) + sinusoids(3, 6)
    torch.testing.assert_close(embedding(ids), expected)
    torch.testing.assert_close(embedding(ids[:, 1:], first=1), expected[:, 1:])


def test_dropout_is_on_the_sum() -> None:
    """Section 5.4: "to the sums of the embeddings and the positional encodings"."""
    table, positions = nn.Embedding(9, 6), LearnedPositions(6, 200)
    nn.init.normal_(table.weight)
    nn.init.normal_(positions.weight)
    embedding = Embedding(table, positions, 0.5)
    ids = torch.randint(9, (4, 200))
    dropped = embedding(ids)
    whole = embedding.eval()(ids)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.5, abs=0.04)
    torch.testing.assert_close(dropped[dropped != 0], 2 * whole[dropped != 0])
