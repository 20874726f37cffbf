"""Beam search, section 6.1: the W best prefixes of every sentence go on together, outputs are ranked by
log P / ((5 + |Y|) / 6)^alpha, and a sentence stops as soon as nothing it could still find would be better.

A large alpha favours long outputs so much that hardly any prefix is out of the question before its limit, and a
sentence goes on for long after it has ended well. So a search may be told the length that outputs usually have at most:
then longer ones are found where the search comes to them, but not waited for.

Differs: where it is told, a longer output may have been missed that would have been better. `Translator` tells it what
one in a thousand training pairs exceeds.

As in the paper's code (Tensor2Tensor), each step looks at the 2 W best continuations of a sentence. Those that end join
the finished outputs and the best W others go on; a prefix ends in one way, so at least W others are always there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import pad

from transduce.decoding.beams import FREE, Beams, Candidates, penalty_table, start
from transduce.decoding.search import (
    CPU,
    Hypothesis,
    StateT,
    Step,
    check_limits,
    check_prefixes,
    check_usual,
    never_produced,
)
from transduce.decoding.vocabulary import best_continuations
from transduce.errors import ConfigError
from transduce.shapes import Float, Int, Tensor
from transduce.text.pieces import SpecialIds


@dataclass(frozen=True, kw_only=True, slots=True)
class BeamConfig:
    """Section 6.1's beam size and length penalty; the defaults are the paper's.

    Raises:
        ConfigError: a beam below 1, or an alpha outside 0 to 10 (0 ranks by probability alone).
    """

    beam: int = 4
    alpha: float = 0.6

    def __post_init__(self) -> None:
        if type(self.beam) is not int:
            raise ConfigError(f"beam = {self.beam!r}: must be a whole number.")
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
    usual: Sequence[int] = (),
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
        usual: The length, per source, up to which a better output is waited for: the search is over when it could find
            none of at most so many pieces. The limits where empty, as in the paper's code.
        device: Where `step` wants its pieces.

    Raises:
        ConfigError: n_best outside 1 to beam, a negative limit, the end symbol forbidden, an impossible prefix.
        TransduceError: a source has no output of finite probability, because logits are NaN.
    """
    if not 1 <= n_best <= config.beam:
        raise ConfigError(f"n_best = {n_best}: must be from 1 to the beam, {config.beam}. Raise the beam for more.")
    found = beam_search_alphas(
        step,
        state,
        limits,
        beam=config.beam,
        alphas=[config.alpha],
        ids=ids,
        n_best=n_best,
        forbidden=forbidden,
        prefixes=prefixes,
        usual=usual,
        device=device,
    )
    return [outputs for (outputs,) in found]


def beam_search_alphas(
    step: Step[StateT],
    state: StateT,
    limits: Sequence[int],
    *,
    beam: int,
    alphas: Sequence[float],
    ids: SpecialIds,
    n_best: int = 1,
    forbidden: Sequence[int] = (),
    prefixes: Sequence[Sequence[int]] = (),
    usual: Sequence[int] = (),
    device: torch.device = CPU,
) -> list[list[list[Hypothesis]]]:
    """The `n_best` outputs of every source under each of `alphas`: what `beam_search` finds with that alpha.

    The length penalty decides two things only: the order of the finished outputs, and when a sentence is done. Which
    prefixes go on does not depend on it, for those that compete are of one length. And after a sentence is done for one
    alpha nothing that is found later enters its outputs. So one search keeps the outputs of every alpha apart, and a
    sentence goes on until it is done for all of them. (Batches shrink at other steps than
    in a search for one, so log-probabilities may differ in the last bits, as they do between any two batches.)

    Arguments are those of `beam_search`, with `beam` rows of `state` a source, and `n_best` at most `beam`.

    Raises:
        ConfigError: as `BeamConfig`, for any alpha; as `beam_search`.
        TransduceError: as `beam_search`.
    """
    for alpha in alphas:
        BeamConfig(beam=beam, alpha=alpha)
    check_limits(limits)
    banned = never_produced(ids, forbidden, device)
    prefixes = check_prefixes(prefixes, limits, banned, ids.eos)
    usual = check_usual(usual, limits)
    found: list[list[list[Hypothesis]]] = [[[] for _ in limits] for _ in alphas]
    if not limits or not alphas:
        return [[] for _ in limits]
    penalties = [penalty_table(max(limits) + 1, alpha, device) for alpha in alphas]
    beams, pool = start(limits, usual, prefixes, beam, n_best, ids.eos, device)
    pools = [pool for _ in alphas]
    over = torch.zeros(len(alphas), len(limits), dtype=torch.bool, device=device)  # sentences that are done, by alpha
    previous = torch.full((len(limits) * beam,), ids.bos, device=device)
    for length in range(max(limits) + 1):
        logits, state = step(previous, state)
        candidates = _candidates(logits, beams, length, beam, ids.eos, banned)
        pools = [
            pool.collect(beams, replace(candidates, ends=candidates.ends & ~ended[:, None]), length, lp)
            for pool, lp, ended in zip(pools, penalties, over, strict=True)
        ]
        beams, parents = beams.advance(candidates)
        over |= torch.stack([pool.certain(beams, length, lp) for pool, lp in zip(pools, penalties, strict=True)])
        done = over.all(0)
        rows = parents + beam * torch.arange(len(parents), device=device)[:, None]
        if done.any():
            ended, going = done.nonzero().squeeze(-1), (~done).nonzero().squeeze(-1)
            for pool, outputs in zip(pools, found, strict=True):
                pool.keep(ended).write(beams.sources[ended], outputs)
            if not len(going):
                break
            beams, rows, over = beams.keep(going), rows[going], over[:, going]
            pools = [pool.keep(going) for pool in pools]
        previous, state = beams.ids[:, :, -1].flatten(), state.select(rows.flatten())
    return [list(outputs) for outputs in zip(*found, strict=True)]


def _candidates(
    logits: Float[Tensor, "N V"], beams: Beams, length: int, beam: int, eos: int, banned: Int[Tensor, " X"]
) -> Candidates:
    """The 2 W best continuations of each sentence's prefixes; where a piece is forced, these alone.

    A beam of 1 looks at the best one only. With two, an end that is not the best continuation would be kept as well,
    and the search would not be greedy.
    """
    width = 1 if beam == 1 else 2 * beam
    log_probs, parents, pieces, normaliser = best_continuations(logits, beams.log_probs, width, banned)
    piece = beams.forced[:, length, None]  # B 1
    of_rows = piece.clamp(min=0).expand(-1, beam).reshape(-1, 1)  # B 1 -> (B W) 1
    only = beams.log_probs + (logits.gather(1, of_rows).squeeze(1).float() - normaliser).view(-1, beam)
    log_probs = torch.where(piece == FREE, log_probs, pad(only, (0, width - beam), value=-math.inf))
    parents = torch.where(piece == FREE, parents, torch.arange(width, device=piece.device).clamp(max=beam - 1))
    pieces = torch.where(piece == FREE, pieces, piece)
    return Candidates(parents, pieces, log_probs, pieces == eos)
