"""The grid of Table 1: what is in it, and that a cell is what its settings say."""

from dataclasses import replace

import pytest
import torch

from transduce.errors import ConfigError
from transduce.lab.cells import Cell
from transduce.lab.costs import BUDGETS, Settings, cells, compute, machine, seconds
from transduce.lab.rivals import RIVALS

pytestmark = pytest.mark.unit

SETTINGS = Settings(
    lengths=(8, 16),
    at_widths=(8,),
    widths=(8, 16),
    at_length=8,
    sizes=(2, 4),
    paths=(5,),
    repeats=1,
    neighbourhood=4,
    sentence=8,
    batch=2,
)


def test_the_grid_is_every_layer_type_at_every_place_once() -> None:
    grid = cells(SETTINGS, threads=2)
    assert len(grid) == len({str(cell) for cell in grid})
    costs = [c for c in grid if c["what"] == "cost"]
    assert {c["rival"] for c in costs} == set(RIVALS)
    places = {(c["n"], c["d"]) for c in costs if c["threads"] == 1 and c["batch"] == 1}
    assert places == {(8, 8), (16, 8), (8, 16)}
    assert {(c["n"], c["d"]) for c in costs if c["threads"] == 2} == {(8, 16)}
    assert {c["w"] for c in costs if c["rival"] == "convolution"} == {2, 3, 4}
    assert {c["w"] for c in costs if c["rival"] == "restricted (layer)"} == {2, 4}
    assert {c["w"] for c in costs if c["rival"] == "GRU"} == {0}
    assert len([c for c in grid if c["what"] == "path"]) == 7
    assert len(cells(SETTINGS, threads=1)) < len(grid)


def test_what_reaches_nowhere_is_refused() -> None:
    for settings in ({"kernel": 1}, {"neighbourhood": 1}, {"sizes": (1, 2)}):
        with pytest.raises(ConfigError, match="a kernel and a neighbourhood have at least 2 positions"):
            replace(SETTINGS, **settings)
    assert [s.sizes[0] for s in BUDGETS.values()] == [4, 4, 4]


@pytest.mark.parametrize("name", ["self-attention (layer)", "LSTM"])
def test_a_cell_counts_the_same_every_time(name: str) -> None:
    cell: Cell = next(c for c in cells(SETTINGS, 1) if c.get("rival") == name and c["what"] == "cost")
    first, again = compute(cell), compute(cell)
    for part in ("forward", "both", "run"):
        assert first[part] == again[part]
    assert min(first["seconds_forward"], first["seconds_both"]) > 0
    fused = first["run"]["operations"] < first["both"]["operations"]
    assert fused == (name == "LSTM" and torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def test_threads_are_those_of_the_cell_and_then_as_before() -> None:
    before = torch.get_num_threads()
    asked: list[int] = []
    cell = next(c for c in cells(SETTINGS, before + 1) if c["what"] == "machine")
    result = compute(cell)
    asked.append(torch.get_num_threads())
    assert asked == [before]
    assert min(result[name] for name in ("flops", "bandwidth", "overhead")) > 0


def test_a_time_is_that_of_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("transduce.lab.costs.time.perf_counter", lambda: clock[0])

    def run() -> None:
        clock[0] += 0.001

    assert seconds(run, repeats=3, at_least=0.0035) == pytest.approx(0.001)
    assert clock[0] == pytest.approx(0.001 * (2 + 3 * 4))  # to find out how many, then three samples of them


def test_a_machine_computes_and_copies() -> None:
    found = machine(repeats=1)
    assert found["flops"] > 1e8
    assert found["bandwidth"] > 1e7
    assert found["overhead"] < 1e-2
