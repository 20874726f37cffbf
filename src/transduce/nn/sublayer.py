"""What stands around every sub-layer: residual connection, dropout and layer normalisation (sections 3.1, 5.4)."""

from collections.abc import Callable
from typing import Literal, final

from torch import nn

from transduce.nn.dropout import Dropout
from transduce.shapes import Float, Tensor

Norm = Literal["post", "pre"]
Function = Callable[[Tensor], Tensor]


@final
class PostNorm(nn.Module):
    """The paper's: LayerNorm(x + Dropout(Sublayer(x)))."""

    def __init__(self, d_model: int, p_drop: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.dropout = Dropout(p_drop)

    def forward(self, x: Float[Tensor, "... D"], sublayer: Function) -> Float[Tensor, "... D"]:
        """Normalise after adding."""
        return self.norm(x + self.dropout(sublayer(x)))  # type: ignore[no-any-return]


@final
class PreNorm(nn.Module):
    """x + Dropout(Sublayer(LayerNorm(x))).

    Differs: the paper normalises after adding (`norm = "post"`, the default). With `norm = "pre"` nothing stands on
    the residual path, deep stacks train without warm-up, and each stack ends in one more LayerNorm."""

    def __init__(self, d_model: int, p_drop: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.dropout = Dropout(p_drop)

    def forward(self, x: Float[Tensor, "... D"], sublayer: Function) -> Float[Tensor, "... D"]:
        """Normalise before the sub-layer."""
        return x + self.dropout(sublayer(self.norm(x)))  # type: ignore[no-any-return]


@final
class Plain(nn.Module):
    """No residual connection: Dropout(Sublayer(x)), normalised where the residual kind of the same `norm` would.

    Differs: the paper always adds x. Only for the laboratory, which measures what the residual path is for."""

    def __init__(self, d_model: int, p_drop: float, norm: Norm) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.dropout = Dropout(p_drop)
        self.normalise_first = norm == "pre"

    def forward(self, x: Float[Tensor, "... D"], sublayer: Function) -> Float[Tensor, "... D"]:
        """The sub-layer alone."""
        if self.normalise_first:
            return self.dropout(sublayer(self.norm(x)))  # type: ignore[no-any-return]
        return self.norm(self.dropout(sublayer(x)))  # type: ignore[no-any-return]


Connection = PostNorm | PreNorm | Plain
"""What stands around a sub-layer: it is called with x and the sub-layer."""


def build_connection(d_model: int, p_drop: float, norm: Norm, residual: bool) -> Connection:
    """The connection that a config's `norm` and `residual` name."""
    if not residual:
        return Plain(d_model, p_drop, norm)
    return PostNorm(d_model, p_drop) if norm == "post" else PreNorm(d_model, p_drop)
