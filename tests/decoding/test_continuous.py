"""The search over packed weights against `beam_search` over the plain model, and against exhaustive search."""

import itertools
import math
from collections.abc import Sequence

import pytest
import torch

from tests.decoding.test_beam import assert_same, random_sources, search_transformer, transformer
from tests.decoding.tiny import penalty
from transduce.data.collate import collate
from transduce.decoding import BeamConfig, Hypothesis, score_pairs
from transduce.decoding.continuous import continuous_beam_search
from transduce.errors import ConfigError, TransduceError
from transduce.nn import Transformer
from transduce.nn.inference import PackedTransformer
from transduce.text.pieces import IDS

pytestmark = pytest.mark.unit

PAPER = BeamConfig()


@torch.no_grad()
def search(
    model: Transformer,
    sources: Sequence[Sequence[int]],
    limits: Sequence[int],
    config: BeamConfig = PAPER,
    n_best: int = 1,
    places: int = 3,
    forbidden: Sequence[int] = (),
    prefixes: Sequence[Sequence[int]] = (),
    usual: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    packed = PackedTransformer(model, "fp32")
    ended = [[*source, IDS.eos] for source in sources]
    return continuous_beam_search(
        packed,
        ended,
        limits,
        config=config,
        n_best=n_best,
        places=places,
        forbidden=forbidden,
        prefixes=prefixes,
        usual=usual,
    )


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("sharpness", [1.0, 4.0])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("beam", [1, 2, 4])
def test_it_finds_what_the_plain_search_finds(beam: int, alpha: float, sharpness: float) -> None:
    model = transformer(12, seed=beam, sharpness=sharpness)
    sources = random_sources(11, 12, 9)
    limits = [2 * len(source) for source in sources]
    config = BeamConfig(beam=beam, alpha=alpha)
    expected = search_transformer(model, sources, limits, config, n_best=beam)
    for places in (1, 3, 20):
        for one, other in zip(search(model, sources, limits, config, beam, places), expected, strict=True):
            assert_same(one, other)


@pytest.mark.usefixtures("unchecked")
def test_what_it_waits_for_is_what_the_plain_search_waits_for() -> None:
    model, config = transformer(12, seed=5, sharpness=2.0), BeamConfig(beam=3, alpha=2.0)
    sources = random_sources(11, 12, 9)
    limits, usual = [len(source) + 20 for source in sources], [2] * 11
    expected = search_transformer(model, sources, limits, config, n_best=2, usual=usual)
    waited = search_transformer(model, sources, limits, config, n_best=2)
    assert [h.ids for [h, _] in expected] != [h.ids for [h, _] in waited]  # or nothing would be tested
    for one, other in zip(search(model, sources, limits, config, 2, usual=usual), expected, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_exhaustive_search(alpha: float) -> None:
    size, limit, source = 6, 4, [4, 5, 4]
    model = transformer(size, seed=1, sharpness=3.0)
    outputs = [ids for n in range(limit + 1) for ids in itertools.product((4, 5), repeat=n)]
    log_probs = score_pairs(model, collate([(source, ids) for ids in outputs]))
    ranked = sorted(zip(outputs, log_probs, strict=True), key=lambda pair: -pair[1] / penalty(len(pair[0]) + 1, alpha))
    [found] = search(model, [source], [limit], BeamConfig(beam=16, alpha=alpha), n_best=16)
    assert [h.ids for h in found] == [ids for ids, _ in ranked[:16]]
    assert [h.log_prob for h in found] == pytest.approx([log_prob for _, log_prob in ranked[:16]], abs=1e-4)


def test_log_probabilities_are_those_of_teacher_forcing() -> None:
    model = transformer(12, seed=5, sharpness=4.0)
    sources = random_sources(7, 12, 9)
    found = search(model, sources, [30] * 7, n_best=4)
    pairs = [(source, h.ids) for source, outputs in zip(sources, found, strict=True) for h in outputs]
    expected = score_pairs(model, collate(pairs))
    assert [h.log_prob for outputs in found for h in outputs] == pytest.approx(expected, abs=1e-4)


def test_what_is_forbidden_is_never_produced() -> None:
    model = transformer(8, seed=2)
    found = search(model, [[4, 5, 6]] * 3, [8] * 3, n_best=4, forbidden=[5, 6])
    assert {piece for outputs in found for h in outputs for piece in h.ids} <= {4, 7}


def test_nothing_to_do() -> None:
    assert search(transformer(8, seed=2), [], []) == []


def test_impossible_settings() -> None:
    model = transformer(8, seed=2)
    with pytest.raises(ConfigError, match="n_best = 5"):
        search(model, [[4]], [3], n_best=5)
    with pytest.raises(ConfigError, match="places = 0"):
        search(model, [[4]], [3], places=0)
    with pytest.raises(ConfigError, match="limits"):
        search(model, [[4]], [-1])
    with pytest.raises(ConfigError, match="end symbol"):
        search(model, [[4]], [3], forbidden=[IDS.eos])


def test_a_broken_model_is_an_error() -> None:
    model = transformer(8, seed=2)
    model.target.table.weight.data.fill_(math.nan)
    with pytest.raises(TransduceError, match="not finite"):
        search(model, [[4, 5]], [3])


@pytest.mark.parametrize("beam", [1, 4])
def test_prefixes_as_the_plain_search_has_them(beam: int) -> None:
    model = transformer(12, seed=beam, sharpness=4.0)
    sources = random_sources(9, 12, 9)
    prefixes: list[list[int]] = [[], [5], [6, 7, 8, 9, 10], [4] * 3, [], [11], [5, 5], [9], [10, 4]]
    limits = [max(len(source), len(prefix)) for source, prefix in zip(sources, prefixes, strict=True)]
    config = BeamConfig(beam=beam)
    expected = search_transformer(model, sources, limits, config, beam, prefixes)
    for places in (1, 3, 20):
        found = search(model, sources, limits, config, beam, places, prefixes=prefixes)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    pairs = [(source, h.ids) for source, outputs in zip(sources, expected, strict=True) for h in outputs]
    assert [h.log_prob for outputs in expected for h in outputs] == pytest.approx(
        score_pairs(model, collate(pairs)), abs=1e-4
    )
