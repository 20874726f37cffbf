"""Beam search, section 6.1: the W best prefixes of every sentence go on together, outputs are ranked by
log P / ((5 + |Y|) / 6)^alpha, and a sentence stops as soon as nothing it could still find would be better.

As in the paper's code (Tensor2Tensor), each step looks at the 2 W best continuations of a sentence. Those that end join
the finished outputs and the best W others go on; a prefix ends in one way, so at least W others are always there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from transduce.decoding.search import (
    CPU,
    Hypothesis,
    StateT,
    Step,
    check_finite,
    check_limits,
    check_prefixes,
    length_penalty,
    never_produced,
    running_sum_dtype,
)
from transduce.decoding.vocabulary import best_pieces
from transduce.errors import ConfigError
from transduce.shapes import Bool, Float, Int, Tensor
from transduce.text.pieces import SpecialIds

_FREE = -1  # in a table of forced pieces: anything may come here


@dataclass(frozen=True, kw_only=True, slots=True)
class BeamConfig:
    """Section 6.1's beam size and length penalty; the defaults are the paper's.

    Raises:
        ConfigError: a beam below 1, or an alpha outside 0 to 10 (0 ranks by probability alone).
    """

    beam: int = 4
    alpha: float = 0.6

    def __post_init__(self) -> None:
        if self.beam < 1:
            raise ConfigError(f"beam = {self.beam}: must be at least 1 (1 is greedy search).")
        if not 0.0 <= self.alpha <= 10.0:
            raise ConfigError(f"alpha = {self.alpha}: must be from 0 (no length penalty) to 10; the paper uses 0.6.")


def beam_search(
    step: Step[StateT],
    state: StateT,
    limits: Sequence[int],
    *,
    config: BeamConfig,
    ids: SpecialIds,
    n_best: int = 1,
    forbidden: Sequence[int] = (),
    prefixes: Sequence[Sequence[int]] = (),
    device: torch.device = CPU,
) -> list[list[Hypothesis]]:
    """Find the `n_best` outputs of every source, distinct and best first (fewer where no more exist).

    Args:
        step: Reads one piece per row, answers with the next one's logits (any float type; they are not changed).
        state: `config.beam` rows per source, which have read nothing yet.
        limits: The most pieces before the end symbol, per source (the paper: input + 50). At its limit a prefix can
            only end, so every output is complete, and its log-probability is the one teacher forcing gives.
        config: Beam size and alpha. A beam of 1 is greedy search.
        ids: Padding, unknown and begin symbol are never produced.
        n_best: Number of outputs wanted, at most the beam.
        forbidden: Further ids that are never produced. What is allowed keeps its probability: no renormalising.
        prefixes: The pieces that every output begins with, per source; they count in its probability, length and limit
            as any others. None where empty.
        device: Where `step` wants its pieces.

    Raises:
        ConfigError: n_best outside 1 to beam, a negative limit, the end symbol forbidden, an impossible prefix.
        TransduceError: a source has no output of finite probability, because logits are NaN.
    """
    if not 1 <= n_best <= config.beam:
        raise ConfigError(f"n_best = {n_best}: must be from 1 to the beam, {config.beam}. Raise the beam for more.")
    check_limits(limits)
    banned = never_produced(ids, forbidden, device)
    prefixes = check_prefixes(prefixes, limits, banned, ids.eos)
    found: list[list[Hypothesis]] = [[] for _ in limits]
    if not limits:
        return found
    penalties = _penalties(max(limits) + 1, config.alpha, device)
    beams = _start(limits, prefixes, config.beam, n_best, ids.eos, device)
    previous = torch.full((len(limits) * config.beam,), ids.bos, device=device)
    for length in range(max(limits) + 1):
        logits, state = step(previous, state)
        candidates = _candidates(logits, beams, length, config.beam, ids.eos, banned)
        pool = _collect(beams, candidates, length, penalties)
        beams, parents = _advance(beams, pool, candidates)
        done = _done(beams, length, penalties)
        rows = parents + config.beam * torch.arange(len(parents), device=device)[:, None]
        if done.any():
            _harvest(beams.keep(done.nonzero().squeeze(-1)), found)
            going = (~done).nonzero().squeeze(-1)
            if not len(going):
                break
            beams, rows = beams.keep(going), rows[going]
        previous, state = beams.ids[:, :, -1].flatten(), state.select(rows.flatten())
    return found


@dataclass(frozen=True, slots=True)
class _Finished:
    """The best complete outputs so far, best first; where there are fewer than P, scores are -inf."""

    ids: Int[Tensor, "B P T"]
    lengths: Int[Tensor, "B P"]
    log_probs: Float[Tensor, "B P"]
    scores: Float[Tensor, "B P"]

    def keep(self, sentences: Int[Tensor, " K"]) -> "_Finished":
        return _Finished(
            self.ids[sentences], self.lengths[sentences], self.log_probs[sentences], self.scores[sentences]
        )


@dataclass(frozen=True, slots=True)
class _Beams:
    """The sentences still being decoded: where they come from, their prefixes (best first), what they have found."""

    sources: Int[Tensor, " B"]
    limits: Int[Tensor, " B"]
    forced: Int[Tensor, "B L"]  # the one piece that may come at each place; _FREE where any may
    ids: Int[Tensor, "B W T"]
    log_probs: Float[Tensor, "B W"]
    finished: _Finished

    def keep(self, sentences: Int[Tensor, " K"]) -> "_Beams":
        return _Beams(
            self.sources[sentences],
            self.limits[sentences],
            self.forced[sentences],
            self.ids[sentences],
            self.log_probs[sentences],
            self.finished.keep(sentences),
        )


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The best continuations of every sentence, best first: which prefix, which piece, the log-probability of both."""

    parents: Int[Tensor, "B C"]
    pieces: Int[Tensor, "B C"]
    log_probs: Float[Tensor, "B C"]
    ends: Bool[Tensor, "B C"]


def _penalties(longest: int, alpha: float, device: torch.device) -> Float[Tensor, " L"]:
    """`length_penalty` of 0 to `longest`. Scores and bounds divide by the same numbers: rounding keeps their order."""
    table = [length_penalty(n, alpha) for n in range(longest + 1)]
    return torch.tensor(table, dtype=running_sum_dtype(device), device=device)


def _forced(prefixes: Sequence[Sequence[int]], limits: Sequence[int], eos: int) -> Int[Tensor, "B L"]:
    """What an output has to begin with, and its end at the limit."""
    table = torch.full((len(limits), max(limits) + 1), _FREE)
    for row, prefix, limit in zip(table, prefixes, limits, strict=True):
        row[: len(prefix)] = torch.tensor(prefix, dtype=torch.long)
        row[limit] = eos
    return table


def _start(
    limits: Sequence[int],
    prefixes: Sequence[Sequence[int]],
    beam: int,
    n_best: int,
    eos: int,
    device: torch.device,
) -> _Beams:
    """One empty prefix a sentence. The other rows have probability 0: they would only repeat the first."""
    b, dtype = len(limits), running_sum_dtype(device)
    log_probs = torch.full((b, beam), -math.inf, dtype=dtype, device=device)
    log_probs[:, 0] = 0.0
    nothing = torch.full((b, n_best), -math.inf, dtype=dtype, device=device)
    return _Beams(
        sources=torch.arange(b, device=device),
        limits=torch.tensor(limits, device=device),
        forced=_forced(prefixes, limits, eos).to(device),
        ids=torch.empty(b, beam, 0, dtype=torch.long, device=device),
        log_probs=log_probs,
        finished=_Finished(
            ids=torch.empty(b, n_best, 0, dtype=torch.long, device=device),
            lengths=torch.zeros(b, n_best, dtype=torch.long, device=device),
            log_probs=nothing,
            scores=nothing,
        ),
    )


def _candidates(
    logits: Float[Tensor, "N V"], beams: _Beams, length: int, beam: int, eos: int, banned: Int[Tensor, " X"]
) -> _Candidates:
    """The 2 W best continuations of each sentence's prefixes; where a piece is forced, these alone.

    A beam of 1 looks at the best one only. With two, an end that is not the best continuation would be kept as well,
    and the search would not be greedy.
    """
    width = 1 if beam == 1 else 2 * beam
    per_row, pieces, normaliser = best_pieces(logits, min(width, logits.shape[1]), banned)
    per_row = per_row.view(-1, beam, per_row.shape[1])  # (B W) K -> B W K
    pieces = pieces.view_as(per_row)
    piece = beams.forced[:, length, None, None]  # B 1 1
    of_rows = piece.clamp(min=0).expand(-1, beam, 1).reshape(-1, 1)  # B 1 1 -> (B W) 1
    only = (logits.gather(1, of_rows).float() - normaliser[:, None]).view(-1, beam, 1)
    only = torch.where(torch.arange(per_row.shape[2], device=only.device) == 0, only, -math.inf)
    per_row = torch.where(piece == _FREE, per_row, only)
    pieces = torch.where(piece == _FREE, pieces, piece)
    totals = (beams.log_probs[:, :, None] + per_row).flatten(1)  # B W K -> B (W K)
    log_probs, order = totals.sort(dim=-1, descending=True, stable=True)
    log_probs, order = log_probs[:, :width], order[:, :width]
    chosen = pieces.flatten(1).gather(1, order)
    return _Candidates(order // per_row.shape[2], chosen, log_probs, chosen == eos)


def _collect(beams: _Beams, candidates: _Candidates, length: int, penalties: Float[Tensor, " L"]) -> _Finished:
    """The best outputs among those found before and the candidates that end; of equals, the one found first."""
    old = beams.finished
    n_best = old.scores.shape[1]
    log_probs = candidates.log_probs.masked_fill(~candidates.ends, -math.inf)
    scores = torch.cat([old.scores, log_probs / penalties[length + 1]], dim=1)
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    order = order[:, :n_best]
    lengths = torch.cat([old.lengths, torch.full_like(candidates.parents, length)], dim=1)
    prefixes = torch.cat([old.ids, beams.ids], dim=1)  # B (P + W) T: an output is a prefix that ended
    ranks = torch.arange(n_best, device=order.device).expand_as(order)
    origin = torch.cat([ranks, candidates.parents + n_best], dim=1).gather(1, order)
    return _Finished(
        ids=_take(prefixes, origin),
        lengths=lengths.gather(1, order),
        log_probs=torch.cat([old.log_probs, log_probs], dim=1).gather(1, order),
        scores=scores[:, :n_best],
    )


def _advance(beams: _Beams, finished: _Finished, candidates: _Candidates) -> tuple[_Beams, Int[Tensor, "B W"]]:
    """Beams whose prefixes are the best W candidates that do not end, and the prefix that each one continues."""
    beam = beams.log_probs.shape[1]
    others = candidates.log_probs.masked_fill(candidates.ends, -math.inf)
    log_probs, order = others.sort(dim=1, descending=True, stable=True)
    log_probs, order = log_probs[:, :beam], order[:, :beam]
    parents = candidates.parents.gather(1, order)
    pieces = candidates.pieces.gather(1, order)
    longer = torch.cat([_take(beams.ids, parents), pieces[:, :, None]], dim=2)
    room = torch.nn.functional.pad(finished.ids, (0, 1))
    finished = _Finished(room, finished.lengths, finished.log_probs, finished.scores)
    return _Beams(beams.sources, beams.limits, beams.forced, longer, log_probs, finished), parents


def _done(beams: _Beams, length: int, penalties: Float[Tensor, " L"]) -> Bool[Tensor, " B"]:
    """Sentences whose `n_best` outputs nothing can change any more.

    No continuation raises a prefix's log-probability, and none is longer than the limit and the end symbol, so no
    output of a prefix scores above log P / lp(limit + 1). Prefixes that could still equal the last output lose to it.
    """
    bound = beams.log_probs[:, 0] / penalties[beams.limits + 1]
    return (beams.finished.scores[:, -1] >= bound) | (beams.limits == length)


def _take(prefixes: Int[Tensor, "B P T"], which: Int[Tensor, "B Q"]) -> Int[Tensor, "B Q T"]:
    """Row b, q is `prefixes[b, which[b, q]]`."""
    return prefixes.gather(1, which[:, :, None].expand(-1, -1, prefixes.shape[2]))


def _harvest(beams: _Beams, found: list[list[Hypothesis]]) -> None:
    """Write the finished outputs of these sentences into `found`."""
    best = beams.finished
    check_finite(best.log_probs[:, 0])
    rows = zip(
        beams.sources.tolist(),
        best.ids.tolist(),
        best.lengths.tolist(),
        best.log_probs.tolist(),
        best.scores.tolist(),
        strict=True,
    )
    for source, ids, lengths, log_probs, scores in rows:
        found[source] = [
            Hypothesis(ids=tuple(ids[i][: lengths[i]]), log_prob=log_probs[i], score=scores[i])
            for i in range(len(ids))
            if math.isfinite(log_probs[i])
        ]
