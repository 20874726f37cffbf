"""The training loss: label-smoothed cross entropy (section 5.4), as a sum and a count; and that of R-Drop."""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from transduce.shapes import Float, Int, Tensor

LOGITS = 1 << 24  # numbers held at a time: 32 MB in bf16
PRODUCT = 1 << 21  # of a weight's gradient at a time: 8 MB in float32
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
    return _fused_nll(rows, output_weight, targets, eps_ls, 0.0), len(real)


def r_drop_nll(
    states: Float[Tensor, "B2 T D"],
    output_weight: Float[Tensor, "V D"],
    target_out: Int[Tensor, "B T"],
    eps_ls: float,
    pad: int,
    alpha: float,
) -> tuple[Float[Tensor, ""], int]:
    """R-Drop (Liang et al., 2021): the loss of two passes over the same targets, and how far they are from each other.

    `states` are those of the first pass, then those of the second, whose dropout was another one. With p and q for
    what they predict, the sum over the pieces of (nll_p + nll_q) / 2 + alpha / 4 (KL(p || q) + KL(q || p)): half of
    their equations 2 to 4, so that it stays a loss for each piece. For `alpha` above 0.

    Differs: the paper has one pass. `training.r_drop`, which is alpha, is 0 by default.
    """
    real = target_out.ne(pad).flatten().nonzero().squeeze(1)
    both = torch.stack((real, real + target_out.numel()), 1).flatten()  # rows of a piece stand side by side
    rows, targets = states.flatten(0, 1).index_select(0, both), target_out.flatten().index_select(0, real)
    return _fused_nll(rows, output_weight, targets.repeat_interleave(2), eps_ls, alpha), len(real)


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


def reference_r_drop(
    states: Float[Tensor, "B2 T D"],
    output_weight: Float[Tensor, "V D"],
    target_out: Int[Tensor, "B T"],
    eps_ls: float,
    pad: int,
    alpha: float,
) -> tuple[Float[Tensor, ""], int]:
    """What `r_drop_nll` computes, written as the formula: the reference it is tested against."""
    real = target_out.ne(pad)
    passes = states.chunk(2)
    nll = [reference_nll(one, output_weight, target_out, eps_ls, pad)[0] for one in passes]
    log_p, log_q = ((one[real] @ output_weight.T).float().log_softmax(-1) for one in passes)
    divergence = log_p.exp() * (log_p - log_q) + log_q.exp() * (log_q - log_p)
    return sum(nll) / 2 + alpha / 4 * divergence.sum(), int(real.sum())


def _fused_nll(rows: Tensor, weight: Tensor, targets: Tensor, eps_ls: float, alpha: float) -> Tensor:
    apply: Callable[..., Tensor] = _FusedNll.apply  # PyTorch gives it no type
    if not torch.is_grad_enabled():  # the function is not told, and would make the gradients
        rows, weight = rows.detach(), weight.detach()
    return apply(rows, weight, targets, eps_ls, alpha)


class _FusedNll(torch.autograd.Function):
    """The gradient of a sum of cross entropies is known with the probabilities, so forward computes it at once.

    The part of label smoothing that is the same for all pieces needs no pass over the logits: the mean logit of a row
    is its product with the mean row of the weight. With `alpha` above 0, every two rows are R-Drop's passes over one
    piece, and count half each.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, targets: Tensor, eps_ls: float, alpha: float) -> Tensor:
        autocast = torch.is_autocast_enabled(rows.device.type)
        dtype = torch.get_autocast_dtype(rows.device.type) if autocast else rows.dtype
        x, w = rows.to(dtype), weight.to(dtype)
        needs_rows, needs_weight = ctx.needs_input_grad[:2]
        grad_rows = torch.empty_like(rows) if needs_rows else None
        at_least_float32 = torch.promote_types(weight.dtype, torch.float32)
        grad_weight = torch.zeros_like(weight, dtype=at_least_float32) if needs_weight else None
        together = 1 if alpha == 0 else 2
        uniform, every = eps_ls / together * weight.mean(0), x.sum(0, dtype=weight.dtype)
        sums = [-(uniform * every).sum(0, keepdim=True)]
        chunk, block = (max(1, numbers // len(w) // together) * together for numbers in (LOGITS, WIDE))
        logits = torch.empty(min(chunk, len(x)), len(w), dtype=dtype, device=rows.device)
        with torch.autocast(rows.device.type, enabled=False):
            for first in range(0, len(x), chunk):
                part = slice(first, first + chunk)
                z = torch.mm(x[part], w.T, out=logits[: len(x[part])])
                blocks = (torch.split(t, block) for t in (z, x[part], targets[part]))
                for z_b, x_b, y_b in zip(*blocks, strict=True):
                    sums.append(_to_gradient_(z_b, x_b, y_b, w, eps_ls, alpha))
                if grad_rows is not None:
                    grad_rows[part] = z @ w
                if grad_weight is not None:  # by pieces of the vocabulary: a product, and its copy in float32, at once
                    pieces = max(1, PRODUCT // rows.shape[1])
                    for total, z_v in zip(torch.split(grad_weight, pieces), torch.split(z, pieces, 1), strict=True):
                        total += z_v.T @ x[part]
        for gradient in (grad_rows, grad_weight):
            if gradient is not None and alpha > 0:
                gradient *= -alpha / 4
        if grad_rows is not None:
            grad_rows -= uniform
        if grad_weight is not None:
            grad_weight -= every * (eps_ls / together / len(w))
        ctx.gradients = grad_rows, grad_weight
        wide = torch.float32 if rows.device.type == "mps" else torch.float64  # Apple's devices have no float64
        return torch.cat(sums).sum(dtype=wide).to(torch.promote_types(rows.dtype, torch.float32))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        if ctx.gradients is None:
            raise RuntimeError("this loss was differentiated before, and its gradients are gone")
        grad_rows, grad_weight = (None if g is None else g.mul_(grads[0]) for g in ctx.gradients)
        ctx.gradients = None  # the weight's is as large as the embeddings: only one is held
        return grad_rows, grad_weight, None, None, None


def _to_gradient_(
    z: Float[Tensor, "N V"],
    x: Float[Tensor, "N D"],
    targets: Int[Tensor, " N"],
    w: Float[Tensor, "V D"],
    eps_ls: float,
    alpha: float,
) -> Float[Tensor, " M"]:
    """Losses that sum to that of these rows of logits z = x w^T; `z` itself becomes the gradient of their sum, with
    R-Drop divided by -alpha / 4.

    Both without what label smoothing adds for every piece alike. Without R-Drop the gradient is p - (1 - eps) [v = y].
    The normaliser follows from the probability of the right piece, where that is not too small to be exact; else from
    the largest. (exp(z - max) underflows slowly, softmax alone flushes, and a maximum costs a third of a softmax.)
    """
    y = targets[:, None]
    wide = z if z.dtype in (torch.float32, torch.float64) else z.float()
    right = wide.gather(1, y)
    p = torch.softmax(wide, -1, out=wide) if alpha == 0 else wide.softmax(-1)
    log_z = right - p.gather(1, y).log_()
    far = (log_z - right > FAR).nonzero()[:, 0]
    if len(far):
        top, piece = p.index_select(0, far).max(-1)
        log_z[far, 0] = (x[far].to(p.dtype) * w[piece]).sum(-1) - top.log_()
    losses, hit = (log_z - (1 - eps_ls) * right).squeeze(1), torch.full_like(right, eps_ls - 1)
    if alpha > 0:
        losses = losses.view(-1, 2).mean(1) + alpha / 4 * _divergence_to_gradient_(wide, p, alpha)
        hit *= -2 / alpha
    wide.scatter_add_(1, y, hit)
    if wide is not z:
        z.copy_(wide)
    return losses


def _divergence_to_gradient_(z: Float[Tensor, "N V"], p: Float[Tensor, "N V"], alpha: float) -> Float[Tensor, " M"]:
    """KL(p || q) + KL(q || p) of rows p and q that stand side by side, the softmaxes of z; which becomes the gradient.

    By the logits of p, the loss's is p / 2 + alpha / 4 (p (log p - log q - KL(p || q)) + p - q). With d for the
    difference of the logits, log p - log q and the divergences are d and its means without the same constant, so the
    gradient is alpha / 4 times p (d - E_p[d] + 1 + 2 / alpha) - q. What `z` becomes is this divided by -alpha / 4,
    which takes one operation on three matrices.
    """
    (z_p, z_q), (first, second) = (x.view(-1, 2, x.shape[1]).unbind(1) for x in (z, p))
    d, one = z_p - z_q, 1 + 2 / alpha
    by_first, by_second = (torch.mul(x, d, out=z_p).sum(-1, keepdim=True) for x in (first, second))
    torch.addcmul(second, first, torch.add(d, one - by_first, out=z_p), value=-1, out=z_p)
    torch.addcmul(first, second, torch.sub(by_second + one, d, out=z_q), value=-1, out=z_q)
    return (by_first - by_second).squeeze(1)
