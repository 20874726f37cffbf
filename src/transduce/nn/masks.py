"""Masks. One meaning everywhere: Bool, True = may attend (as `scaled_dot_product_attention` has it)."""

import torch

from transduce.shapes import Bool, Int, Tensor


def not_padding(ids: Int[Tensor, "B S"], pad: int) -> Bool[Tensor, "B S"]:
    """True where `ids` holds a real piece."""
    return ids.ne(pad)


def causal(t: int, device: torch.device) -> Bool[Tensor, "1 T T"]:
    """allowed[0, i, j]: position i may look at j, i.e. j <= i (section 3.2.3)."""
    return torch.ones(1, t, t, dtype=torch.bool, device=device).tril()
