"""One beam search for several length penalties, with the outputs that a search for each would find.

The length penalty of section 6.1 decides two things only: the order of the finished outputs, and when a sentence is
done. Which prefixes go on does not depend on it, for those that compete are of one length. And after a sentence is done
for one alpha nothing that is found later enters its outputs: `_done` is exactly that bound. So one search keeps the
outputs of every alpha apart, and a sentence goes on until it is done for all of them. (Batches shrink at other steps
than in a search of its own, so log-probabilities may differ in the last bits, as they do between any two batches.)
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from transduce.decoding.beam import (
    BeamConfig,
    _advance,
    _candidates,
    _collect,
    _done,
    _Finished,
    _harvest,
    _penalties,
    _start,
)
from transduce.decoding.search import CPU, Hypothesis, StateT, Step, check_limits, never_produced
from transduce.text.pieces import SpecialIds


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
    device: torch.device = CPU,
) -> list[list[list[Hypothesis]]]:
    """The `n_best` outputs of every source under each of `alphas`: what `beam_search` finds with that alpha.

    Arguments are those of `beam_search`, with `beam` rows of `state` a source, and `n_best` at most `beam`.

    Raises:
        ConfigError: as `BeamConfig`, for any alpha; as `beam_search`.
        TransduceError: as `beam_search`.
    """
    for alpha in alphas:
        BeamConfig(beam=beam, alpha=alpha)
    check_limits(limits)
    banned = never_produced(ids, forbidden, device)
    found: list[list[list[Hypothesis]]] = [[[] for _ in limits] for _ in alphas]
    if not limits or not alphas:
        return [[] for _ in limits]
    penalties = [_penalties(max(limits) + 1, alpha, device) for alpha in alphas]
    beams = _start(limits, [()] * len(limits), beam, n_best, ids.eos, device)
    pools = [beams.finished for _ in alphas]
    previous = torch.full((len(limits) * beam,), ids.bos, device=device)
    for length in range(max(limits) + 1):
        logits, state = step(previous, state)
        candidates = _candidates(logits, beams, length, beam, ids.eos, banned)
        each = list(zip(pools, penalties, strict=True))
        pools = [_collect(replace(beams, finished=pool), candidates, length, lp) for pool, lp in each]
        beams, parents = _advance(beams, pools[0], candidates)
        pools = [_longer(pool) for pool in pools]
        each = list(zip(pools, penalties, strict=True))
        done = torch.stack([_done(replace(beams, finished=pool), length, lp) for pool, lp in each]).all(0)
        rows = parents + beam * torch.arange(len(parents), device=device)[:, None]
        if done.any():
            ended, going = done.nonzero().squeeze(-1), (~done).nonzero().squeeze(-1)
            for pool, outputs in zip(pools, found, strict=True):
                _harvest(replace(beams, finished=pool).keep(ended), outputs)
            if not len(going):
                break
            beams, rows, pools = beams.keep(going), rows[going], [pool.keep(going) for pool in pools]
        previous, state = beams.ids[:, :, -1].flatten(), state.select(rows.flatten())
    return [list(outputs) for outputs in zip(*found, strict=True)]


def _longer(pool: _Finished) -> _Finished:
    """The same outputs with room for one piece more."""
    return replace(pool, ids=torch.nn.functional.pad(pool.ids, (0, 1)))
