"""Several models that vote: the mean of their probabilities, behind the two verbs that a search needs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from transduce.decoding.vocabulary import log_normaliser
from transduce.errors import ConfigError
from transduce.nn.transformer import Transformer, TransformerState
from transduce.shapes import Float, Int, Tensor


@dataclass(frozen=True, slots=True)
class EnsembleState:
    """What every member remembers of the rows being decoded."""

    members: tuple[TransformerState, ...]

    def select(self, rows: Int[Tensor, " M"]) -> "EnsembleState":
        """Row j of every member's state becomes its row `rows[j]`."""
        return EnsembleState(tuple(state.select(rows) for state in self.members))


@final
class Ensemble(nn.Module):
    """Models of one vocabulary that decode as one. They may differ in all else: size, layers, seed.

    The next piece has the arithmetic mean of the members' probabilities (not of their logarithms), every member of the
    same weight: a piece that one member is sure of stays possible.

    Raises:
        ConfigError: no member, or members whose vocabularies differ in size.
    """

    def __init__(self, members: Sequence[Transformer]) -> None:
        super().__init__()
        sizes = [(len(m.source.table.weight), len(m.output_weight)) for m in members]
        if len(set(sizes)) != 1:
            raise ConfigError(f"ensemble: vocabularies of {sizes} pieces. Give models of one vocabulary, at least one.")
        self.members: tuple[Transformer, ...] = tuple(members)
        self._registered = nn.ModuleList(members)  # so that `to`, `eval` and `train` reach them

    def start(self, source: Int[Tensor, "B S"], copies: int = 1) -> EnsembleState:
        """Every member's state after reading `source`, `copies` rows for each."""
        return EnsembleState(tuple(member.start(source, copies) for member in self.members))

    def step(self, previous: Int[Tensor, " N"], state: EnsembleState) -> tuple[Float[Tensor, "N V"], EnsembleState]:
        """Log-probabilities of the next piece, in float32, and the state with `previous` read."""
        log_probs, states = [], []
        for member, before in zip(self.members, state.members, strict=True):
            logits, after = member.step(previous, before)
            log_probs.append(logits.float() - log_normaliser(logits)[:, None])
            states.append(after)
        mean = torch.stack(log_probs).logsumexp(0) - math.log(len(log_probs))
        return mean, EnsembleState(tuple(states))
