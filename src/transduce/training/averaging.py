"""Averaging of checkpoints, section 6.1: the base model of the paper is the average of its last 5. And of all steps."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import final

import torch

from transduce.bundle import unique_weights
from transduce.nn.transformer import Transformer
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


@final
class MovingAverage:
    """The mean of a model's weights after every update so far, in which each counts `decay` times what the next does.

    Differs: the paper averages checkpoints, ten minutes apart. `training.ema`, the decay, is 0 (off) by default.
    """

    def __init__(self, model: Transformer, decay: float) -> None:
        self.weights = {name: weight.clone() for name, weight in unique_weights(model).items()}
        self._model = model
        self._decay = decay

    def update(self, step: int) -> None:
        """Take in the weights after update `step`, counted from 1."""
        share = (1 - self._decay) / (1 - self._decay**step)  # 1 at first: what the weights began as does not count
        now = unique_weights(self._model)
        torch._foreach_lerp_(list(self.weights.values()), [now[name] for name in self.weights], share)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Inside, the model has the average for its weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self._model.named_parameters():
            self.weights[name], parameter.data = parameter.data, self.weights[name]
