"""The training loss: label-smoothed cross entropy (section 5.4), as a sum and a count."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from transduce.shapes import Float, Int, Tensor

LOGITS = 1 << 25  # numbers held at a time: 64 MB in bf16
WIDE = 1 << 20  # of them in float32 at a time: what a cache holds
FAR = 64.0  # nats: a probability of e^-64 is not near float32's denormals yet, e^-88 would be


def label_smoothed_nll(
    states: Float[Tensor, "B T D"],
    output_weight: Float[Tensor, "V D"],
    target_out: Int[Tensor, "B T"],
    eps_ls: float,
    pad: int,
) -> tuple[Float[Tensor, ""], int]:
    """Sum over the pieces of -[(1 - eps) log p(piece) + eps mean_v log p(v)], and how many pieces there were.

    Padding counts for nothing. With eps_ls = 0 the sum is the negative log-likelihood. Never holds all logits: they
    are made `LOGITS` at a time, and the gradient in their place (`reference_nll` is the readable version).
    """
    real = target_out.ne(pad).flatten().nonzero().squeeze(1)
    rows, targets = states.flatten(0, 1).index_select(0, real), target_out.flatten().index_select(0, real)
    loss = _FusedNll.apply(rows, output_weight, targets, eps_ls)  # type: ignore[no-untyped-call]
    return loss, len(real)


def reference_nll(
    states: Float[Tensor, "B T D"],
    output_weight: Float[Tensor, "V D"],
    target_out: Int[Tensor, "B T"],
    eps_ls: float,
    pad: int,
) -> tuple[Float[Tensor, ""], int]:
    """What `label_smoothed_nll` computes, written as the formula: the reference it is tested against."""
    real = target_out.ne(pad)
    log_p = (states[real] @ output_weight.T).float().log_softmax(-1)
    right = log_p.gather(1, target_out[real][:, None]).sum()
    return -((1 - eps_ls) * right + eps_ls * log_p.mean(-1).sum()), int(real.sum())


class _FusedNll(torch.autograd.Function):
    """The gradient of a sum of cross entropies is known with the probabilities, so forward computes it at once.

    The part of label smoothing that is the same for all pieces needs no pass over the logits: the mean logit of a row
    is its product with the mean row of the weight.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, targets: Tensor, eps_ls: float) -> Tensor:
        autocast = torch.is_autocast_enabled(rows.device.type)
        dtype = torch.get_autocast_dtype(rows.device.type) if autocast else rows.dtype
        x, w = rows.to(dtype), weight.to(dtype)
        needs_rows, needs_weight = ctx.needs_input_grad[:2]
        grad_rows = torch.empty_like(rows) if needs_rows else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        uniform, every = eps_ls * weight.mean(0), x.sum(0, dtype=weight.dtype)
        sums = [-(uniform * every).sum(0, keepdim=True)]
        chunk, block = max(1, LOGITS // len(w)), max(1, WIDE // len(w))
        logits = torch.empty(min(chunk, len(x)), len(w), dtype=dtype, device=rows.device)
        with torch.autocast(rows.device.type, enabled=False):
            for first in range(0, len(x), chunk):
                part = slice(first, first + chunk)
                z = torch.mm(x[part], w.T, out=logits[: len(x[part])])
                blocks = (torch.split(t, block) for t in (z, x[part], targets[part]))
                sums += [
                    _to_gradient_(z_b, x_b, w, y_b[:, None], eps_ls) for z_b, x_b, y_b in zip(*blocks, strict=True)
                ]
                if grad_rows is not None:
                    grad_rows[part] = z @ w
                if grad_weight is not None:
                    grad_weight += z.T @ x[part]
        if grad_rows is not None:
            grad_rows -= uniform
        if grad_weight is not None:
            grad_weight -= every * (eps_ls / len(w))
        ctx.save_for_backward(grad_rows, grad_weight)
        wide = torch.float32 if rows.device.type == "mps" else torch.float64  # Apple's devices have no float64
        return torch.cat(sums).sum(dtype=wide).float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad_rows, grad_weight = ctx.saved_tensors
        scale = grads[0]
        rows = None if grad_rows is None else grad_rows * scale
        return rows, None if grad_weight is None else grad_weight * scale, None, None


def _to_gradient_(
    z: Float[Tensor, "N V"], x: Float[Tensor, "N D"], w: Float[Tensor, "V D"], y: Int[Tensor, "N 1"], eps_ls: float
) -> Float[Tensor, " N"]:
    """Of each row of logits z = x w^T: the loss without its part -eps mean_v z; `z` becomes p - (1 - eps) [v = y].

    The normaliser follows from the probability of the right piece, where that is not too small to be exact; else from
    the largest. (exp(z - max) underflows slowly, softmax alone flushes, and a maximum costs a third of a softmax.)
    """
    right = z.gather(1, y).float() if z.dtype != torch.float64 else z.gather(1, y)
    p = torch.softmax(z, -1, out=z) if z.dtype in (torch.float32, torch.float64) else z.float().softmax(-1)
    log_z = right - p.gather(1, y).log_()
    far = (log_z - right > FAR).nonzero()[:, 0]
    if len(far):
        top, piece = p.index_select(0, far).max(-1)
        log_z[far, 0] = (x[far].to(p.dtype) * w[piece]).sum(-1) - top.log_()
    p.scatter_add_(1, y, torch.full_like(right, eps_ls - 1))
    if p is not z:
        z.copy_(p)
    return (log_z - (1 - eps_ls) * right).squeeze(1)
