"""The cost model: its counts are those of the batches that are trained on, and its predictions follow the machine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.training.tiny import TINY, copying_corpus, make_trainer
from transduce.cost import (
    Work,
    count,
    orthogonalised,
    step_memory,
    trained_on,
    training_memory,
    update_seconds,
    validation_seconds,
)
from transduce.data.collate import collate
from transduce.machine import Machine
from transduce.sizes import flops_per_token, parameters
from transduce.training.optimizer import orthogonalise
from transduce.training.parallel import Cut
from transduce.training.trainer import BatchingConfig, TrainingConfig

pytestmark = pytest.mark.unit

MACHINE = Machine(threads=1, fp32=1e11, bf16=2e11, memory=2e10, cache=9e10, call=3e-6)
BATCHING = BatchingConfig(max_tokens=512, accumulate=3)
ONE = Cut(1, 1)
FULL = Work.full(BATCHING, ONE)


def test_work_is_that_of_the_batches_of_an_epoch(tmp_path: Path) -> None:
    corpus, batching = copying_corpus(tmp_path / "data"), BatchingConfig(max_tokens=40, accumulate=2)
    trainer = make_trainer(corpus, batching=batching)
    batches = [collate([corpus.pair(int(i)) for i in numbers]) for numbers in trainer.epoch_batches(0)]
    work = Work.of(corpus, batching, ONE, seed=trainer.training.seed)
    assert work.updates == -(-len(batches) // 2)
    assert work.source * work.updates == pytest.approx(sum(batch.source.numel() for batch in batches))
    assert work.target * work.updates == pytest.approx(sum(batch.target_in.numel() for batch in batches))
    assert work.parts * work.updates == pytest.approx(len(batches))
    assert work.pairs * work.updates == pytest.approx(len(corpus))
    assert work.longest == max(batch.source.shape[1] for batch in batches)
    assert work.largest == max(batch.source.numel() for batch in batches) <= 40
    assert 1 < work.length <= work.longest


def test_operations_are_those_of_the_sizes() -> None:
    n = count(TINY, 50, 50, FULL)
    assert 6 * n.multiplied == flops_per_token(TINY, 50, 50) * FULL.target


def test_muon_takes_what_its_products_take() -> None:
    """Those of `orthogonalise`, counted by PyTorch."""
    with FlopCounterMode(display=False) as counter:
        orthogonalise(torch.ones(1, 24, 40))
    assert 2 * orthogonalised(24, 40) == 2 * orthogonalised(40, 24) == counter.get_total_flops()
    adam, muon = count(TINY, 50, 50, FULL), count(TINY, 50, 50, FULL, "muon")
    assert muon.optimizing == 12 * orthogonalised(16, 16) + 4 * orthogonalised(16, 24)
    more = update_seconds(muon, MACHINE, "fp32") - update_seconds(adam, MACHINE, "fp32")
    assert more == pytest.approx(2 * muon.optimizing / MACHINE.fp32)


def test_a_faster_machine_is_faster_in_what_it_is_faster_in() -> None:
    n = count(TINY, 50, 50, FULL)
    now = update_seconds(n, MACHINE, "fp32")
    twice = Machine(threads=1, fp32=2e11, bf16=4e11, memory=4e10, cache=18e10, call=1.5e-6)
    assert update_seconds(n, twice, "fp32") == pytest.approx(now / 2)
    for part in ("fp32", "memory", "cache"):
        assert now / 2 < update_seconds(n, replace(MACHINE, **{part: 2 * getattr(MACHINE, part)}), "fp32") < now
    assert update_seconds(n, replace(MACHINE, bf16=1e10), "fp32") == now
    assert update_seconds(n, replace(MACHINE, bf16=1e10), "bf16") > update_seconds(n, MACHINE, "bf16")


@pytest.mark.parametrize("change", [{"n_layers": 3}, {"d_model": 32}, {"d_ff": 99}, {"n_heads": 4}])
def test_more_of_anything_takes_more(change: dict[str, Any]) -> None:
    more = replace(TINY, **change)
    for precision in ("fp32", "bf16"):
        assert _seconds(more, FULL, precision) > _seconds(TINY, FULL, precision)
        assert training_memory(more, 50, 50, FULL, precision) > training_memory(TINY, 50, 50, FULL, precision)


def test_batches_cost_time_each_and_memory_once() -> None:
    four = Work.full(replace(BATCHING, accumulate=12), ONE)
    assert _seconds(TINY, four, "fp32") == pytest.approx(4 * _seconds(TINY, FULL, "fp32"), rel=0.01)
    assert training_memory(TINY, 50, 50, four, "fp32") == training_memory(TINY, 50, 50, FULL, "fp32")
    large = Work.full(BatchingConfig(max_tokens=1024, accumulate=3), ONE)
    assert training_memory(TINY, 50, 50, large, "fp32") > training_memory(TINY, 50, 50, FULL, "fp32")
    assert _seconds(TINY, large, "fp32") < 2 * _seconds(TINY, FULL, "fp32")


def test_a_batch_is_cut_so_that_its_parts_do_not_take_more_memory() -> None:
    whole, four = (Work.full(BatchingConfig(max_tokens=1024 * n), Cut(1, n)) for n in (1, 4))
    assert training_memory(TINY, 50, 50, four, "fp32") == training_memory(TINY, 50, 50, whole, "fp32")
    assert _seconds(TINY, four, "fp32") == pytest.approx(4 * _seconds(TINY, whole, "fp32"), rel=0.01)


def test_an_average_of_the_weights_is_one_copy_more() -> None:
    five, four = (training_memory(TINY, 50, 50, FULL, "fp32", copies=copies) for copies in (5, 4))
    assert five - four == 4 * parameters(TINY, 50, 50)
    assert four == training_memory(TINY, 50, 50, FULL, "fp32")


def test_r_drop_does_everything_twice_but_the_weights_and_calls() -> None:
    training = TrainingConfig(r_drop=1.0)
    assert trained_on(FULL, TrainingConfig()) == FULL
    twice = trained_on(FULL, training)
    one, two = count(TINY, 50, 50, FULL), count(TINY, 50, 50, twice)
    assert (two.multiplied, two.kept, two.logits) == (2 * one.multiplied, 2 * one.kept, 2 * one.logits)
    assert (two.weights, two.sublayers) == (one.weights, one.sublayers)
    assert (twice.pairs, twice.updates) == (FULL.pairs, FULL.updates)
    assert training_memory(TINY, 50, 50, twice, "fp32") > training_memory(TINY, 50, 50, FULL, "fp32")


def test_lanes_share_the_work_but_not_the_weights() -> None:
    works = [Work.full(BatchingConfig(max_tokens=2048), Cut(lanes, 2)) for lanes in (1, 2)]
    only = {"fp32": 1e30, "bf16": 1e30, "memory": 1e30, "cache": 1e30, "call": 0.0}

    def gained(part: str) -> float:
        machine = Machine(threads=1, **{**only, part: getattr(MACHINE, part)})
        one, two = (update_seconds(count(TINY, 50, 50, work), machine, "fp32") for work in works)
        return one / two

    assert [round(gained(part), 3) for part in ("fp32", "cache", "memory", "call")] == [2, 2, 1, 2]
    one, two = (training_memory(TINY, 50, 50, work, "fp32") for work in works)
    assert two - one == 4 * parameters(TINY, 50, 50) + round(step_memory(TINY, 50, works[0], "fp32"))


def test_memory_stands_on_what_the_process_holds() -> None:
    with_more = training_memory(TINY, 50, 50, FULL, "fp32", base=10**9)
    assert with_more == training_memory(TINY, 50, 50, FULL, "fp32", base=0) + 10**9


def test_choosing_the_model_decides_where_a_step_is_small() -> None:
    """Weights with gradient and two moments, then six more copies of weights: 40 bytes for each."""
    work = Work.full(BatchingConfig(max_tokens=16), ONE)
    small, large = (training_memory(replace(TINY, d_model=512), v, v, work, "fp32") for v in (20_000, 50_000))
    assert large - small == 40 * 512 * 30_000


def test_validations_cost_by_the_pair() -> None:
    one = validation_seconds(2.0, FULL, scored=30, decoded=10)
    assert validation_seconds(2.0, FULL, scored=60, decoded=20) == pytest.approx(2 * one)
    assert validation_seconds(4.0, FULL, scored=30, decoded=10) == pytest.approx(2 * one)


def _seconds(c: Any, work: Work, precision: Any) -> float:
    return update_seconds(count(c, 50, 50, work), MACHINE, precision)
