"""Convolutional layers, the second rival of Table 1: O(k n d^2) operations, all of them at once."""

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import nn

from transduce.errors import ConfigError
from transduce.shapes import Bool, Float, Int, Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Convolution:
    """A convolutional layer of `kernel` positions: centred in the encoder, in the decoder those up to its own.

    `dilated`: layer i (from 0) takes every kernel^i-th position: in the decoder, log_k n layers see everything; in the
    encoder the two ends of a sequence never see each other, for their far positions lie outside. `separable`: each
    feature by itself, then a product across features, as in depthwise separable convolutions.
    """

    kind: Literal["convolutional"] = "convolutional"
    kernel: int = 3
    dilated: bool = False
    separable: bool = False

    def __post_init__(self) -> None:
        if self.kernel < 1:
            raise ConfigError(f"model.layer.kernel = {self.kernel}: must be at least 1.")

    def dilation(self, index: int) -> int:
        """How far apart the positions are that layer `index` (from 0) takes."""
        return self.kernel**index if self.dilated else 1


@final
@dataclass(frozen=True, slots=True)
class ConvolutionState:
    """The inputs that later outputs of each row still read, oldest first."""

    past: Float[Tensor, "N L D"]

    def select(self, rows: Int[Tensor, " M"]) -> "ConvolutionState":
        """The state whose row i is this one's row rows[i]."""
        return ConvolutionState(self.past.index_select(0, rows))


@final
class Convolutional(nn.Module):
    """Output t reads `kernel` inputs, `dilation` apart, the last of them `after` positions behind t.

    `after` = 0 is causal. Beyond the ends, and at padding, there are zeros.
    """

    def __init__(self, d_model: int, kernel: int, dilation: int, separable: bool, after: int) -> None:
        super().__init__()
        groups = d_model if separable else 1
        self.taps = nn.Conv1d(d_model, d_model, kernel, dilation=dilation, groups=groups, bias=not separable)
        self.across = nn.Linear(d_model, d_model) if separable else nn.Identity()
        self.after = after
        self.before = (kernel - 1) * dilation - after

    def forward(self, x: Float[Tensor, "B T D"], real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D"]:
        """Whole sequences."""
        if real is not None:
            x = x.masked_fill(~real[..., None], 0.0)
        (dilation,), reach = self.taps.dilation, x.shape[1] - 1
        first, last = (min(far, reach) // dilation for far in (self.before, self.after))  # taps that reach an input
        own = self.before // dilation
        weight = self.taps.weight[:, :, own - first : own + last + 1]
        around = nn.functional.pad(x.transpose(1, 2), (first * dilation, last * dilation))  # B T D -> B D T'
        groups, bias = self.taps.groups, self.taps.bias
        y = nn.functional.conv1d(around, weight, bias, dilation=dilation, groups=groups)
        return self.across(y.transpose(1, 2))  # type: ignore[no-any-return]

    def start(self, n: int) -> ConvolutionState:
        """The state of `n` rows before any position."""
        return ConvolutionState(self.taps.weight.new_empty(n, 0, self.taps.in_channels))

    def step(self, x: Float[Tensor, "N D"], state: ConvolutionState) -> tuple[Float[Tensor, "N D"], ConvolutionState]:
        """The next position's output, and the state that includes it. For causal layers."""
        seen = torch.cat((state.past.to(x.dtype), x[:, None]), dim=1)
        kernel, dilation = self.taps.kernel_size[0], self.taps.dilation[0]
        newest = seen.shape[1] - 1
        places = [newest - j * dilation for j in reversed(range(kernel)) if j * dilation <= newest]
        taken = nn.functional.pad(seen[:, places].transpose(1, 2), (kernel - len(places), 0))  # N L D -> N D k
        y = nn.functional.conv1d(taken, self.taps.weight, self.taps.bias, groups=self.taps.groups)
        kept = seen[:, max(0, seen.shape[1] - self.before) :]
        return self.across(y[..., 0]), ConvolutionState(kept)
