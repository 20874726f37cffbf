"""Position-wise feed-forward network, section 3.3."""

from typing import final

from torch import nn

from transduce.nn.dropout import Dropout
from transduce.shapes import Float, Tensor


@final
class FeedForward(nn.Module):
    """Eq. 2: FFN(x) = max(0, x W1 + b1) W2 + b2.

    Differs: with `model.activation_dropout`, what comes out of the ReLU is dropped out. It is off by default: section
    5.4 names the outputs of sub-layers and the embeddings only. The code published with the paper can do it.
    """

    def __init__(self, d_model: int, d_ff: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.w_1 = nn.Linear(d_model, d_ff)
        self.w_2 = nn.Linear(d_ff, d_model)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
        """The same network at every position. (The ReLU writes into what `w_1` gave, and a hook there sees that.)"""
        # masks are not negative, so dropout before the ReLU is dropout after it, and there its input need not be kept
        y: Tensor = self.w_2(self.dropout(self.w_1(x)).relu_())
        return y
