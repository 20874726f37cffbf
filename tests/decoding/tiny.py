"""A tiny recurrent model that searches can be checked on, and slow searches in plain Python to check them against."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from transduce.decoding import Hypothesis
from transduce.text.pieces import IDS

NEVER = (IDS.pad, IDS.unk, IDS.bos)


@dataclass(frozen=True)
class TinyState:
    hidden: Tensor

    def select(self, rows: Tensor) -> Self:
        return type(self)(self.hidden[rows])


class TinyModel:
    """Logits that depend on the source and on the whole prefix. `ending` is added to the end symbol's logit."""

    def __init__(self, seed: int, *, sources: int = 1, size: int = 7, spread: float = 3.0, ending: float = 0.0) -> None:
        random = torch.Generator().manual_seed(seed)
        width = 6
        self.size = size
        self.first = torch.randn(sources, width, generator=random)
        self.read = torch.randn(size, width, generator=random)
        self.carry = torch.randn(width, width, generator=random) / math.sqrt(width)
        self.write = torch.randn(width, size, generator=random) * spread
        self.ending = ending
        self.rows: list[int] = []  # of every step so far

    def start(self, copies: int = 1, sources: Sequence[int] | None = None) -> TinyState:
        chosen = self.first if sources is None else self.first[list(sources)]
        return TinyState(chosen.repeat_interleave(copies, dim=0))

    def step(self, previous: Tensor, state: TinyState) -> tuple[Tensor, TinyState]:
        self.rows.append(len(previous))
        hidden = torch.tanh(state.hidden @ self.carry + self.read[previous])
        logits = hidden @ self.write
        logits[:, IDS.eos] += self.ending
        return logits, TinyState(hidden)

    def log_probs(self, source: int, prefix: Sequence[int]) -> list[float]:
        """Of every piece after `prefix`, by reading it from the start."""
        state = self.start(sources=[source])
        for piece in (IDS.bos, *prefix):
            logits, state = self.step(torch.tensor([piece]), state)
        return logits[0].double().log_softmax(-1).tolist()

    def log_prob(self, source: int, output: Sequence[int]) -> float:
        """Teacher-forced: the sum over the pieces and the end symbol."""
        whole = (*output, IDS.eos)
        return sum(self.log_probs(source, whole[:i])[piece] for i, piece in enumerate(whole))


def penalty(n: int, alpha: float) -> float:
    return float(((5 + n) / 6) ** alpha)


def hypothesis(ids: Sequence[int], log_prob: float, alpha: float) -> Hypothesis:
    return Hypothesis(ids=tuple(ids), log_prob=log_prob, score=log_prob / penalty(len(ids) + 1, alpha))


def by_score(hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
    return sorted(hypotheses, key=lambda h: -h.score)


def all_outputs(size: int, limit: int) -> Iterator[tuple[int, ...]]:
    pieces = range(IDS.eos + 1, size)
    for length in range(limit + 1):
        yield from itertools.product(pieces, repeat=length)


def exhaustive_search(model: TinyModel, source: int, limit: int, alpha: float) -> list[Hypothesis]:
    """Every output there is, best first."""
    outputs = all_outputs(model.size, limit)
    return by_score([hypothesis(ids, model.log_prob(source, ids), alpha) for ids in outputs])


def slow_beam_search(
    model: TinyModel, source: int, limit: int, beam: int, alpha: float, forbidden: Sequence[int] = ()
) -> list[Hypothesis]:
    """Beam search one prefix at a time, which never stops early: it ends when every prefix is at the limit."""
    live: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    finished = []
    for length in range(limit + 1):
        candidates = []
        for prefix, log_prob in live:
            after = model.log_probs(source, prefix)
            for piece in range(model.size) if length < limit else [IDS.eos]:
                if piece not in (*NEVER, *forbidden):
                    candidates.append((prefix, piece, log_prob + after[piece]))
        candidates.sort(key=lambda candidate: -candidate[2])
        best = candidates[: 1 if beam == 1 else 2 * beam]
        finished += [hypothesis(prefix, log_prob, alpha) for prefix, piece, log_prob in best if piece == IDS.eos]
        live = [((*prefix, piece), log_prob) for prefix, piece, log_prob in best if piece != IDS.eos][:beam]
    return by_score(finished)


def slow_greedy(model: TinyModel, source: int, limit: int) -> Hypothesis:
    ids: list[int] = []
    log_prob = 0.0
    while True:
        after = model.log_probs(source, ids)
        allowed = [p for p in range(model.size) if p not in NEVER] if len(ids) < limit else [IDS.eos]
        piece = max(allowed, key=lambda p: after[p])
        log_prob += after[piece]
        if piece == IDS.eos:
            return Hypothesis(ids=tuple(ids), log_prob=log_prob, score=log_prob)
        ids.append(piece)
