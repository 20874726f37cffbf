"""Positional encodings, section 3.5: sinusoids, or learned embeddings (Table 3, row E)."""

from typing import final

import torch
from torch import nn

from transduce.errors import DataError
from transduce.shapes import Float, Tensor


def sinusoids(n: int, d_model: int) -> Float[Tensor, "T D"]:
    """PE(pos, 2i) = sin(pos / 10000^(2i/d_model)), PE(pos, 2i+1) = cos of the same; positions count from 0."""
    position = torch.arange(n, dtype=torch.float64)[:, None]
    even = torch.arange(0, d_model, 2, dtype=torch.float64)
    angles = position / 10000 ** (even / d_model)
    table = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)  # T D/2 2 -> T D (interleaved)
    return table[:, :d_model].float()


@final
class SinusoidalPositions(nn.Module):
    """The paper's fixed encoding. It has no parameters and no longest length: the table grows when asked to."""

    table: Tensor

    def __init__(self, d_model: int, n: int = 512) -> None:
        super().__init__()
        self.register_buffer("table", sinusoids(n, d_model), persistent=False)

    def forward(self, first: int, n: int) -> Float[Tensor, "T D"]:
        """Encodings of positions `first` to `first + n - 1`."""
        table = self.table
        if first + n > len(table):
            self.table = table = sinusoids(2 * (first + n), table.shape[1]).to(table)
        return table[first : first + n]


@final
class LearnedPositions(nn.Module):
    """Learned positional embeddings (Table 3, row E): no position beyond `max_positions` exists."""

    def __init__(self, d_model: int, max_positions: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(max_positions, d_model))

    def forward(self, first: int, n: int) -> Float[Tensor, "T D"]:
        """Encodings of positions `first` to `first + n - 1`.

        Raises:
            DataError: a position past the table was asked for.
        """
        if first + n > len(self.weight):
            raise DataError(
                f"A sequence of {first + n} positions, but the model has learned only {len(self.weight)}. "
                f"Cut the input, or train with a larger model.max_positions or with positions = 'sinusoidal'."
            )
        return self.weight[first : first + n]
