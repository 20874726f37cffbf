import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.conftest import run_time_checks
from tests.decoding.tiny import TinyModel, TinyState, exhaustive_search, penalty, slow_beam_search, slow_greedy
from transduce.data.collate import collate, pad_rows
from transduce.decoding import BeamConfig, Hypothesis, beam_search, greedy, score_pairs
from transduce.errors import ConfigError, TransduceError
from transduce.nn import Transformer, TransformerConfig, build
from transduce.text.pieces import IDS

pytestmark = pytest.mark.unit

TINY = TransformerConfig(n_layers=2, d_model=16, d_ff=32, n_heads=2, d_k=8, d_v=8)


def search(
    model: TinyModel,
    limits: Sequence[int],
    beam: int,
    alpha: float,
    n_best: int = 1,
    forbidden: Sequence[int] = (),
    prefixes: Sequence[Sequence[int]] = (),
    usual: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    return beam_search(
        model.step,
        model.start(beam),
        limits,
        config=BeamConfig(beam=beam, alpha=alpha),
        ids=IDS,
        n_best=n_best,
        forbidden=forbidden,
        prefixes=prefixes,
        usual=usual,
    )


def transformer(size: int, seed: int, sharpness: float = 1.0) -> Transformer:
    """A random Transformer in float32; `sharpness` above 1 makes its distributions peaked, as a trained model's are."""
    torch.manual_seed(seed)
    model = build(replace(TINY, share_embeddings="none"), size, size, IDS.pad).eval()
    assert model.output is not None
    model.output.weight.data *= sharpness
    return model


@torch.no_grad()
def search_transformer(
    model: Transformer,
    sources: Sequence[Sequence[int]],
    limits: Sequence[int],
    config: BeamConfig,
    n_best: int = 1,
    prefixes: Sequence[Sequence[int]] = (),
    usual: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    state = model.start(pad_rows([[*source, IDS.eos] for source in sources]), config.beam)
    return beam_search(model.step, state, limits, config=config, ids=IDS, n_best=n_best, prefixes=prefixes, usual=usual)


def random_sources(n: int, size: int, longest: int) -> list[list[int]]:
    lengths = torch.randint(1, longest + 1, (n,)).tolist()
    return [torch.randint(4, size, (length,)).tolist() for length in lengths]


def assert_same(found: Sequence[Hypothesis], expected: Sequence[Hypothesis], tolerance: float = 1e-4) -> None:
    assert [h.ids for h in found] == [h.ids for h in expected]
    assert [h.log_prob for h in found] == pytest.approx([h.log_prob for h in expected], abs=tolerance)
    assert [h.score for h in found] == pytest.approx([h.score for h in expected], abs=tolerance)


@pytest.mark.parametrize(
    ("seed", "alpha", "limit"), [*itertools.product(range(4), [0.0, 0.6, 1.5], [1, 3]), (9, 0.6, 0), (9, 0.6, 4)]
)
def test_a_beam_wide_enough_finds_what_exhaustive_search_finds(seed: int, alpha: float, limit: int) -> None:
    model = TinyModel(seed)
    everything = exhaustive_search(model, 0, limit, alpha)
    beam = max(1, 3**limit)  # all prefixes of the longest length
    [found] = search(model, [limit], beam, alpha, n_best=min(beam, 5))
    assert_same(found, everything[: len(found)])
    assert len(found) == min(beam, 5, len(everything))


@pytest.mark.parametrize("alpha", [0.0, 0.6])
@pytest.mark.parametrize("seed", range(3))
def test_exhaustive_search_on_a_transformer(seed: int, alpha: float) -> None:
    size, limit, source = 6, 4, [4, 5, 4]
    model = transformer(size, seed, sharpness=3.0)
    outputs = [ids for n in range(limit + 1) for ids in itertools.product((4, 5), repeat=n)]
    log_probs = score_pairs(model, collate([(source, ids) for ids in outputs]))
    ranked = sorted(zip(outputs, log_probs, strict=True), key=lambda pair: -pair[1] / penalty(len(pair[0]) + 1, alpha))
    [found] = search_transformer(model, [source], [limit], BeamConfig(beam=16, alpha=alpha), n_best=16)
    assert [h.ids for h in found] == [ids for ids, _ in ranked[:16]]
    assert [h.log_prob for h in found] == pytest.approx([log_prob for _, log_prob in ranked[:16]], abs=1e-4)


@pytest.mark.parametrize("ending", [-2.0, 3.0, 7.0])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("beam", [1, 2, 4])
def test_early_termination_changes_nothing(ending: float, alpha: float, beam: int) -> None:
    limits = [9, 0, 5, 12, 1, 9]
    model = TinyModel(int(10 * alpha) + beam, sources=6, size=9, ending=ending)
    found = search(model, limits, beam, alpha, n_best=beam)
    for source, limit in enumerate(limits):
        assert_same(found[source], slow_beam_search(model, source, limit, beam, alpha)[:beam])


def test_the_search_does_stop_early_and_finished_sentences_leave() -> None:
    model = TinyModel(3, sources=8, size=12, ending=4.0)
    search(model, [60] * 8, beam=3, alpha=0.6)
    assert len(model.rows) < 30
    assert model.rows[0] == 24
    assert model.rows == sorted(model.rows, reverse=True)
    assert len(set(model.rows)) > 2


@pytest.mark.parametrize("ending", [-2.0, 1.0, 3.0])
@pytest.mark.parametrize("beam", [1, 2, 4])
def test_no_output_of_usual_length_would_be_better(ending: float, beam: int) -> None:
    limits, usual = [9, 0, 5, 12, 12, 9], [4, 3, 5, 0, 20, 6]
    model = TinyModel(beam, sources=6, size=9, ending=ending)
    found = search(model, limits, beam, alpha=2.0, n_best=beam, usual=usual)
    for source, (limit, longest) in enumerate(zip(limits, usual, strict=True)):
        everything = slow_beam_search(model, source, limit, beam, alpha=2.0)
        waited_for = [h for h in everything if len(h.ids) <= longest][:beam]
        assert all(one.score >= other.score - 1e-4 for one, other in zip(found[source], waited_for, strict=False))
        assert {h.ids for h in found[source]} <= {h.ids for h in everything}
        if longest >= limit:
            assert_same(found[source], everything[:beam])


def test_longer_outputs_are_found_but_not_waited_for() -> None:
    steps = []
    for usual in ((), [10] * 8):
        model = TinyModel(3, sources=8, size=12, ending=4.0)
        outputs = search(model, [60] * 8, beam=3, alpha=1.0, usual=usual)
        assert all(outputs)
        steps.append(len(model.rows))
    assert steps[1] < steps[0] // 2
    endless = TinyModel(5, size=9, ending=-30.0)  # ends where it must
    [[best]] = search(endless, [12], beam=3, alpha=0.6, usual=[2])
    assert len(best.ids) == 12


def test_usual_lengths_are_as_many_as_limits() -> None:
    with pytest.raises(ConfigError, match="usual: 1 lengths for 2 sources"):
        search(TinyModel(0, sources=2), [3, 3], beam=2, alpha=0.6, usual=[3])


def test_a_beam_of_one_is_greedy_whatever_alpha_is() -> None:
    for seed in range(6):
        model = TinyModel(seed, sources=3, ending=seed % 3)
        found = search(model, [7, 2, 15], beam=1, alpha=seed / 5)
        followed = greedy(model.step, model.start(), [7, 2, 15], IDS)
        for source, limit in enumerate([7, 2, 15]):
            expected = slow_greedy(model, source, limit)
            assert found[source][0].ids == followed[source].ids == expected.ids
            assert found[source][0].log_prob == pytest.approx(expected.log_prob, abs=1e-4)


@pytest.mark.parametrize("sharpness", [1.0, 4.0])
def test_scores_are_the_teacher_forced_ones(sharpness: float) -> None:
    model = transformer(50, 1, sharpness)
    sources = random_sources(6, 50, longest=9)
    config = BeamConfig(beam=3, alpha=0.6)
    found = search_transformer(model, sources, [len(s) + 30 for s in sources], config, n_best=3)
    for source, hypotheses in zip(sources, found, strict=True):
        with torch.no_grad():
            expected = score_pairs(model, collate([(source, h.ids) for h in hypotheses]))
        assert [h.log_prob for h in hypotheses] == pytest.approx(expected, abs=1e-4)
        lengths = [len(h.ids) + 1 for h in hypotheses]
        scores = [p / penalty(n, 0.6) for p, n in zip(expected, lengths, strict=True)]
        assert [h.score for h in hypotheses] == pytest.approx(scores, abs=1e-4)


def test_batching_does_not_matter() -> None:
    model = transformer(50, 2, sharpness=4.0)
    sources = random_sources(6, 50, longest=10)
    limits = [len(s) + 5 for s in sources]
    config = BeamConfig(beam=4)
    together = search_transformer(model, sources, limits, config, n_best=4)
    for n in (1, 4):  # alone, and in other company
        apart = [
            found
            for i in range(0, len(sources), n)
            for found in search_transformer(model, sources[i : i + n], limits[i : i + n], config, n_best=4)
        ]
        for one, other in zip(together, apart, strict=True):
            assert_same(one, other)


def test_n_best_outputs_are_distinct_and_sorted_and_the_best_do_not_depend_on_n() -> None:
    model = TinyModel(5, sources=10, size=12, ending=2.0)
    limits = [15] * 10
    four = search(model, limits, beam=4, alpha=0.6, n_best=4)
    for hypotheses in four:
        assert len(hypotheses) == len({h.ids for h in hypotheses}) == 4
        scores = [h.score for h in hypotheses]
        assert scores == sorted(scores, reverse=True)
    for n in (1, 2, 3):
        assert search(model, limits, beam=4, alpha=0.6, n_best=n) == [found[:n] for found in four]


def test_there_may_be_fewer_outputs_than_asked_for() -> None:
    [[only]] = search(TinyModel(0), [0], beam=4, alpha=0.6, n_best=4)
    assert only.ids == ()
    [found] = search(TinyModel(0, size=5), [2], beam=4, alpha=0.6, n_best=4)  # one piece: (), (4,), (4, 4)
    assert sorted(h.ids for h in found) == [(), (4,), (4, 4)]


def test_limits_are_kept_and_reached() -> None:
    limits = [0, 1, 2, 17]
    found = search(TinyModel(1, sources=4, size=12, ending=-20.0), limits, beam=2, alpha=0.6)
    assert [len(hypotheses[0].ids) for hypotheses in found] == limits


def test_forbidden_and_special_ids_never_appear_and_nothing_is_renormalised() -> None:
    model = TinyModel(2, sources=6, size=12, spread=6.0)
    for special in (IDS.pad, IDS.unk, IDS.bos, 7, 9):
        model.write[:, special] *= 3  # they would often be the best choice
    found = search(model, [8] * 6, beam=3, alpha=0.6, n_best=3, forbidden=[7, 9])
    for source, hypotheses in enumerate(found):
        assert not {IDS.pad, IDS.unk, IDS.bos, IDS.eos, 7, 9} & {i for h in hypotheses for i in h.ids}
        assert_same(hypotheses, slow_beam_search(model, source, 8, 3, 0.6, forbidden=[7, 9])[:3])
        assert [h.log_prob for h in hypotheses] == pytest.approx(
            [model.log_prob(source, h.ids) for h in hypotheses], abs=1e-4
        )


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.5])
@pytest.mark.parametrize("prefix", [[], [5], [4, 6], [6, 6, 5]])
def test_with_a_prefix_it_finds_what_exhaustive_search_finds_among_outputs_that_begin_so(
    prefix: list[int], alpha: float
) -> None:
    model, limit = TinyModel(len(prefix)), 4
    begin = [h for h in exhaustive_search(model, 0, limit, alpha) if list(h.ids[: len(prefix)]) == prefix]
    beam = 3 ** (limit - len(prefix))
    [found] = search(model, [limit], beam, alpha, n_best=beam, prefixes=[prefix])
    assert_same(found, begin[:beam])


def test_prefixes_in_a_batch_are_each_sentences_own_and_count_in_its_score() -> None:
    model, limits = TinyModel(3, sources=5, size=9, ending=1.0), [6, 3, 9, 0, 4]
    prefixes: list[list[int]] = [[4, 5], [8, 8, 8], [], [], [7]]
    found = search(model, limits, beam=3, alpha=0.6, n_best=3, forbidden=[6], prefixes=prefixes)
    without = search(model, limits, beam=3, alpha=0.6, n_best=3, forbidden=[6])
    for source, (hypotheses, prefix) in enumerate(zip(found, prefixes, strict=True)):
        assert all(list(h.ids[: len(prefix)]) == prefix for h in hypotheses)
        assert [h.log_prob for h in hypotheses] == pytest.approx(
            [model.log_prob(source, h.ids) for h in hypotheses], abs=1e-4
        )
        if not prefix:
            assert hypotheses == without[source]
    assert [h.ids for h in found[1]] == [(8, 8, 8)]


def test_the_beginning_of_what_was_found_changes_nothing() -> None:
    model = TinyModel(4, sources=6, size=12, ending=1.0)
    limits = [12] * 6
    best = [h[0] for h in search(model, limits, beam=1, alpha=0.6)]
    for n in range(4):
        again = search(model, limits, beam=1, alpha=0.6, prefixes=[h.ids[:n] for h in best])
        assert_same([h[0] for h in again], best)


@pytest.mark.parametrize(
    ("prefixes", "message"),
    [
        ([[4], [5]], "2 of them for 1 sources. Give one for each"),
        ([[4, 4, 4, 4]], "4 pieces, but the limit is 3. Raise the limit"),
        ([[4, IDS.eos]], f"piece {IDS.eos} is never produced"),
        ([[IDS.unk]], f"piece {IDS.unk} is never produced"),
        ([[5, 6]], "piece 6 is never produced inside an output. Leave it out"),
    ],
)
def test_impossible_prefixes(prefixes: list[list[int]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        search(TinyModel(0), [3], beam=2, alpha=0.6, forbidden=[6], prefixes=prefixes)


def test_everything_but_the_end_forbidden() -> None:
    [[found]] = search(TinyModel(0), [5], beam=2, alpha=0.6, forbidden=[4, 5, 6])
    assert found.ids == ()


def test_logits_of_any_type_are_read_and_left_alone() -> None:
    model = TinyModel(4, size=12)
    kept: list[tuple[Tensor, Tensor]] = []

    def step(previous: Tensor, state: TinyState) -> tuple[Tensor, TinyState]:
        logits, state = model.step(previous, state)
        logits = logits.bfloat16()
        kept.append((logits, logits.clone()))
        return logits, state

    [[found]] = beam_search(step, model.start(4), [6], config=BeamConfig(), ids=IDS)
    assert math.isfinite(found.score)
    assert all(torch.equal(logits, copy) for logits, copy in kept)


def test_no_sources() -> None:
    assert search(TinyModel(0), [], beam=4, alpha=0.6) == []


def test_impossible_settings() -> None:
    with run_time_checks(False), pytest.raises(ConfigError, match="beam = '4': must be a whole number"):
        BeamConfig(beam="4")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="beam = 0"):
        BeamConfig(beam=0)
    for alpha in (-0.1, math.nan, math.inf, 11.0):
        with pytest.raises(ConfigError, match="alpha"):
            BeamConfig(alpha=alpha)
    for n_best in (0, 5):
        with pytest.raises(ConfigError, match=f"n_best = {n_best}"):
            search(TinyModel(0), [3], beam=4, alpha=0.6, n_best=n_best)
    with pytest.raises(ConfigError, match="-1 pieces"):
        search(TinyModel(0), [-1], beam=4, alpha=0.6)
    with pytest.raises(ConfigError, match="end symbol"):
        search(TinyModel(0), [3], beam=4, alpha=0.6, forbidden=[IDS.eos])


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_broken_model_is_an_error_not_an_endless_search(broken: float) -> None:
    model = TinyModel(0)
    model.write[:, 5] = broken
    with pytest.raises(TransduceError, match="not finite"):
        search(model, [4], beam=2, alpha=0.6)
