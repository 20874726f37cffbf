"""Reductions over the vocabulary: all that a search does with N x V numbers, and so most of what it costs.

Two things make the plain calls slow on a processor. `torch.topk` moves each row into (value, index) pairs first, and
`exp` of widely spread logits ends in denormal numbers, which take many times longer; `softmax` has an exponential of
its own that flushes them. And no N x V log-softmax is needed: the best pieces by logit are the best by log-probability,
and one number per row turns the one into the other.
"""

import math

import torch

from transduce.shapes import Float, Int, Tensor

_GROUP = 64  # neighbouring pieces of which `top_k` first looks at the largest only
_CHUNK_CPU = 2**18  # logits taken at once, 1 MB in float32: the passes over them then stay in the cache
_CHUNK_OTHER = 2**26  # elsewhere only memory bounds it
_FEW = 2**16  # up to so many logits in all, the plain calls are faster: every operator costs some microseconds


def log_normaliser(logits: Float[Tensor, "N V"]) -> Float[Tensor, " N"]:
    """log(sum(exp(logits))) of each row, in float32: what to subtract from a logit for its log-probability.

    Never below the row's largest logit, rounding included, so no log-probability comes out above 0. The beam's early
    termination builds on that.
    """
    p = torch.softmax(logits, -1, dtype=torch.float32)
    return _log_normaliser(logits.amax(-1).float(), p, p.amax(-1))


def _log_normaliser(
    largest: Float[Tensor, " N"], p: Float[Tensor, "N V"], most: Float[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """From the largest logit, the softmax and the largest probability of each row. Over tens of thousands of pieces
    softmax divides by a sum that is wrong by some 1e-5 of itself; what it gives sums to the right one over that."""
    return largest + (p.sum(-1) / most).log()


def top_k(values: Float[Tensor, "N V"], k: int) -> tuple[Float[Tensor, "N k"], Int[Tensor, "N k"]]:
    """`torch.topk(values, k)` over the last axis, faster for long rows: descending values, and their indices."""
    indices = _best(values, _group_maxima(values), torch.zeros(len(values), 1, device=values.device), k)
    return values.gather(1, indices), indices


def best_continuations(
    logits: Float[Tensor, "N V"], before: Float[Tensor, "B W"], k: int, forbidden: Int[Tensor, " X"]
) -> tuple[Float[Tensor, "B k"], Int[Tensor, "B k"], Int[Tensor, "B k"], Float[Tensor, " N"]]:
    """The `k` best continuations of every sentence, best first: log-probabilities of the whole prefixes, which of its W
    prefixes each one continues, and with which piece; and the `log_normaliser` of every row of logits.

    `before` are the log-probabilities of the prefixes, in the type that they are summed in. Forbidden pieces are left
    out *after* normalising, so what remains keeps its true probability; where fewer than k continuations are possible
    the rest has -inf. `logits` is left as it was.
    """
    (b, w), v, logits = before.shape, logits.shape[1], logits.contiguous()
    few = logits.numel() <= _FEW or v < _GROUP
    maxima, normaliser = (logits[:, :0], log_normaliser(logits)) if few else _reduced(logits)
    kept = logits[:, forbidden]
    logits.index_fill_(-1, forbidden, -math.inf)
    if not few:
        whole = maxima.shape[1] * _GROUP
        changed = torch.unique_consecutive(forbidden[forbidden < whole] // _GROUP)
        maxima[:, changed] = logits[:, :whole].view(b * w, -1, _GROUP)[:, changed].amax(-1).float()
    lead = before.amax(1, keepdim=True).clamp(min=-1e30)  # without it, float32 would compare thousandths at -10,000
    found = _best(logits, maxima, (before - lead - normaliser.view(b, w)).float(), k)
    parents = found // v
    own = logits.view(b, w * v).gather(1, found).float() - normaliser.view(b, w).gather(1, parents)  # never above 0
    logits[:, forbidden] = kept
    log_probs, order = (before.gather(1, parents) + own).sort(dim=1, descending=True, stable=True)
    return log_probs, parents.gather(1, order), (found % v).gather(1, order), normaliser


def _reduced(logits: Float[Tensor, "N V"]) -> tuple[Float[Tensor, "N G"], Float[Tensor, " N"]]:
    """The largest logit of each whole group, and the `log_normaliser` of each row, in one walk through the logits."""
    chunk = _CHUNK_CPU if logits.device.type == "cpu" else _CHUNK_OTHER
    maxima, normalisers = [], []
    for rows in torch.split(logits, max(1, chunk // logits.shape[1])):
        wide = rows.float()
        maxima.append(_group_maxima(wide))
        best = maxima[-1].argmax(-1)
        largest = _largest(wide, best)
        p = torch.softmax(wide, -1, out=None if wide is rows else wide)
        normalisers.append(_log_normaliser(largest, p, _largest(p, best)))
    return torch.cat(maxima), torch.cat(normalisers)


def _largest(values: Float[Tensor, "N V"], group: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """The largest value of each row, which lies in the given group or after the last whole one."""
    n, v = values.shape
    whole = v // _GROUP * _GROUP
    in_group = values[:, :whole].view(n, -1, _GROUP)[torch.arange(n, device=values.device), group]
    return torch.cat([in_group, values[:, whole:]], dim=1).amax(-1)


def _group_maxima(values: Float[Tensor, "N V"]) -> Float[Tensor, "N G"]:
    """The largest value of each whole group."""
    groups = values.shape[1] // _GROUP
    return values[:, : groups * _GROUP].view(values.shape[0], groups, _GROUP).amax(-1)  # N (G 64) -> N G


def _best(
    values: Float[Tensor, "N V"], maxima: Float[Tensor, "N G"], added: Float[Tensor, "B W"], k: int
) -> Int[Tensor, "B k"]:
    """Where the `k` largest of every W rows are, best first, as numbers into W V; to each row its `added` is added.

    They lie in the k groups with the largest maxima, so only those groups are searched.
    """
    (b, w), v, groups = added.shape, values.shape[1], maxima.shape[1]
    more = added.flatten()[:, None]  # B W -> (B W) 1
    if w * groups <= 2 * k:
        return (values + more).view(b, w * v).topk(k, dim=-1).indices
    grouped = values[:, : groups * _GROUP].view(-1, groups, _GROUP)  # N (G 64) -> N G 64
    best = (maxima + more).view(b, w * groups).topk(k, dim=-1, sorted=False).indices
    row, group = best // groups, best % groups
    numbers = row + w * torch.arange(b, device=values.device)[:, None]
    shortlist = (grouped[numbers, group] + more[numbers]).flatten(1)  # B k 64 -> B (k 64)
    rest = values[:, groups * _GROUP :]
    where = torch.cat([shortlist, (rest + more).view(b, -1)], dim=-1).topk(k, dim=-1).indices
    which = (where // _GROUP).clamp_(max=k - 1)
    in_group = row.gather(1, which) * v + group.gather(1, which) * _GROUP + where % _GROUP
    beyond, width = where - k * _GROUP, max(1, rest.shape[1])
    in_rest = beyond // width * v + groups * _GROUP + beyond % width
    return torch.where(where < k * _GROUP, in_group, in_rest)
