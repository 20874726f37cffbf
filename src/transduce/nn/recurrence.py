"""Recurrent layers, the first rival of Table 1: O(n d^2) operations, n of them one after another."""

from dataclasses import dataclass
from typing import Any, Literal, final, get_args

import torch
from torch import nn

from transduce.errors import ConfigError
from transduce.shapes import Bool, Float, Int, Tensor

Cell = Literal["lstm", "gru"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recurrence:
    """A recurrent layer: `cell` is the long short-term memory or the gated recurrent unit.

    The decoder reads from left to right; the encoder reads half of its features in either direction.
    """

    kind: Literal["recurrent"] = "recurrent"
    cell: Cell = "lstm"

    def __post_init__(self) -> None:
        if self.cell not in get_args(Cell):
            raise ConfigError(f"model.layer.cell = {self.cell!r}: choose one of {', '.join(get_args(Cell))}.")


@final
@dataclass(frozen=True, slots=True)
class RecurrentState:
    """What the cells remember of each row: one vector (GRU) or two (LSTM)."""

    parts: tuple[Float[Tensor, "1 N D"], ...]

    def select(self, rows: Int[Tensor, " M"]) -> "RecurrentState":
        """The state whose row i is this one's row rows[i]."""
        return RecurrentState(tuple(part.index_select(1, rows) for part in self.parts))


@final
class Recurrent(nn.Module):
    """Reads from left to right: output t is a function of x_1 ... x_t."""

    def __init__(self, cell: Cell, d_in: int, d_out: int) -> None:
        super().__init__()
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        self.cells = kind(d_in, d_out, batch_first=True)

    def forward(self, x: Float[Tensor, "B T D"], real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T Do"]:
        """Whole sequences. Padding stands behind everything that is real: nothing real reads it."""
        return self._run(x, None)[0]

    def start(self, n: int) -> RecurrentState:
        """The state of `n` rows before any position: zeros."""
        zeros = self.cells.all_weights[0][0].new_zeros(1, n, self.cells.hidden_size)
        return RecurrentState((zeros, zeros) if isinstance(self.cells, nn.LSTM) else (zeros,))

    def step(self, x: Float[Tensor, "N D"], state: RecurrentState) -> tuple[Float[Tensor, "N Do"], RecurrentState]:
        """The next position's output, and the state that includes it."""
        y, after = self._run(x[:, None], state.parts if isinstance(self.cells, nn.LSTM) else state.parts[0])
        return y[:, 0], RecurrentState(after if isinstance(after, tuple) else (after,))

    def _run(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """In the weights' own type, whatever autocast says: many processors have no cells in bf16."""
        with torch.autocast(x.device.type, enabled=False):
            return self.cells(x.to(self.cells.all_weights[0][0].dtype), state)  # type: ignore[no-any-return]


@final
class BidirectionalRecurrent(nn.Module):
    """Reads both ways and joins the outputs: for encoders."""

    def __init__(self, forwards: Recurrent, backwards: Recurrent) -> None:
        super().__init__()
        self.forwards = forwards
        self.backwards = backwards

    def forward(self, x: Float[Tensor, "B T D"], real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D2"]:
        """Output t is a function of x_1 ... x_t (the first features) and of x_t ... x_n (the others)."""
        return torch.cat((self.forwards(x), reverse(self.backwards(reverse(x, real)), real)), dim=-1)


def reverse(x: Float[Tensor, "B T D"], real: Bool[Tensor, "B T"] | None) -> Float[Tensor, "B T D"]:
    """Every row's real positions in the opposite order; padding stays where it is."""
    if real is None:
        return x.flip(1)
    place = torch.arange(x.shape[1], device=x.device)
    mirrored = real.sum(1, keepdim=True) - 1 - place
    order = torch.where(mirrored >= 0, mirrored, place)
    return x.gather(1, order[..., None].expand_as(x))  # B T -> B T D
