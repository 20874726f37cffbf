"""Position-wise feed-forward network, section 3.3."""

from typing import final

from torch import nn

from transduce.shapes import Float, Tensor


@final
class FeedForward(nn.Module):
    """Eq. 2: FFN(x) = max(0, x W1 + b1) W2 + b2."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(d_model, d_ff)
        self.w_2 = nn.Linear(d_ff, d_model)

    def forward(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
        """The same network at every position."""
        return self.w_2(self.w_1(x).relu_())  # type: ignore[no-any-return]
