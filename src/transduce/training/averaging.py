"""Averaging of checkpoints, section 6.1: the base model of the paper is the average of its last 5."""

from collections.abc import Iterable, Mapping

import torch

from transduce.shapes import Tensor


def average(weights: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of every tensor, summed in float64 in the order given. `weights` must not be empty."""
    total: dict[str, Tensor] = {}
    n = 0
    dtypes: dict[str, torch.dtype] = {}
    for one in weights:
        n += 1
        for name, value in one.items():
            dtypes[name] = value.dtype
            total[name] = total[name] + value.double() if name in total else value.double()
    return {name: (value / n).to(dtypes[name]) for name, value in total.items()}
