import itertools
import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from tests.decoding.tiny import TinyModel, all_outputs, slow_greedy
from transduce.decoding import Hypothesis, greedy, sample
from transduce.errors import ConfigError, TransduceError
from transduce.text.pieces import IDS

pytestmark = pytest.mark.unit


def draw(model: TinyModel, n: int, limit: int, seed: int, temperature: float = 1.0, top_k: int = 0) -> list[Hypothesis]:
    state = model.start(sources=[0] * n)
    return sample(model.step, state, [limit] * n, IDS, seeds(n, seed), temperature=temperature, top_k=top_k)


def seeds(n: int, seed: int) -> list[int]:
    return torch.randint(2**62, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


def probabilities(model: TinyModel, limit: int, temperature: float, top_k: int) -> dict[tuple[int, ...], float]:
    """Of every output, by multiplying the allowed pieces' renormalised probabilities along it."""
    found = {}
    for ids in all_outputs(model.size, limit):
        p = 1.0
        for i, piece in enumerate((*ids, IDS.eos)):
            if i == limit:
                break  # only the end symbol may follow
            after = torch.tensor(model.log_probs(0, ids[:i])[IDS.eos :]) / temperature
            if top_k:
                after[after < after.topk(top_k).values[-1]] = -math.inf
            p *= float(after.softmax(-1)[piece - IDS.eos])
        found[ids] = p
    return found


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.5, 0), (3.0, 0), (1.0, 2)])
def test_samples_follow_the_distribution(temperature: float, top_k: int) -> None:
    model = TinyModel(8, spread=1.0)
    n, limit = 20000, 3
    expected = probabilities(model, limit, temperature, top_k)
    assert sum(expected.values()) == pytest.approx(1.0, abs=1e-5)
    counts = Counter(h.ids for h in draw(model, n, limit, seed=1, temperature=temperature, top_k=top_k))
    assert not {ids for ids, p in expected.items() if p == 0} & counts.keys()
    likely = {ids: p for ids, p in expected.items() if n * p >= 5}
    rest = n * (1 - sum(likely.values()))
    cells = [(counts[ids], n * p) for ids, p in likely.items()]
    if rest >= 5:
        cells.append((n - sum(counts[ids] for ids in likely), rest))
    chi_square = sum((seen - wanted) ** 2 / wanted for seen, wanted in cells)
    freedom = len(cells) - 1
    assert freedom >= 5
    # Wilson and Hilferty's approximation of chi-square's quantile, at p = 0.001
    assert chi_square < freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3


def test_what_a_row_draws_follows_from_its_seed_alone() -> None:
    model = TinyModel(3, sources=40)

    def drawn(rows: list[int], seed: int) -> list[Hypothesis]:
        own = seeds(40, seed)
        state = model.start(sources=rows)
        return sample(model.step, state, [9 + i % 3 for i in rows], IDS, [own[i] for i in rows])

    first = drawn([*range(40)], 5)
    torch.rand(3)  # the global generator plays no part
    assert drawn([*range(40)], 5) == first
    assert [h.ids for h in drawn([31, 2, 17], 5)] == [first[i].ids for i in (31, 2, 17)]
    assert drawn([*range(40)], 6) != first


def test_log_prob_is_the_models_whatever_the_temperature() -> None:
    model = TinyModel(4)
    for h in draw(model, 30, 5, seed=0, temperature=2.0, top_k=3):
        assert h.log_prob == pytest.approx(model.log_prob(0, h.ids), abs=1e-4)
        assert h.score == h.log_prob


def test_limits_and_forbidden_ids() -> None:
    model = TinyModel(1, sources=200, size=12, ending=-1.0)
    limits = [i % 7 for i in range(200)]
    found = sample(model.step, model.start(), limits, IDS, seeds(200, 0), temperature=5.0, forbidden=[6, 8])
    assert all(len(h.ids) <= limit for h, limit in zip(found, limits, strict=True))
    assert {i for h in found for i in h.ids} == {4, 5, 7, 9, 10, 11}


@pytest.mark.parametrize(("temperature", "top_k"), [(1e-30, 0), (1e-6, 0), (1.0, 1)])
def test_cold_or_narrow_sampling_is_greedy(temperature: float, top_k: int) -> None:
    model = TinyModel(2)
    expected = slow_greedy(model, 0, 8)
    for h in draw(model, 5, 8, seed=0, temperature=temperature, top_k=top_k):
        assert h.ids == expected.ids


def test_top_k_beyond_the_vocabulary_is_all_of_it() -> None:
    model = TinyModel(2)
    assert draw(model, 20, 5, seed=0, top_k=100) == draw(model, 20, 5, seed=0)


def test_greedy_takes_the_best_allowed_piece() -> None:
    for seed, limit in itertools.product(range(6), (0, 1, 6)):
        model = TinyModel(seed, sources=3)
        for source, h in enumerate(greedy(model.step, model.start(), [limit] * 3, IDS)):
            expected = slow_greedy(model, source, limit)
            assert h.ids == expected.ids
            assert h.log_prob == h.score == pytest.approx(expected.log_prob, abs=1e-4)


def test_finished_rows_leave() -> None:
    model = TinyModel(3, sources=30, ending=2.0)
    greedy(model.step, model.start(), [20] * 30, IDS)
    assert model.rows[0] == 30
    assert model.rows == sorted(model.rows, reverse=True)
    assert len(set(model.rows)) > 2


def test_no_sources() -> None:
    model = TinyModel(0)
    assert greedy(model.step, model.start(), [], IDS) == []


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_impossible_temperature(temperature: float) -> None:
    with pytest.raises(ConfigError, match="temperature"):
        draw(TinyModel(0), 1, 3, seed=0, temperature=temperature)


def test_impossible_top_k_and_limit() -> None:
    with pytest.raises(ConfigError, match="top_k = -1"):
        draw(TinyModel(0), 1, 3, seed=0, top_k=-1)
    with pytest.raises(ConfigError, match="-2 pieces"):
        draw(TinyModel(0), 1, -2, seed=0)


def test_a_broken_model_is_an_error() -> None:
    model = TinyModel(0)
    model.write = torch.full_like(model.write, math.nan)

    def choose(seed: int) -> Tensor:
        draw(model, 1, 3, seed=seed)
        raise AssertionError

    with pytest.raises(TransduceError, match="not finite"):
        choose(0)
