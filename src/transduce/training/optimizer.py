"""Adam as in section 5.3, with a state that is plain named tensors, so that it can be saved without pickle."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, final, runtime_checkable

import torch
from torch import nn
from torch.optim.adam import adam

from transduce.errors import CheckpointError
from transduce.shapes import Tensor


@runtime_checkable  # so that tests can check annotations at run time
class Optimizer(Protocol):
    """Changes the parameters that it was made with."""

    def step(self, rate: float) -> None:
        """One update from the parameters' gradients, at this learning rate."""
        ...


class Moments(NamedTuple):
    """Of one parameter: the running means of its gradient and of its square, and how many updates they have seen."""

    exp_avg: Tensor
    exp_avg_sq: Tensor
    steps: Tensor


MOMENTS = ("exp_avg", "exp_avg_sq")


@final
class Adam:
    """beta1 = 0.9, beta2 = 0.98, eps = 1e-9, every parameter updated in one fused kernel.

    It calls PyTorch's function: the class of the same name imports PyTorch's compiler, a second of every start.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters = dict(model.named_parameters())
        self._moments: dict[str, Moments] = {}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update of every parameter that has a gradient."""
        gradients = {name: p.grad for name, p in self._parameters.items() if p.grad is not None}
        for name in gradients.keys() - self._moments.keys():
            p = self._parameters[name]
            steps = torch.zeros((), device=p.device)
            self._moments[name] = Moments(torch.zeros_like(p), torch.zeros_like(p), steps)
        state = [self._moments[name] for name in gradients]
        adam(
            [self._parameters[name] for name in gradients],
            list(gradients.values()),
            [s.exp_avg for s in state],
            [s.exp_avg_sq for s in state],
            [],
            [s.steps for s in state],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.98,
            lr=rate,
            weight_decay=0.0,
            eps=1e-9,
            maximize=False,
        )

    def moments(self) -> dict[str, Tensor]:
        """Both moments of every parameter, as `exp_avg.NAME` and `exp_avg_sq.NAME`; empty before the first step."""
        found = ((name, self._moments[name]) for name in self._parameters if name in self._moments)
        return {f"{moment}.{name}": getattr(state, moment) for name, state in found for moment in MOMENTS}

    def restore(self, saved: Mapping[str, Tensor], step: int) -> None:
        """Put back what `moments` gave after `step` updates.

        Raises:
            CheckpointError: a tensor is missing or has another shape.
        """
        if step == 0:
            return
        for name, parameter in self._parameters.items():
            values = []
            for moment in MOMENTS:
                value = saved.get(f"{moment}.{name}")
                if value is None or value.shape != parameter.shape:
                    raise CheckpointError(
                        f"The optimizer's {moment} of {name} is missing or has another shape: the checkpoint is of "
                        f"another model. Start over with --fresh."
                    )
                values.append(value.to(parameter.device).clone())
            steps = torch.tensor(float(step), device=parameter.device)
            self._moments[name] = Moments(values[0], values[1], steps)
