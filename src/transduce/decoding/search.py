"""What every search strategy shares: the model seen as a step, the outputs found, their score.

A search needs two verbs of a model and nothing else: `step` reads one piece per row and answers with logits, and the
state's `select` builds new rows from old ones. So one search serves attention and recurrence, one model and ensembles.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar, runtime_checkable

import torch

from transduce.errors import ConfigError, TransduceError
from transduce.shapes import Float, Int, Tensor
from transduce.text.pieces import SpecialIds

CPU = torch.device("cpu")


@runtime_checkable  # so that tests can check annotations at run time
class DecodeState(Protocol):
    """What a model remembers of the rows being decoded: a value, never changed in place as far as a search can see."""

    def select(self, rows: Int[Tensor, " M"]) -> Self:
        """Return the state whose row j is this state's row `rows[j]`; rows of one source stay together."""
        ...


StateT = TypeVar("StateT", bound=DecodeState)

# (the last piece of every row, state) -> (logits of the next piece, state with that piece read)
Step = Callable[[Int[Tensor, " N"], StateT], tuple[Float[Tensor, "N V"], StateT]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hypothesis:
    """One complete output.

    `ids` are its pieces, without begin and end symbol; `log_prob` sums the log-probabilities of the pieces *and* the
    end symbol, as teacher forcing would give them; `score` is what outputs of one source are ranked by.
    """

    ids: tuple[int, ...]
    log_prob: float
    score: float


def length_penalty(n: int, alpha: float) -> float:
    """lp(Y) = ((5 + |Y|) / 6)^alpha of Wu et al. (2016), which section 6.1 uses with alpha = 0.6.

    `n` is |Y| counted with the end symbol: pieces + 1.
    """
    return float(((5 + n) / 6) ** alpha)


def check_limits(limits: Sequence[int]) -> None:
    """Raise ConfigError unless every limit is a possible number of pieces."""
    if limits and min(limits) < 0:
        raise ConfigError(f"limits: {min(limits)} pieces are impossible. Give 0 (only the end symbol) or more.")


def check_usual(usual: Sequence[int], limits: Sequence[int]) -> list[int]:
    """The length up to which a better output is waited for, per source, at most its limit: what `usual` says, and all
    of the limit where it is empty. Raises ConfigError where there are not as many as limits."""
    if usual and len(usual) != len(limits):
        raise ConfigError(f"usual: {len(usual)} lengths for {len(limits)} sources. Give one for each, or none.")
    return [min(length, limit) for length, limit in zip(usual or limits, limits, strict=True)]


def check_prefixes(
    prefixes: Sequence[Sequence[int]], limits: Sequence[int], never: Int[Tensor, " X"], eos: int
) -> Sequence[Sequence[int]]:
    """The pieces that every output begins with, one row a source; none where `prefixes` is empty.

    Raises ConfigError where a source could have no such output: a row longer than its limit, or with a piece that is
    never produced, or with the end symbol; and where there are not as many rows as limits.
    """
    if not prefixes:
        return [()] * len(limits)
    if len(prefixes) != len(limits):
        raise ConfigError(f"prefixes: {len(prefixes)} of them for {len(limits)} sources. Give one for each, or none.")
    impossible = {eos, *never.tolist()}
    for i, (prefix, limit) in enumerate(zip(prefixes, limits, strict=True)):
        if len(prefix) > limit:
            raise ConfigError(f"prefixes[{i}]: {len(prefix)} pieces, but the limit is {limit}. Raise the limit.")
        if not impossible.isdisjoint(prefix):
            piece = next(piece for piece in prefix if piece in impossible)
            raise ConfigError(f"prefixes[{i}]: piece {piece} is never produced inside an output. Leave it out.")
    return prefixes


def never_produced(ids: SpecialIds, forbidden: Sequence[int], device: torch.device) -> Int[Tensor, " X"]:
    """Ids that no search may choose: padding, unknown, the begin symbol and `forbidden`, each once, ascending."""
    if ids.eos in forbidden:
        raise ConfigError(f"forbidden: {ids.eos} is the end symbol, without which no output ends. Leave it out.")
    return torch.tensor(sorted({ids.pad, ids.unk, ids.bos, *forbidden}), dtype=torch.long, device=device)


def running_sum_dtype(device: torch.device) -> torch.dtype:
    """Type that log-probabilities are summed in: adding hundreds of them in float32 alone would lose 1e-4."""
    return torch.float32 if device.type == "mps" else torch.float64  # Apple's devices have no float64


def check_finite(log_probs: Float[Tensor, "..."]) -> None:
    """Raise TransduceError when a number that only a broken model can spoil is NaN or infinite."""
    if not log_probs.isfinite().all():
        raise TransduceError(
            "The model's logits are not finite: its weights probably hold NaN or infinities. "
            "Use an earlier checkpoint, or precision fp32."
        )
