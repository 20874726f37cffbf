"""Adam as in section 5.3, and Muon beside it, with a state that is plain named tensors: it is saved without pickle."""

from collections.abc import Collection, Iterable, Mapping
from typing import Literal, NamedTuple, Protocol, final, runtime_checkable

import torch
from torch import nn
from torch.optim.adam import adam

from transduce.errors import CheckpointError
from transduce.nn.transformer import Transformer
from transduce.shapes import Float, Tensor

OptimizerName = Literal["adam", "muon"]


@runtime_checkable  # so that tests can check annotations at run time
class Optimizer(Protocol):
    """Changes the parameters that it was made with."""

    def step(self, rate: float) -> None:
        """One update from the parameters' gradients, at this learning rate."""
        ...


@runtime_checkable
class Resumable(Optimizer, Protocol):
    """An optimizer of which a checkpoint can be made."""

    def moments(self) -> dict[str, Tensor]:
        """What it remembers from step to step, by name; empty before the first step."""
        ...

    def restore(self, saved: Mapping[str, Tensor], step: int) -> None:
        """Put back what `moments` gave after `step` updates. Raises `CheckpointError` when it is of another model."""
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
    Parameters named in `without` are somebody else's; `weight_decay` is as in `decay`.
    """

    def __init__(self, model: nn.Module, weight_decay: float = 0.0, without: Collection[str] = ()) -> None:
        self._weight_decay = weight_decay
        self._parameters = {name: p for name, p in model.named_parameters() if name not in without}
        self._moments: dict[str, Moments] = {}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update of every parameter that has a gradient."""
        gradients = {name: p.grad for name, p in self._parameters.items() if p.grad is not None}
        for name in gradients.keys() - self._moments.keys():
            p = self._parameters[name]
            steps = torch.zeros((), device=p.device)
            self._moments[name] = Moments(torch.zeros_like(p), torch.zeros_like(p), steps)
        decay((self._parameters[name] for name in gradients), rate * self._weight_decay)
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
        for name, p in self._parameters.items():
            first, second = (_saved(saved, moment, name, p) for moment in MOMENTS)
            self._moments[name] = Moments(first, second, torch.tensor(float(step), device=p.device))


MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of x, x^3 and x^5
ITERATIONS = 5
LIKE_ADAM = 0.2  # the root mean square of an update of Adam's, about
TOGETHER = 1 << 22  # numbers in matrices of a shape that go through the iteration at once: small ones are mostly calls


@final
class Muon:
    """For `matrices`, the nearest (semi-)orthogonal matrix to a momentum of their gradients; Adam for the rest.

    Jordan et al. 2024 (Muon: an optimizer for hidden layers). All directions of a matrix are learned at the same pace,
    where a gradient has a few that are large. Times 0.2 sqrt(the longer side) (Liu et al. 2025), an update is as large
    as Adam's, so that one rate is for both. `matrices` are names of parameters of two dimensions; `weight_decay` is as
    in `decay`, and for all.

    Differs: the paper trains with Adam, which is the default.
    """

    def __init__(self, model: nn.Module, matrices: Collection[str], weight_decay: float = 0.0) -> None:
        self._weight_decay = weight_decay
        self._rest = Adam(model, weight_decay, without=matrices)
        self._matrices = {name: p for name, p in model.named_parameters() if name in matrices}
        self._momenta: dict[str, Tensor] = {}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update of every parameter that has a gradient."""
        alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}  # matrices of a shape, and where each is heading
        for name, p in self._matrices.items():
            if p.grad is not None:
                if name not in self._momenta:
                    self._momenta[name] = torch.zeros_like(p)
                momentum = self._momenta[name].lerp_(p.grad, 1 - MOMENTUM)
                alike.setdefault(p.shape, []).append((p, p.grad.lerp(momentum, MOMENTUM)))  # Nesterov's
        for shape, each in alike.items():
            decay((p for p, _ in each), rate * self._weight_decay)
            n, size = max(1, TOGETHER // shape.numel()), -rate * LIKE_ADAM * max(shape) ** 0.5
            for some in (each[i : i + n] for i in range(0, len(each), n)):
                updates = orthogonalise(torch.stack([ahead for _, ahead in some]))
                for (parameter, _), update in zip(some, updates, strict=True):
                    parameter.add_(update, alpha=size)
        self._rest.step(rate)

    def moments(self) -> dict[str, Tensor]:
        """The momentum of every matrix, as `momentum.NAME`, and what Adam has of the rest."""
        return {f"momentum.{name}": value for name, value in self._momenta.items()} | self._rest.moments()

    def restore(self, saved: Mapping[str, Tensor], step: int) -> None:
        """Put back what `moments` gave after `step` updates.

        Raises:
            CheckpointError: a tensor is missing or has another shape.
        """
        self._rest.restore(saved, step)
        if step > 0:
            self._momenta = {name: _saved(saved, "momentum", name, p) for name, p in self._matrices.items()}


def orthogonalise(matrices: Float[Tensor, "N R C"]) -> Float[Tensor, "N R C"]:
    """Each matrix with its singular values brought to about 1 (0.7 to 1.2), whatever they were, unless they are 0.

    A Newton-Schulz iteration, x <- a x + b (x x^T) x + c (x x^T)^2 x (Jordan et al. 2024), from products alone.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalise(matrices.mT).mT
    a, b, c = NEWTON_SCHULZ
    tiny = torch.finfo(matrices.dtype).tiny
    x: Tensor = matrices / matrices.abs().amax((1, 2), keepdim=True).clamp(min=tiny)  # squares of tiny numbers are 0
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=tiny)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x


def decay(parameters: Iterable[Tensor], by: float) -> None:
    """Take the matrices among these (embeddings are matrices; gains, biases are not) times 1 - `by`, in place.

    Decoupled weight decay (Loshchilov and Hutter 2019): not by way of the gradient, which Adam would scale.

    Differs: the paper has none, and `training.weight_decay` is 0 unless it is set.
    """
    if by > 0:
        for p in parameters:
            if p.ndim > 1:
                p.mul_(1 - by)


def build_optimizer(name: OptimizerName, model: Transformer, weight_decay: float = 0.0) -> Resumable:
    """The optimizer of that name. Muon's matrices are those of the layers, not embeddings or the output's."""
    match name:
        case "adam":
            return Adam(model, weight_decay)
        case "muon":
            layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) and m is not model.output}
            return Muon(model, [f"{n}.weight" for n in layers], weight_decay)


def _saved(saved: Mapping[str, Tensor], moment: str, name: str, parameter: Tensor) -> Tensor:
    value = saved.get(f"{moment}.{name}")
    if value is None or value.shape != parameter.shape:
        raise CheckpointError(
            f"The optimizer's {moment} of {name} is missing or has another shape: the checkpoint is of another model. "
            "Start over with --fresh."
        )
    return value.to(parameter.device).clone()
