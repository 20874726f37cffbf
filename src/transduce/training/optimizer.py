"""Adam as in section 5.3, with a state that is plain named tensors, so that it can be saved without pickle."""

from collections.abc import Mapping

import torch
from torch import nn

from transduce.errors import CheckpointError
from transduce.shapes import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq")


def adam(model: nn.Module) -> torch.optim.Adam:
    """beta1 = 0.9, beta2 = 0.98, eps = 1e-9, every parameter updated in one fused kernel. The rate is set each step."""
    return torch.optim.Adam(model.parameters(), lr=0.0, betas=(0.9, 0.98), eps=1e-9, fused=True)


def moments(model: nn.Module, optimizer: torch.optim.Adam) -> dict[str, Tensor]:
    """Both moments of every parameter, as `exp_avg.NAME` and `exp_avg_sq.NAME`; empty before the first step."""
    return {
        f"{moment}.{name}": optimizer.state[parameter][moment]
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
        for moment in MOMENTS
    }


def restore_moments(model: nn.Module, optimizer: torch.optim.Adam, saved: Mapping[str, Tensor], step: int) -> None:
    """Put back what `moments` gave after `step` updates.

    Raises:
        CheckpointError: a tensor is missing or has another shape.
    """
    if step == 0:
        return
    for name, parameter in model.named_parameters():
        state: dict[str, Tensor] = {"step": torch.tensor(float(step), device=parameter.device)}
        for moment in MOMENTS:
            value = saved.get(f"{moment}.{name}")
            if value is None or value.shape != parameter.shape:
                raise CheckpointError(
                    f"The optimizer's {moment} of {name} is missing or has another shape: the checkpoint is of "
                    f"another model. Start over with --fresh."
                )
            state[moment] = value.to(parameter.device).clone()
        optimizer.state[parameter] = state
