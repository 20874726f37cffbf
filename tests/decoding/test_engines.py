"""Engines find the same outputs, whatever they share the work out to."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from tests.decoding.test_beam import assert_same, random_sources, transformer
from transduce.decoding import BeamConfig
from transduce.decoding.engines import PackedEngine, PlainEngine, choose_form
from transduce.errors import ConfigError

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
