"""Diverse beam search against a slow one in plain Python, and against beam search where nothing is lost."""

import math
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.decoding.test_beam import assert_same
from tests.decoding.tiny import NEVER, TinyModel, by_score, hypothesis
from transduce.decoding import BeamConfig, Hypothesis, beam_search
from transduce.decoding.diverse import diverse_beam_search
from transduce.errors import ConfigError
from transduce.text.pieces import IDS

pytestmark = pytest.mark.unit


def search(
    model: TinyModel,
    limits: Sequence[int],
    beam: int,
    groups: int,
    strength: float,
    alpha: float = 0.6,
    prefixes: Sequence[Sequence[int]] = (),
    forbidden: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    config = BeamConfig(beam=beam, alpha=alpha)
    start = model.start(beam)
    return diverse_beam_search(
        model.step,
        start,
        limits,
        config=config,
        groups=groups,
        strength=strength,
        ids=IDS,
        prefixes=prefixes,
        forbidden=forbidden,
    )


def slow_search(
    model: TinyModel, source: int, limit: int, beam: int, groups: int, strength: float, alpha: float
) -> list[Hypothesis]:
    """The same one prefix at a time, to the limit."""
    width = beam // groups
    live: list[list[tuple[tuple[int, ...], float, float]]] = [[((), 0.0, 0.0)] for _ in range(groups)]
    finished: list[list[Hypothesis]] = [[] for _ in range(groups)]
    for length in range(limit + 1):
        taken: Counter[int] = Counter()
        for g in range(groups):
            candidates = []
            for prefix, ranked, own in live[g]:
                after = model.log_probs(source, prefix)
                for piece in range(model.size) if length < limit else [IDS.eos]:
                    if piece not in NEVER:
                        lost = strength * taken[piece]
                        candidates.append((ranked + after[piece] - lost, own + after[piece], prefix, piece))
            candidates.sort(key=lambda candidate: -candidate[0])
            best = candidates[: 2 * width]
            finished[g] += [hypothesis(prefix, own, alpha) for _, own, prefix, piece in best if piece == IDS.eos]
            going = [((*prefix, piece), ranked, own) for ranked, own, prefix, piece in best if piece != IDS.eos]
            live[g] = going[:width]
            taken.update(prefix[-1] for prefix, _, _ in live[g])
    chosen: dict[tuple[int, ...], Hypothesis] = {}
    for outputs in finished:
        for h in by_score(outputs)[:groups]:
            if h.ids not in chosen:
                chosen[h.ids] = h
                break
    return by_score(list(chosen.values()))


@pytest.mark.parametrize("strength", [0.0, 0.5, 3.0])
@pytest.mark.parametrize(("beam", "groups"), [(3, 3), (4, 2), (6, 2), (4, 1)])
def test_it_finds_what_a_slow_search_finds(beam: int, groups: int, strength: float) -> None:
    limits = [7, 0, 4, 9]
    model = TinyModel(beam + groups, sources=4, size=9, ending=1.0)
    found = search(model, limits, beam, groups, strength)
    for source, limit in enumerate(limits):
        assert_same(found[source], slow_search(model, source, limit, beam, groups, strength, alpha=0.6))
        assert [h.log_prob for h in found[source]] == pytest.approx(
            [model.log_prob(source, h.ids) for h in found[source]], abs=1e-4
        )


def test_one_group_or_no_loss_is_beam_search() -> None:
    model, limits = TinyModel(2, sources=5, size=9, ending=1.0), [9, 3, 6, 0, 8]
    config = BeamConfig(beam=4)
    expected = beam_search(model.step, model.start(4), limits, config=config, ids=IDS, n_best=2)
    for one, other in zip(search(model, limits, 4, 1, 5.0), expected, strict=True):
        assert_same(one, other[:1])
    for one, other in zip(search(model, limits, 8, 2, 0.0), expected, strict=True):
        assert_same(one, other)


def test_outputs_are_distinct_sorted_and_more_diverse_than_n_best() -> None:
    model, limits = TinyModel(3, sources=12, size=12, ending=1.0), [10] * 12
    diverse = search(model, limits, 4, 4, 8.0)  # more than what separates its choices
    plain = beam_search(model.step, model.start(4), limits, config=BeamConfig(), ids=IDS, n_best=4)

    def firsts(found: list[list[Hypothesis]]) -> int:
        return sum(len({h.ids[:1] for h in outputs}) for outputs in found)

    for outputs in diverse:
        assert len({h.ids for h in outputs}) == len(outputs) == 4
        assert [h.score for h in outputs] == sorted((h.score for h in outputs), reverse=True)
    assert firsts(diverse) > firsts(plain)


def test_prefixes_and_forbidden_pieces() -> None:
    model = TinyModel(5, sources=3, size=9)
    prefixes: list[list[int]] = [[4, 5], [], [7]]
    found = search(model, [5, 5, 1], 4, 4, 0.8, prefixes=prefixes, forbidden=[6])
    for source, (outputs, prefix) in enumerate(zip(found, prefixes, strict=True)):
        assert outputs
        for h in outputs:
            assert list(h.ids[: len(prefix)]) == prefix
            assert 6 not in h.ids
            assert h.log_prob == pytest.approx(model.log_prob(source, h.ids), abs=1e-4)
    assert [h.ids for h in found[2]] == [(7,)]


def test_company_does_not_matter() -> None:
    model, limits = TinyModel(6, sources=4, size=9, ending=0.5), [6, 2, 9, 4]
    together = search(model, limits, 4, 2, 0.7)
    for source, limit in enumerate(limits):
        alone = diverse_beam_search(
            model.step,
            model.start(4, [source]),
            [limit],
            config=BeamConfig(),
            groups=2,
            strength=0.7,
            ids=IDS,
        )
        assert_same(alone[0], together[source])


def test_nothing_to_do_and_impossible_settings() -> None:
    model = TinyModel(0)
    assert search(model, [], 4, 2, 0.5) == []
    with pytest.raises(ConfigError, match="beam = 4 for 3 diverse outputs.*Give a beam that 3 divides"):
        search(model, [3], 4, 3, 0.5)
    for strength in (-0.1, math.nan, math.inf):
        with pytest.raises(ConfigError, match=r"must be from 0 \(no diversity\) up"):
            search(model, [3], 4, 2, strength)
