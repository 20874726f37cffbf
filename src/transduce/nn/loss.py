"""The training loss: label-smoothed cross entropy (section 5.4), as a sum and a count."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from transduce.shapes import Float, Int, Tensor

CHUNK = 512  # rows of logits held at a time


def label_smoothed_nll(
    states: Float[Tensor, "B T D"],
    output_weight: Float[Tensor, "V D"],
    target_out: Int[Tensor, "B T"],
    eps_ls: float,
    pad: int,
) -> tuple[Float[Tensor, ""], int]:
    """Sum over the pieces of -[(1 - eps) log p(piece) + eps mean_v log p(v)], and how many pieces there were.

    Padding counts for nothing. With eps_ls = 0 the sum is the negative log-likelihood. Never holds all logits: they
    are made `CHUNK` rows at a time, and the gradient with them (`reference_nll` is the readable version).
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
        w = weight.to(dtype)
        needs_rows, needs_weight = ctx.needs_input_grad[:2]
        grad_rows = torch.empty_like(rows) if needs_rows else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        wide = torch.float32 if rows.device.type == "mps" else torch.float64  # Apple's devices have no float64
        total = torch.zeros((), dtype=wide, device=rows.device)
        logits = torch.empty(min(CHUNK, len(rows)), len(w), dtype=dtype, device=rows.device)
        with torch.autocast(rows.device.type, enabled=False):
            for first in range(0, len(rows), CHUNK):
                x, y = rows[first : first + CHUNK].to(dtype), targets[first : first + CHUNK, None]
                z = torch.mm(x, w.T, out=logits[: len(x)])
                zf = z.float()
                g = zf.softmax(-1)
                top, where = zf.max(-1, keepdim=True)
                log_z = top - g.gather(1, where).log_()  # exp(z - max) underflows slowly: softmax alone flushes
                right, mean = zf.gather(1, y) - log_z, zf.mean(-1, keepdim=True) - log_z
                total -= ((1 - eps_ls) * right + eps_ls * mean).sum(dtype=wide)
                if grad_rows is None and grad_weight is None:
                    continue
                # d(loss)/d(logits) = p - eps/V - (1 - eps) [v = y]
                g.sub_(eps_ls / len(w)).scatter_add_(1, y, torch.full_like(right, eps_ls - 1))
                g = g.to(dtype)
                if grad_rows is not None:
                    grad_rows[first : first + CHUNK] = g @ w
                if grad_weight is not None:
                    grad_weight.addmm_(g.T.float() if dtype != torch.float32 else g.T, x.float())
        ctx.save_for_backward(grad_rows, grad_weight)
        return total.float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad_rows, grad_weight = ctx.saved_tensors
        scale = grads[0]
        rows = None if grad_rows is None else grad_rows * scale
        return rows, None if grad_weight is None else grad_weight * scale, None, None
