"""One search for several alphas finds what a search for each of them finds."""

import pytest

from tests.decoding.tiny import TinyModel, exhaustive_search
from transduce.decoding import BeamConfig, beam_search
from transduce.decoding.beam import beam_search_alphas
from transduce.errors import ConfigError, TransduceError
from transduce.text.pieces import IDS

pytestmark = pytest.mark.unit

ALPHAS = (0.0, 0.3, 0.6, 1.0, 2.0, 6.0)


@pytest.mark.parametrize("beam", [1, 2, 4])
@pytest.mark.parametrize("ending", [-1.5, 1.5])
@pytest.mark.parametrize("all_of_them", [False, True])
def test_the_same_outputs_as_one_search_each(beam: int, ending: float, all_of_them: bool) -> None:
    n_best = beam if all_of_them else 1
    differ = 0
    for seed in range(2):
        model, limits = TinyModel(seed, sources=7, size=9, ending=ending), [5, 3, 0, 7, 4, 5, 9]
        together = beam_search_alphas(
            model.step, model.start(beam), limits, beam=beam, alphas=ALPHAS, ids=IDS, n_best=n_best
        )
        for i, alpha in enumerate(ALPHAS):
            search = BeamConfig(beam=beam, alpha=alpha)
            alone = beam_search(model.step, model.start(beam), limits, config=search, ids=IDS, n_best=n_best)
            for one, many in zip(alone, together, strict=True):
                assert [h.ids for h in many[i]] == [h.ids for h in one]
                assert [h.score for h in many[i]] == pytest.approx([h.score for h in one], abs=1e-6)
                assert [h.log_prob for h in many[i]] == pytest.approx([h.log_prob for h in one], abs=1e-6)
        differ += sum(len({outputs[0].ids for outputs in each}) > 1 for each in together)
    assert beam == 1 or differ  # or this test would show nothing


def test_each_alpha_waits_for_outputs_as_it_does_alone() -> None:
    limits, usual, differ = [9, 5, 12, 12, 9, 9], [2, 3, 2, 4, 1, 9], 0
    for seed in range(4):
        model = TinyModel(seed, sources=6, size=9, ending=1.0)
        together = beam_search_alphas(
            model.step, model.start(3), limits, beam=3, alphas=ALPHAS, ids=IDS, n_best=2, usual=usual
        )
        for i, alpha in enumerate(ALPHAS):
            search = BeamConfig(beam=3, alpha=alpha)
            alone = beam_search(model.step, model.start(3), limits, config=search, ids=IDS, n_best=2, usual=usual)
            assert [[h.ids for h in many[i]] for many in together] == [[h.ids for h in one] for one in alone]
            waiting = beam_search(model.step, model.start(3), limits, config=search, ids=IDS, n_best=2)
            differ += [[h.ids for h in one] for one in alone] != [[h.ids for h in one] for one in waiting]
    assert differ  # or this test would show nothing


def test_a_wide_beam_finds_the_best_for_every_alpha() -> None:
    model = TinyModel(4, size=6)
    ((*found,),) = beam_search_alphas(model.step, model.start(200), [3], beam=200, alphas=ALPHAS, ids=IDS)
    assert [best.ids for [best] in found] == [exhaustive_search(model, 0, 3, alpha)[0].ids for alpha in ALPHAS]


def test_it_costs_one_search() -> None:
    model = TinyModel(1, sources=3)
    beam_search_alphas(model.step, model.start(3), [6, 6, 6], beam=3, alphas=ALPHAS, ids=IDS)
    together = sum(model.rows)
    each = []
    for alpha in ALPHAS:
        model.rows.clear()
        beam_search(model.step, model.start(3), [6, 6, 6], config=BeamConfig(beam=3, alpha=alpha), ids=IDS)
        each.append(sum(model.rows))
    assert together <= 7 * 9
    assert together >= max(each)  # a sentence goes on until the last alpha is done


def test_nothing_to_search_and_what_is_refused() -> None:
    model = TinyModel(1)
    assert beam_search_alphas(model.step, model.start(2), [], beam=2, alphas=[0.0], ids=IDS) == []
    assert beam_search_alphas(model.step, model.start(2), [3], beam=2, alphas=[], ids=IDS) == [[]]
    with pytest.raises(ConfigError, match="alpha = 11"):
        beam_search_alphas(model.step, model.start(2), [3], beam=2, alphas=[0.6, 11.0], ids=IDS)
    with pytest.raises(ConfigError, match="limits: -1"):
        beam_search_alphas(model.step, model.start(2), [-1], beam=2, alphas=[0.6], ids=IDS)
    broken = TinyModel(1, spread=float("nan"))
    with pytest.raises(TransduceError, match="not finite"):
        beam_search_alphas(broken.step, broken.start(2), [3], beam=2, alphas=[0.6], ids=IDS)
