"""Beam search over many sentences on a processor: `beam.beam_search`'s outputs, from packed weights and full batches.

A batch has a number of places. A sentence that has found its outputs leaves its place, and the next one takes it at the
same step, so the batch stays full until none is left. What a single sentence keeps and when it is done is decided in
plain Python, sentence by sentence: there are 2 W numbers each to look at, once the vocabulary is reduced to them.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, final

import torch

from transduce.data.shortlist import Shortlist
from transduce.decoding.beam import BeamConfig
from transduce.decoding.choices import Choices, EveryPiece, Shortlisted
from transduce.decoding.search import (
    CPU,
    Hypothesis,
    check_finite,
    check_limits,
    check_prefixes,
    check_usual,
    length_penalty,
    never_produced,
)
from transduce.decoding.vocabulary import best_continuations
from transduce.errors import ConfigError
from transduce.nn.inference import Encoded, Memories, PackedTransformer
from transduce.shapes import Int, Tensor
from transduce.text.pieces import IDS

_ENCODED = 2048  # padded source tokens that are encoded at once
_ALIKE = 0.8  # the shortest of them over the longest, at least


def continuous_beam_search(
    model: PackedTransformer,
    sources: Sequence[Sequence[int]],
    limits: Sequence[int],
    *,
    config: BeamConfig,
    n_best: int = 1,
    forbidden: Sequence[int] = (),
    prefixes: Sequence[Sequence[int]] = (),
    usual: Sequence[int] = (),
    places: int = 32,
    shortlist: Shortlist | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[list[Hypothesis]]:
    """The `n_best` outputs of every source, as `beam_search` finds them.

    Args:
        model: Packed weights.
        sources: Ids, each with its end symbol.
        limits: The most pieces before the end symbol, per source.
        config: Beam size and alpha.
        n_best: Number of outputs wanted, at most the beam.
        forbidden: Further ids that are never produced.
        prefixes: The pieces that every output begins with, per source; none where empty.
        usual: The length, per source, up to which a better output is waited for; the limits where empty.
        places: Sentences that are decoded at the same time.
        shortlist: Each output is made of what it has for the source (and of its prefix) and nothing else, and
            probabilities sum to 1 over that.
        stopped: Asked before every step. Once it says so nothing more is looked for, and what is missing stays empty.

    Raises:
        ConfigError: as `beam_search`; places below 1.
        TransduceError: as `beam_search`.
    """
    if not 1 <= n_best <= config.beam:
        raise ConfigError(f"n_best = {n_best}: must be from 1 to the beam, {config.beam}. Raise the beam for more.")
    if places < 1:
        raise ConfigError(f"places = {places}: must be at least 1.")
    check_limits(limits)
    banned = never_produced(IDS, forbidden, CPU)
    prefixes = check_prefixes(prefixes, limits, banned, IDS.eos)
    usual = check_usual(usual, limits)
    found: list[list[Hypothesis]] = [[] for _ in sources]
    if not sources:
        return found
    penalties = [length_penalty(n, config.alpha) for n in range(max(limits) + 2)]
    order = sorted(range(len(sources)), key=lambda i: (-len(sources[i]), i))
    waiting = _encoded(model, sources, order, places)
    places = min(places, len(sources))
    memory = Memories(model, places, config.beam, len(sources[order[0]]))
    choices: Choices = EveryPiece(model, banned)
    if shortlist is not None:
        choices = Shortlisted(model, banned, shortlist, sources, prefixes, places)
    batch: list[_Sentence | None] = [None] * places
    while True:
        for place in [i for i, sentence in enumerate(batch) if sentence is None]:
            if (joined := next(waiting, None)) is None:
                break
            source, encoded, which = joined
            memory.join(place, encoded, which)
            choices.join(place, source)
            batch[place] = _Sentence(source, limits[source], usual[source], prefixes[source], config.beam)
        going = [i for i, sentence in enumerate(batch) if sentence is not None]
        if not going or stopped():
            return found
        if len(going) <= 3 * len(batch) // 4:
            memory.keep(going)
            choices.keep(going)
            batch = [batch[i] for i in going]
        rows = _step(model, memory, choices, batch, penalties)
        for place, sentence in enumerate(batch):
            if sentence is not None and sentence.done(n_best, penalties):
                found[sentence.source] = sentence.outputs(n_best)
                batch[place] = None
        memory.select(rows)


def _encoded(
    model: PackedTransformer, sources: Sequence[Sequence[int]], order: Sequence[int], most: int
) -> Iterator[tuple[int, Encoded, int]]:
    """Every source in this order: its number, and where it lies among sources that were encoded together."""
    first = 0
    while first < len(order):
        longest = len(sources[order[first]])
        n = 1
        while n < most and (n + 1) * longest <= _ENCODED and first + n < len(order):
            if len(sources[order[first + n]]) < _ALIKE * longest:
                break
            n += 1
        chunk = order[first : first + n]
        encoded = model.encode([sources[i] for i in chunk])
        yield from ((source, encoded, which) for which, source in enumerate(chunk))
        first += n


def _step(
    model: PackedTransformer,
    memory: Memories,
    choices: Choices,
    batch: Sequence["_Sentence | None"],
    penalties: Sequence[float],
) -> Int[Tensor, " N"]:
    """One more piece for every prefix. Returns the row that each row continues; empty places stay as they are."""
    beam = memory.beam
    nothing = [IDS.bos] * beam, [0.0] * beam
    previous = [s.pieces if s else nothing[0] for s in batch]
    states = model.step(torch.tensor(previous).flatten(), [s.length if s else 0 for s in batch], memory)
    logits = choices.logits(states)
    width = 1 if beam == 1 else 2 * beam
    before = torch.tensor([s.log_probs if s else nothing[1] for s in batch], dtype=torch.float64)
    best, parents, columns, normaliser = best_continuations(logits, before, width, choices.never)
    chosen = choices.pieces(columns)
    forced = choices.columns(torch.tensor([IDS.eos if s is None or s.forced is None else s.forced for s in batch]))
    only = logits.gather(1, forced.repeat_interleave(beam)[:, None]).squeeze(1).float() - normaliser
    rows = []
    for place, (sentence, *of_sentence, of_forced) in enumerate(
        zip(batch, best.tolist(), parents.tolist(), chosen.tolist(), only.view(-1, beam).tolist(), strict=True)
    ):
        continued = list(range(beam))
        if sentence is not None:
            candidates = list(zip(*of_sentence, strict=True))
            continued = sentence.advance(candidates, of_forced, penalties)
        rows += [place * beam + parent for parent in continued]
    return torch.tensor(rows)


class _Prefix(NamedTuple):
    """A piece and what came before it."""

    before: "_Prefix | None"
    piece: int


class _Output(NamedTuple):
    score: float
    log_prob: float
    prefix: _Prefix | None


@final
class _Sentence:
    """A sentence in its place: its prefixes and the outputs that it has found, both best first."""

    def __init__(self, source: int, limit: int, usual: int, prefix: Sequence[int], beam: int) -> None:
        self.source = source
        self.limit = limit
        self._usual = usual
        self._forced = {**dict(enumerate(prefix)), limit: IDS.eos}
        self.length = 0  # pieces of every prefix
        self.pieces = [IDS.bos] * beam
        self.log_probs = [0.0] + [-math.inf] * (beam - 1)  # the others would only repeat the first
        self._prefixes: list[_Prefix | None] = [None] * beam
        self._finished: list[_Output] = []

    @property
    def forced(self) -> int | None:
        """The one piece that may come next; none where any may."""
        return self._forced.get(self.length)

    def advance(
        self, candidates: list[tuple[float, int, int]], only: list[float], penalties: Sequence[float]
    ) -> list[int]:
        """Go on with the best of `candidates`: log-probability, prefix and piece of each, best first. `only` are the
        log-probabilities of the `forced` piece. Returns the prefix that each new one continues."""
        beam = len(self.pieces)
        if (forced := self.forced) is not None:
            candidates = [(self.log_probs[w] + only[w], w, forced) for w in range(beam)]
        going = []
        for log_prob, parent, piece in candidates:
            if piece != IDS.eos:
                going.append((log_prob, parent, piece))
            elif log_prob > -math.inf:
                self._finished.append(_Output(log_prob / penalties[self.length + 1], log_prob, self._prefixes[parent]))
        going = (going + [(-math.inf, 0, IDS.eos)] * beam)[:beam]
        self._finished.sort(key=lambda output: -output.score)  # stable: of equals the one found first
        self._prefixes = [_Prefix(self._prefixes[parent], piece) for _, parent, piece in going]
        self.log_probs = [log_prob for log_prob, _, _ in going]
        self.pieces = [piece for _, _, piece in going]
        self.length += 1
        return [parent for _, parent, _ in going]

    def done(self, n_best: int, penalties: Sequence[float]) -> bool:
        """Whether nothing that is waited for can change the `n_best` outputs any more; see `beams.Finished.certain`."""
        if self.length > self.limit:
            return True
        longest = max(self._usual, self.length)
        bound = self.log_probs[0] / penalties[longest + 1]
        return len(self._finished) >= n_best and self._finished[n_best - 1].score >= bound

    def outputs(self, n_best: int) -> list[Hypothesis]:
        """The best outputs. Raises `TransduceError` when there is none."""
        best = self._finished[:n_best]
        check_finite(torch.tensor([output.log_prob for output in best] or [math.nan]))
        return [Hypothesis(ids=_ids(o.prefix), log_prob=o.log_prob, score=o.score) for o in best]


def _ids(prefix: _Prefix | None) -> tuple[int, ...]:
    found = []
    while prefix is not None:
        found.append(prefix.piece)
        prefix = prefix.before
    return tuple(reversed(found))
