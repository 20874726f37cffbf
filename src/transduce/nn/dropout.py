"""Dropout with masks from cheap random bits."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import torch
from torch import nn

from transduce.errors import ConfigError
from transduce.shapes import Float, Tensor

LEVELS = 1 << 16  # masks compare 16 random bits


class _OfThread(threading.local):
    generator: torch.Generator | None = None


_of_thread = _OfThread()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, masks made by this thread on CPU follow from `seed`; outside, from torch's global generator."""
    before, _of_thread.generator = _of_thread.generator, torch.Generator().manual_seed(seed)
    try:
        yield
    finally:
        _of_thread.generator = before


@final
class Dropout(nn.Module):
    """Dropout (section 5.4). On CPU the mask compares 16 random bits with p: a sixth of `bernoulli_`'s time.

    Differs: on CPU, p is rounded to a multiple of 1/65536 (0.1 becomes 0.100006); the scale is that p's own.

    Raises:
        ConfigError: p below 0, or 1 and above.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise ConfigError(f"dropout of p = {p}: must be at least 0 and below 1.")
        self.p = p

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Drop elements while training; the identity in evaluation and for p = 0."""
        if not self.training or self.p == 0.0:
            return x
        if x.device.type != "cpu":
            return nn.functional.dropout(x, self.p)
        return x * _keep_mask(x, min(round(self.p * LEVELS), LEVELS - 1))


def _keep_mask(like: Tensor, dropped_levels: int) -> Tensor:
    """0 with probability dropped_levels / 65536, else 1 / (1 - that), in the shape and type of `like`."""
    words = torch.empty((like.numel() + 3) // 4, dtype=torch.int64).random_(
        -(2**63), None, generator=_of_thread.generator
    )
    bits = words.view(torch.int16)[: like.numel()].view(like.shape)  # four masks' worth a word
    keep = torch.empty(like.shape, dtype=like.dtype)
    torch.ge(bits, dropped_levels - LEVELS // 2, out=keep)  # straight to float: a bool in between doubles the time
    return keep.mul_(LEVELS / (LEVELS - dropped_levels))
