"""Diverse beam search (Vijayakumar et al., 2016): outputs that differ in more than their last pieces.

The beam is divided among groups, and at every step they move one after the other. A candidate loses `strength` for
each prefix of an earlier group that has just gone on with the same piece (Hamming diversity, lambda = strength).
Losses add up along a prefix and decide which prefixes go on; they are no part of an output's probability or score.

Differs: pieces that end an output are not counted, or later groups would end early or late for the sake of others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from transduce.decoding.beam import BeamConfig
from transduce.decoding.beams import FREE, Beams, Candidates, Finished, penalty_table, start
from transduce.decoding.search import CPU, Hypothesis, StateT, Step, check_limits, check_prefixes, never_produced
from transduce.errors import ConfigError
from transduce.shapes import Float, Int, Tensor
from transduce.text.pieces import SpecialIds


def check_diversity(beam: int, groups: int, strength: float) -> None:
    """Raise ConfigError unless the beam can be divided among so many groups, and the strength is a loss."""
    if groups < 1 or beam % groups:
        raise ConfigError(
            f"beam = {beam} for {groups} diverse outputs: each is of a group with its own part of the beam. "
            f"Give a beam that {groups} divides."
        )
    if not 0.0 <= strength < math.inf:
        raise ConfigError(f"strength = {strength}: must be from 0 (no diversity) up; 0.2 to 0.8 work well.")


def diverse_beam_search(
    step: Step[StateT],
    state: StateT,
    limits: Sequence[int],
    *,
    config: BeamConfig,
    groups: int,
    strength: float,
    ids: SpecialIds,
    forbidden: Sequence[int] = (),
    prefixes: Sequence[Sequence[int]] = (),
    device: torch.device = CPU,
) -> list[list[Hypothesis]]:
    """One output of every group, for every source: its best one that no earlier group has given. Best first.

    Arguments are those of `beam_search`; each group has `config.beam / groups` of the beam. Within a group the search
    is beam search, two candidates for each prefix, until its `groups` best outputs are certain.

    Raises:
        ConfigError: as `beam_search` and `check_diversity`.
        TransduceError: as `beam_search`.
    """
    check_diversity(config.beam, groups, strength)
    check_limits(limits)
    banned = never_produced(ids, forbidden, device)
    prefixes = check_prefixes(prefixes, limits, banned, ids.eos)
    found: list[list[list[Hypothesis]]] = [[[] for _ in limits] for _ in range(groups)]
    if not limits:
        return []
    penalties = penalty_table(max(limits) + 1, config.alpha, device)
    width = config.beam // groups
    beams, pool = start(limits, limits, prefixes, width, groups, ids.eos, device)
    each = [_Group(beams, pool, beams.log_probs)] * groups
    previous = torch.full((len(limits) * config.beam,), ids.bos, device=device)
    for length in range(max(limits) + 1):
        logits, state = step(previous, state)
        log_probs = logits.float().log_softmax(-1).index_fill(-1, banned, -math.inf)
        log_probs = log_probs.view(-1, groups, width, log_probs.shape[1])  # (B G W) V -> B G W V
        taken = torch.zeros_like(log_probs[:, 0, 0])
        moved = [
            group.advance(log_probs[:, g], taken, strength, length, ids.eos, penalties) for g, group in enumerate(each)
        ]
        each, parents = [group for group, _ in moved], [rows for _, rows in moved]
        done = torch.stack([group.certain(length, penalties) for group in each]).all(0)
        places = torch.stack(parents, dim=1) + width * torch.arange(groups, device=device)[:, None]  # B G W
        rows = places.flatten(1) + config.beam * torch.arange(len(places), device=device)[:, None]
        if done.any():
            ended, going = done.nonzero().squeeze(-1), (~done).nonzero().squeeze(-1)
            for group, outputs in zip(each, found, strict=True):
                group.finished.keep(ended).write(group.beams.sources[ended], outputs)
            if not len(going):
                break
            each, rows = [group.keep(going) for group in each], rows[going]
        previous = torch.stack([group.beams.ids[:, :, -1] for group in each], dim=1).flatten()
        state = state.select(rows.flatten())
    return [_one_of_each(outputs) for outputs in zip(*found, strict=True)]


@dataclass(frozen=True, slots=True)
class _Group:
    """The prefixes of a group, ranked by `beams.log_probs`, which have the losses in them, and their own log P."""

    beams: Beams
    finished: Finished
    log_probs: Float[Tensor, "B W"]

    def keep(self, sentences: Int[Tensor, " M"]) -> "_Group":
        return _Group(self.beams.keep(sentences), self.finished.keep(sentences), self.log_probs[sentences])

    def advance(
        self,
        log_probs: Float[Tensor, "B W V"],
        taken: Float[Tensor, "B V"],
        strength: float,
        length: int,
        eos: int,
        penalties: Float[Tensor, " L"],
    ) -> tuple["_Group", Int[Tensor, "B W"]]:
        """The group one piece later, and the prefix that each new one continues. Adds its pieces to `taken`."""
        forced = self.beams.forced[:, length, None, None]
        other = (forced != FREE) & (torch.arange(log_probs.shape[2], device=forced.device) != forced)
        log_probs = log_probs.masked_fill(other, -math.inf)
        ranked = self.beams.log_probs[:, :, None] + log_probs - strength * taken[:, None]
        best, order = ranked.flatten(1).topk(min(2, log_probs.shape[2]) * log_probs.shape[1])
        parents, pieces = order // log_probs.shape[2], order % log_probs.shape[2]
        own = (self.log_probs[:, :, None] + log_probs).flatten(1).gather(1, order)
        candidates = Candidates(parents, pieces, own, pieces == eos)
        pool = self.finished.collect(self.beams, candidates, length, penalties)
        beams, chosen = self.beams.advance(replace(candidates, log_probs=best))
        last = beams.ids[:, :, -1]
        rows = log_probs.gather(1, chosen[:, :, None].expand_as(log_probs))
        own = self.log_probs.gather(1, chosen) + rows.gather(2, last[:, :, None]).squeeze(2)
        own = own.masked_fill(beams.log_probs == -math.inf, -math.inf)
        taken.scatter_add_(1, last, own.isfinite().to(taken.dtype))
        return _Group(beams, pool, own), chosen

    def certain(self, length: int, penalties: Float[Tensor, " L"]) -> Tensor:
        """Sentences whose outputs nothing in this group can change any more; see `Finished.certain`."""
        own = replace(self.beams, log_probs=self.log_probs.sort(1, descending=True).values)
        return self.finished.certain(own, length, penalties)


def _one_of_each(groups: Sequence[Sequence[Hypothesis]]) -> list[Hypothesis]:
    """The best output of each group that no group before has given, best first."""
    chosen: dict[tuple[int, ...], Hypothesis] = {}
    for outputs in groups:
        new = next((h for h in outputs if h.ids not in chosen), None)
        if new is not None:
            chosen[new.ids] = new
    return sorted(chosen.values(), key=lambda h: -h.score)
