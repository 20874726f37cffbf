"""Engines find the same outputs, whatever they share the work out to."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch

from tests.decoding.test_beam import assert_same, random_sources, transformer
from transduce.decoding import BeamConfig
from transduce.decoding.continuous import continuous_beam_search
from transduce.decoding.engines import PackedEngine, PlainEngine, choose_form, share
from transduce.errors import ConfigError
from transduce.nn.inference import PackedTransformer

pytestmark = pytest.mark.unit

CPU = torch.device("cpu")


@contextmanager
def computing() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("threads", [1, 2])
def test_packed_and_plain_find_the_same(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transduce.decoding.engines._SHORT", 5)  # lengths of 6 and of 30 do not share a batch
    model = transformer(12, seed=5, sharpness=2.0)
    sources = random_sources(20, 12, 5) + random_sources(9, 12, 30) + [[5]]
    limits, usual, config = [len(source) + 20 for source in sources], [2] * len(sources), BeamConfig(alpha=2.0)
    plain = PlainEngine(model, CPU, computing, batch_tokens=100, batch_rows=16)
    expected = plain.search(sources, limits, config=config, n_best=2, forbidden=[7], usual=usual)
    assert expected != plain.search(sources, limits, config=config, n_best=2, forbidden=[7])
    torch.set_num_threads(threads)
    engine = PackedEngine(model, "fp32")
    found = engine.search(sources, limits, config=config, n_best=2, forbidden=[7], usual=usual)
    assert torch.get_num_threads() == threads
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_eight_bits_are_for_the_processor() -> None:
    assert choose_form("int8", CPU)[0] == "int8"
    assert choose_form("fp32", CPU)[0] == "fp32"
    with pytest.raises(ConfigError, match="for the processor"):
        choose_form("int8", torch.device("cuda"))


@pytest.mark.parametrize("failing", [0, 1])
def test_when_one_share_fails_the_others_stop(failing: int) -> None:
    began = threading.Event()

    def decode(rows: Sequence[int], stopped: Callable[[], bool]) -> None:
        if failing in rows:
            began.wait(30)
            raise KeyboardInterrupt
        began.set()
        for _ in range(3000):
            if stopped():
                return
            time.sleep(0.01)
        pytest.fail("never told to stop")

    with pytest.raises(KeyboardInterrupt):
        share(range(2), decode, 2)


def test_a_search_that_is_stopped_goes_no_further() -> None:
    model = PackedTransformer(transformer(12, seed=5, sharpness=2.0), "fp32")
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return True

    found = continuous_beam_search(model, [[5, 6, 3]] * 3, [8] * 3, config=BeamConfig(beam=2), stopped=stopped)
    assert found == [[], [], []]
    assert asked == 1
