"""The cost model follows what a small step really takes, and measuring it changes nothing else."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from transduce import calibration
from transduce.calibration import MODEL, PIECES, calibrated_machine, step_ratio
from transduce.cost import Work, count, update_seconds
from transduce.data.collate import Batch
from transduce.device import Precision
from transduce.machine import measure_machine
from transduce.training.parallel import Cut
from transduce.training.trainer import BatchingConfig

pytestmark = pytest.mark.unit

UPDATE = count(MODEL, PIECES, PIECES, Work.full(BatchingConfig(max_tokens=1024), Cut(1, 1)))


@pytest.fixture(autouse=True)
def measured_anew() -> Iterator[None]:
    step_ratio.cache_clear()
    yield
    step_ratio.cache_clear()


def test_real_updates_are_timed_once() -> None:
    found = step_ratio("fp32")
    assert 0.1 <= found < 50
    assert step_ratio("fp32") == found


def test_random_numbers_and_threads_are_as_if_nothing_had_been_measured() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    calibrated_machine(2, "fp32")
    assert torch.equal(torch.rand(4), expected)
    assert torch.get_num_threads() == 2
    calibrated_machine(1, "fp32")
    calibrated_machine(2, "fp32")  # measured before
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_no_product_takes_as_many_times_longer_as_measured(
    monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    machine = measure_machine(1)
    slower = replace(machine, memory=machine.memory / 3, cache=machine.cache / 3, call=machine.call * 3)

    def three_times(model: object, optimizer: object, batch: Batch, precision: Precision) -> float:
        return update_seconds(count(MODEL, PIECES, PIECES, calibration._work(batch)), slower, precision)

    monkeypatch.setattr(calibration, "_update_seconds", three_times)
    assert step_ratio(precision) == pytest.approx(3)
    found = calibrated_machine(1, precision)
    assert (found.fp32, found.bf16) == (machine.fp32, machine.bf16)
    assert update_seconds(UPDATE, found, precision) == pytest.approx(update_seconds(UPDATE, slower, precision))


def test_updates_faster_than_their_products_are_said_to_be_leave_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_update_seconds", lambda *_: 1e-6)
    assert step_ratio("fp32") == 0.1
