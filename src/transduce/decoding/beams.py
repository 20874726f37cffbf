"""What beam searches (`beam`, `diverse`) keep of their sentences, as tensors, and how it goes one piece further."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import pad

from transduce.decoding.search import Hypothesis, check_finite, length_penalty, running_sum_dtype
from transduce.shapes import Bool, Float, Int, Tensor

FREE = -1  # in a table of forced pieces: anything may come here


@dataclass(frozen=True, slots=True)
class Candidates:
    """The best continuations of every sentence, best first (but where a piece is forced): which prefix, which piece,
    the log-probability of both."""

    parents: Int[Tensor, "B C"]
    pieces: Int[Tensor, "B C"]
    log_probs: Float[Tensor, "B C"]
    ends: Bool[Tensor, "B C"]


@dataclass(frozen=True, slots=True)
class Beams:
    """The sentences still being decoded: where they come from, and their prefixes (best first)."""

    sources: Int[Tensor, " B"]
    limits: Int[Tensor, " B"]
    usual: Int[Tensor, " B"]
    forced: Int[Tensor, "B L"]  # the one piece that may come at each place; FREE where any may
    ids: Int[Tensor, "B W T"]
    log_probs: Float[Tensor, "B W"]

    def keep(self, sentences: Int[Tensor, " M"]) -> "Beams":
        """Those of these sentences."""
        return Beams(
            self.sources[sentences],
            self.limits[sentences],
            self.usual[sentences],
            self.forced[sentences],
            self.ids[sentences],
            self.log_probs[sentences],
        )

    def advance(self, candidates: Candidates) -> tuple["Beams", Int[Tensor, "B W"]]:
        """Beams whose prefixes are the best W candidates that do not end, and the prefix that each one continues."""
        beam = self.log_probs.shape[1]
        others = candidates.log_probs.masked_fill(candidates.ends, -math.inf)
        log_probs, order = others.sort(dim=1, descending=True, stable=True)
        log_probs, order = log_probs[:, :beam], order[:, :beam]
        parents = candidates.parents.gather(1, order)
        pieces = candidates.pieces.gather(1, order)
        longer = torch.cat([_take(self.ids, parents), pieces[:, :, None]], dim=2)
        return replace(self, ids=longer, log_probs=log_probs), parents


@dataclass(frozen=True, slots=True)
class Finished:
    """The best complete outputs so far, best first; where there are fewer than P, scores are -inf."""

    ids: Int[Tensor, "B P T"]
    lengths: Int[Tensor, "B P"]
    log_probs: Float[Tensor, "B P"]
    scores: Float[Tensor, "B P"]

    def keep(self, sentences: Int[Tensor, " M"]) -> "Finished":
        """Those of these sentences."""
        return Finished(self.ids[sentences], self.lengths[sentences], self.log_probs[sentences], self.scores[sentences])

    def collect(self, beams: Beams, candidates: Candidates, length: int, penalties: Float[Tensor, " L"]) -> "Finished":
        """The best outputs among these and the candidates that end; of equals, the one found first."""
        n_best = self.scores.shape[1]
        log_probs = candidates.log_probs.masked_fill(~candidates.ends, -math.inf)
        scores = torch.cat([self.scores, log_probs / penalties[length + 1]], dim=1)
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        order = order[:, :n_best]
        lengths = torch.cat([self.lengths, torch.full_like(candidates.parents, length)], dim=1)
        prefixes = torch.cat([self.ids, beams.ids], dim=1)  # B (P + W) T: an output is a prefix that ended
        ranks = torch.arange(n_best, device=order.device).expand_as(order)
        origin = torch.cat([ranks, candidates.parents + n_best], dim=1).gather(1, order)
        return Finished(
            ids=pad(_take(prefixes, origin), (0, 1)),  # room for what is one piece longer
            lengths=lengths.gather(1, order),
            log_probs=torch.cat([self.log_probs, log_probs], dim=1).gather(1, order),
            scores=scores[:, :n_best],
        )

    def certain(self, beams: Beams, length: int, penalties: Float[Tensor, " L"]) -> Bool[Tensor, " B"]:
        """Sentences whose P outputs nothing that is waited for can change any more.

        No continuation raises a prefix's log-probability, and none that is waited for has more than n pieces and the
        end symbol, so no such output of a prefix scores above log P / lp(n + 1). Prefixes that could still equal the
        last output lose to it. n is the usual length, and after that the prefixes' own, which is `length` + 1.
        """
        longest = beams.usual.clamp(min=length + 1).minimum(beams.limits)
        bound = beams.log_probs[:, 0] / penalties[longest + 1]
        return (self.scores[:, -1] >= bound) | (beams.limits == length)

    def write(self, sources: Int[Tensor, " B"], found: list[list[Hypothesis]]) -> None:
        """Write the outputs into `found`. Raises TransduceError where a source has none of finite probability."""
        check_finite(self.log_probs[:, 0])
        rows = zip(
            sources.tolist(),
            self.ids.tolist(),
            self.lengths.tolist(),
            self.log_probs.tolist(),
            self.scores.tolist(),
            strict=True,
        )
        for source, ids, lengths, log_probs, scores in rows:
            found[source] = [
                Hypothesis(ids=tuple(ids[i][: lengths[i]]), log_prob=log_probs[i], score=scores[i])
                for i in range(len(ids))
                if math.isfinite(log_probs[i])
            ]


def start(
    limits: Sequence[int],
    usual: Sequence[int],
    prefixes: Sequence[Sequence[int]],
    beam: int,
    n_best: int,
    eos: int,
    device: torch.device,
) -> tuple[Beams, Finished]:
    """One empty prefix a sentence (the other rows have probability 0: they would only repeat it), and no output."""
    b, dtype = len(limits), running_sum_dtype(device)
    log_probs = torch.full((b, beam), -math.inf, dtype=dtype, device=device)
    log_probs[:, 0] = 0.0
    nothing = torch.full((b, n_best), -math.inf, dtype=dtype, device=device)
    beams = Beams(
        sources=torch.arange(b, device=device),
        limits=torch.tensor(limits, device=device),
        usual=torch.tensor(usual, device=device),
        forced=_forced(prefixes, limits, eos).to(device),
        ids=torch.empty(b, beam, 0, dtype=torch.long, device=device),
        log_probs=log_probs,
    )
    none = torch.empty(b, n_best, 0, dtype=torch.long, device=device)
    return beams, Finished(none, torch.zeros(b, n_best, dtype=torch.long, device=device), nothing, nothing)


def penalty_table(longest: int, alpha: float, device: torch.device) -> Float[Tensor, " L"]:
    """`length_penalty` of 0 to `longest`. Scores and bounds divide by the same numbers: rounding keeps their order."""
    table = [length_penalty(n, alpha) for n in range(longest + 1)]
    return torch.tensor(table, dtype=running_sum_dtype(device), device=device)


def _forced(prefixes: Sequence[Sequence[int]], limits: Sequence[int], eos: int) -> Int[Tensor, "B L"]:
    """What an output has to begin with, and its end at the limit."""
    table = torch.full((len(limits), max(limits) + 1), FREE)
    for row, prefix, limit in zip(table, prefixes, limits, strict=True):
        row[: len(prefix)] = torch.tensor(prefix, dtype=torch.long)
        row[limit] = eos
    return table


def _take(prefixes: Int[Tensor, "B P T"], which: Int[Tensor, "B Q"]) -> Int[Tensor, "B Q T"]:
    """Row b, q is `prefixes[b, which[b, q]]`."""
    return prefixes.gather(1, which[:, :, None].expand(-1, -1, prefixes.shape[2]))
