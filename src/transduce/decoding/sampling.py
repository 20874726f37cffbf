"""Searches that follow one output per source: greedy search, and sampling from the model's distribution."""

import math
from collections.abc import Callable, Sequence

import torch

from transduce.decoding.search import (
    CPU,
    Hypothesis,
    StateT,
    Step,
    check_finite,
    check_limits,
    never_produced,
    running_sum_dtype,
)
from transduce.decoding.vocabulary import log_normaliser, top_k
from transduce.errors import ConfigError
from transduce.shapes import Float, Int, Tensor
from transduce.text.pieces import SpecialIds

Choice = Callable[[Float[Tensor, "N V"], Int[Tensor, " N"], int], Int[Tensor, " N"]]
"""Pick a piece for every row from its logits, the number of its source and the length of the output so far; what is
forbidden has logit -inf."""
_BELOW_ONE = 1 - 2**-20  # so that a product with the sum of all probabilities rounds to less than it


def greedy(
    step: Step[StateT],
    state: StateT,
    limits: Sequence[int],
    ids: SpecialIds,
    *,
    forbidden: Sequence[int] = (),
    device: torch.device = CPU,
) -> list[Hypothesis]:
    """The most probable piece at every step, until it is the end symbol.

    Arguments and errors are those of `beam_search`, with one row of `state` per source. A hypothesis' score is its
    log-probability: there is nothing to rank.
    """
    return _follow(step, state, limits, ids, lambda logits, rows, length: logits.argmax(-1), forbidden, device)


def sample(
    step: Step[StateT],
    state: StateT,
    limits: Sequence[int],
    ids: SpecialIds,
    seeds: Sequence[int],
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    forbidden: Sequence[int] = (),
    device: torch.device = CPU,
) -> list[Hypothesis]:
    """Draw each piece from softmax(logits / temperature), for as long as it is not the end symbol.

    Forbidden pieces are never drawn; the others share their probability. `top_k` draws among the k best pieces only
    (and those that equal the k-th); 0 draws among all. The rest is as in `greedy`: `log_prob` is the model's own
    log-probability of what was drawn, whatever the temperature. What a row draws follows from its own one of `seeds`,
    whatever else is in the batch.

    Raises:
        ConfigError: temperature not above 0 or not finite, top_k below 0; and what `beam_search` raises.
    """
    if not 0.0 < temperature < math.inf:
        raise ConfigError(f"temperature = {temperature}: must be above 0 and finite. Use greedy search for 0.")
    if top_k < 0:
        raise ConfigError(f"top_k = {top_k}: must be 0 (draw among all pieces) or more.")

    check_limits(limits)
    longest = max(limits, default=0) + 1
    chances = torch.stack([_uniform(seed, longest) for seed in seeds]).to(device) if seeds else torch.empty(0, longest)

    def draw(logits: Float[Tensor, "N V"], rows: Int[Tensor, " N"], length: int) -> Int[Tensor, " N"]:
        return _draw(logits, chances[rows, length], temperature, top_k)

    return _follow(step, state, limits, ids, draw, forbidden, device)


def _uniform(seed: int, n: int) -> Float[Tensor, " N"]:
    """The first `n` numbers from 0 to below 1 of a generator of its own."""
    return torch.rand(n, generator=torch.Generator().manual_seed(seed)).clamp_max(_BELOW_ONE)


def _draw(logits: Float[Tensor, "N V"], chances: Float[Tensor, " N"], temperature: float, k: int) -> Int[Tensor, " N"]:
    """The piece at which the probabilities, added up, exceed the row's chance."""
    if 0 < k < logits.shape[1]:
        least = top_k(logits, k)[0][:, -1:]
        logits = logits.masked_fill(logits < least, -math.inf)
    logits = logits - logits.amax(-1, keepdim=True)  # before dividing, which could overflow
    up_to = (logits / temperature).softmax(-1).cumsum(-1)
    return torch.searchsorted(up_to, chances[:, None] * up_to[:, -1:], right=True).squeeze(-1)


def _follow(
    step: Step[StateT],
    state: StateT,
    limits: Sequence[int],
    ids: SpecialIds,
    choose: Choice,
    forbidden: Sequence[int],
    device: torch.device,
) -> list[Hypothesis]:
    check_limits(limits)
    banned = never_produced(ids, forbidden, device)
    if not limits:
        return []
    sources = torch.arange(len(limits), device=device)  # of the rows still being decoded
    limit = torch.tensor(limits, device=device)
    outputs = torch.full((len(limits), max(limits) + 1), ids.eos, device=device)
    log_probs = torch.zeros(len(limits), dtype=running_sum_dtype(device), device=device)
    previous = torch.full((len(limits),), ids.bos, device=device)
    for length in range(max(limits) + 1):
        logits, state = step(previous, state)
        logits = logits.float()
        normaliser = log_normaliser(logits)
        check_finite(normaliser)
        chosen_by = logits.index_fill(-1, banned, -math.inf)
        pieces = choose(chosen_by, sources, length).masked_fill(limit[sources] == length, ids.eos)
        chosen = logits.gather(1, pieces[:, None]).squeeze(1) - normaliser
        log_probs[sources] += chosen
        outputs[sources, length] = pieces
        going = (pieces != ids.eos).nonzero().squeeze(-1)
        if not len(going):
            break
        if len(going) < len(sources):
            sources, pieces, state = sources[going], pieces[going], state.select(going)
        previous = pieces
    return _hypotheses(outputs, log_probs, ids.eos)


def _hypotheses(outputs: Int[Tensor, "N T"], log_probs: Float[Tensor, " N"], eos: int) -> list[Hypothesis]:
    return [
        Hypothesis(ids=tuple(row[: row.index(eos)]), log_prob=log_prob, score=log_prob)
        for row, log_prob in zip(outputs.tolist(), log_probs.tolist(), strict=True)
    ]
