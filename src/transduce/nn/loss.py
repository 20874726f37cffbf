"""The training loss: label-smoothed cross entropy (section 5.4), as a sum and a count."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from transduce.shapes import Float, Int, Tensor

LOGITS = 1 << 25  # numbers held at a time: 64 MB in bf16
WIDE = 1 << 20  # of them in float32 at a time: what a cache holds


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
    """The gradient of a sum of cross entropies is known with the probabilities, so forward computes it at once."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, targets: Tensor, eps_ls: float) -> Tensor:
        autocast = torch.is_autocast_enabled(rows.device.type)
        dtype = torch.get_autocast_dtype(rows.device.type) if autocast else rows.dtype
        x, w = rows.to(dtype), weight.to(dtype)
        needs_rows, needs_weight = ctx.needs_input_grad[:2]
        grad_rows = torch.empty_like(rows) if needs_rows else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        sums = [rows.new_zeros(1)]
        chunk, block = max(1, LOGITS // len(w)), max(1, WIDE // len(w))
        logits = torch.empty(min(chunk, len(x)), len(w), dtype=dtype, device=rows.device)
        with torch.autocast(rows.device.type, enabled=False):
            for first in range(0, len(x), chunk):
                part = slice(first, first + chunk)
                z = torch.mm(x[part], w.T, out=logits[: len(x[part])])
                for z_b, y_b in zip(torch.split(z, block), torch.split(targets[part], block), strict=True):
                    sums.append(_to_gradient_(z_b, y_b[:, None], eps_ls))
                if grad_rows is not None:
                    grad_rows[part] = z @ w
                if grad_weight is not None:
                    grad_weight += z.T @ x[part]
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


def _to_gradient_(z: Float[Tensor, "N V"], y: Int[Tensor, "N 1"], eps_ls: float) -> Float[Tensor, " N"]:
    """The loss of each row of logits; `z` itself becomes d(loss)/d(z) = p - eps/V - (1 - eps) [v = y]."""
    wide = z.float() if z.dtype != torch.float64 else z
    p = wide.softmax(-1)
    # exp(z - max) underflows slowly: softmax alone flushes, and its largest entry gives the normaliser
    log_z = wide.amax(-1, keepdim=True) - p.amax(-1, keepdim=True).log_()
    right, mean = wide.gather(1, y) - log_z, wide.mean(-1, keepdim=True) - log_z
    p.sub_(eps_ls / z.shape[1]).scatter_add_(1, y, torch.full_like(right, eps_ls - 1))
    z.copy_(p)
    return -((1 - eps_ls) * right + eps_ls * mean).squeeze(1)
