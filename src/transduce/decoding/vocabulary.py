"""Reductions over the vocabulary: all that a search does with N x V numbers, and so most of what it costs.

Two things make the plain calls slow on a processor. `torch.topk` moves each row into (value, index) pairs first, and
`exp` of widely spread logits ends in denormal numbers, which take many times longer. And no N x V log-softmax is
needed: the best pieces by logit are the best by log-probability, and one number per row turns the one into the other.
"""

import math

import torch

from transduce.shapes import Float, Int, Tensor

_GROUP = 64  # neighbouring pieces of which `top_k` first looks at the largest only
_CHUNK_CPU = 2**18  # logits taken at once, 1 MB in float32: the passes over them then stay in the cache
_CHUNK_OTHER = 2**26  # elsewhere only memory bounds it
_FEW = 2**16  # up to so many logits in all, the plain calls are faster: every operator costs some microseconds
_FLOOR = -80.0  # e^-80: far from denormal (e^-87), and too little to change any sum that holds a 1


def log_normaliser(logits: Float[Tensor, "N V"]) -> Float[Tensor, " N"]:
    """log(sum(exp(logits))) of each row, in float32: what to subtract from a logit for its log-probability.

    Never below the row's largest logit, rounding included, so no log-probability comes out above 0. The beam's early
    termination builds on that.
    """
    logits = logits.float()
    return _log_normaliser(logits, logits.amax(-1))


def _log_normaliser(logits: Float[Tensor, "N V"], largest: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    terms = (logits - largest[:, None]).clamp_(min=_FLOOR).exp_()  # the largest contributes exactly 1
    return largest + terms.sum(-1).log()


def top_k(values: Float[Tensor, "N V"], k: int) -> tuple[Float[Tensor, "N k"], Int[Tensor, "N k"]]:
    """`torch.topk(values, k)` over the last axis, faster for long rows: values in descending order, and their indices.

    The k largest lie in the k groups with the largest maxima, so only those groups are searched.
    """
    return _top_k(values, _group_maxima(values), k)


def _group_maxima(values: Float[Tensor, "N V"]) -> Float[Tensor, "N G"]:
    """The largest value of each whole group."""
    groups = values.shape[1] // _GROUP
    return values[:, : groups * _GROUP].view(values.shape[0], groups, _GROUP).amax(-1)  # N (G 64) -> N G


def _top_k(
    values: Float[Tensor, "N V"], maxima: Float[Tensor, "N G"], k: int
) -> tuple[Float[Tensor, "N k"], Int[Tensor, "N k"]]:
    n, groups = maxima.shape
    if groups <= 2 * k:
        return values.topk(k, dim=-1)
    grouped = values[:, : groups * _GROUP].view(n, groups, _GROUP)  # N (G 64) -> N G 64
    best = maxima.topk(k, dim=-1, sorted=False).indices
    rows = torch.arange(n, device=values.device)[:, None]
    shortlist = grouped[rows, best].flatten(1)  # N k 64 -> N (k 64)
    rest = values[:, groups * _GROUP :]
    found, where = torch.cat([shortlist, rest], dim=-1).topk(k, dim=-1)
    in_group = best.gather(-1, (where // _GROUP).clamp_(max=k - 1)) * _GROUP + where % _GROUP
    in_rest = where + (groups - k) * _GROUP
    return found, torch.where(where < k * _GROUP, in_group, in_rest)


def best_pieces(
    logits: Float[Tensor, "N V"], k: int, forbidden: Int[Tensor, " X"]
) -> tuple[Float[Tensor, "N k"], Int[Tensor, "N k"], Float[Tensor, " N"]]:
    """Log-probabilities and ids of each row's `k` best pieces, best first, and each row's `log_normaliser`.

    Forbidden pieces are left out *after* normalising, so what remains keeps its true probability; where fewer than k
    pieces are allowed the rest has -inf. `logits` is left as it was.
    """
    if logits.numel() <= _FEW:
        normaliser = log_normaliser(logits)
        best, pieces = logits.index_fill(-1, forbidden, -math.inf).topk(k, dim=-1)
        return best.float() - normaliser[:, None], pieces, normaliser
    chunk = _CHUNK_CPU if logits.device.type == "cpu" else _CHUNK_OTHER
    groups = logits.shape[1] // _GROUP
    maxima, normalisers = [], []
    for rows in torch.split(logits, max(1, chunk // logits.shape[1])):
        maxima.append(_group_maxima(rows))
        largest = torch.cat([maxima[-1], rows[:, groups * _GROUP :]], dim=1).amax(-1)
        normalisers.append(_log_normaliser(rows.float(), largest.float()))
    of_groups, normaliser = torch.cat(maxima), torch.cat(normalisers)
    kept = logits[:, forbidden]
    logits.index_fill_(-1, forbidden, -math.inf)
    changed = torch.unique_consecutive(forbidden[forbidden < groups * _GROUP] // _GROUP)
    of_groups[:, changed] = logits[:, : groups * _GROUP].view(logits.shape[0], groups, _GROUP)[:, changed].amax(-1)
    best, pieces = _top_k(logits, of_groups, k)
    logits[:, forbidden] = kept
    return best.float() - normaliser[:, None], pieces, normaliser
