"""The cost model follows what a small step really takes, and measuring it changes nothing else."""

from collections.abc import Iterator

import pytest
import torch

from transduce import calibration
from transduce.calibration import MODEL, PIECES, calibrated_machine, step_ratio
from transduce.cost import Work, count, update_seconds
from transduce.device import Chosen
from transduce.machine import measure_machine
from transduce.training.parallel import Cut
from transduce.training.trainer import BatchingConfig

pytestmark = pytest.mark.unit

UPDATE = count(MODEL, PIECES, PIECES, Work.full(BatchingConfig(max_tokens=1024), Cut(1, 1)))


@pytest.fixture(autouse=True)
def measured_anew() -> Iterator[None]:
    threads = torch.get_num_threads()
    step_ratio.cache_clear()
    yield
    step_ratio.cache_clear()
    torch.set_num_threads(threads)


def test_real_updates_are_timed_once() -> None:
    found = step_ratio("fp32")
    assert 0.02 < found < 50
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
def test_an_update_takes_as_many_times_longer_as_the_measured_ones(
    monkeypatch: pytest.MonkeyPatch, precision: Chosen
) -> None:
    said = update_seconds(UPDATE, measure_machine(1), precision)
    monkeypatch.setattr(calibration, "_update_seconds", lambda model, optimizer, batch, precision: said * 3)
    found = update_seconds(UPDATE, calibrated_machine(1, precision), precision)
    assert found == pytest.approx(said * step_ratio(precision))
    assert step_ratio(precision) == pytest.approx(3, rel=0.3)  # the batches have other lengths than `UPDATE`
