"""Embeddings and what is added to them, sections 3.4, 3.5 and 5.4."""

import math
from typing import final

from torch import nn

from transduce.nn.dropout import Dropout
from transduce.nn.positions import LearnedPositions, SinusoidalPositions
from transduce.shapes import Float, Int, Tensor


@final
class Embedding(nn.Module):
    """Dropout(E[ids] * sqrt(d_model) + PE). `table` may be shared with the other side and the output (section 3.4)."""

    def __init__(self, table: nn.Embedding, positions: SinusoidalPositions | LearnedPositions, p_drop: float) -> None:
        super().__init__()
        self.table = table
        self.positions = positions
        self.dropout = Dropout(p_drop)
        self.scale = math.sqrt(table.embedding_dim)

    def forward(self, ids: Int[Tensor, "B T"], first: int = 0) -> Float[Tensor, "B T D"]:
        """Embed `ids`, the first of which stands at position `first`."""
        positions = self.positions(first, ids.shape[1])
        return self.dropout(self.table(ids) * self.scale + positions)  # type: ignore[no-any-return]
