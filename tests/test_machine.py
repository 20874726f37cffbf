"""What the machine is and how fast: plausible numbers, the best of several measurements, and quickly."""

import os
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from transduce import machine
from transduce.machine import (
    instructions,
    measure_machine,
    memory,
    peak_resident,
    processor,
    resident,
    usable_processors,
)

pytestmark = pytest.mark.unit


def test_speeds_are_measured_once_and_fast() -> None:
    threads = torch.get_num_threads()
    start = time.perf_counter()
    found = measure_machine(threads)
    assert measure_machine(threads) is found
    assert time.perf_counter() - start < 10  # about 0.6 on an idle machine
    assert found.threads == threads
    assert found.fp32 > 1e8
    assert found.bf16 > 1e6  # where no unit multiplies it, it is slow
    assert min(found.memory, found.cache) > 1e7
    assert 0 < found.call < 1e-2


def test_the_gain_of_bf16_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = iter([(4e9, 1e9)])
    monkeypatch.setattr(machine, "_product_speeds", lambda: next(speeds))
    machine.bf16_gain.cache_clear()
    assert machine.bf16_gain() == 0.25
    assert machine.bf16_gain() == 0.25
    machine.bf16_gain.cache_clear()


def test_the_best_of_several_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now, costs = [0.0], iter([9.0, 0.01, 0.005, 0.02, 1.0])  # the first one warms up, and is not counted

    def work() -> None:
        now[0] += next(costs)

    for clock in ("perf_counter", "thread_time"):
        monkeypatch.setattr(time, clock, lambda: now[0])
    assert machine._best(work) == pytest.approx(0.005)
    assert next(costs) == 1.0


def test_memory_of_the_machine_and_of_this_process() -> None:
    held = memory()
    assert 0 < held.get("free", 1) <= held["total"]
    block = bytearray(64 << 20)
    block[::4096] = b"x" * len(block[::4096])
    assert resident() >= len(block)
    assert peak_resident() >= resident()
    assert peak_resident() < held["total"]


def test_a_container_has_what_it_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, free = tmp_path / "outer" / "inner", memory()
    own.mkdir(parents=True)
    monkeypatch.setattr(machine, "_control_groups", lambda: [own, own.parent, tmp_path])
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert (usable_processors(), memory()["total"]) == (64, free["total"])
    (own / "cpu.max").write_text("max 100000\n")
    (own / "memory.max").write_text("max\n")
    assert (usable_processors(), memory()["total"]) == (64, free["total"])
    (own.parent / "cpu.max").write_text("250000 100000\n")
    for name, value in {"max": 2**20, "current": 2**19, "stat": "anon 7\ninactive_file 1024"}.items():
        (own.parent / f"memory.{name}").write_text(f"{value}\n")
    assert usable_processors() == 2
    assert memory() == {"total": 2**20, "free": 2**19 + 1024}
    (own / "cpu.max").write_text("50000 100000\n")
    assert usable_processors() == 1


def test_the_groups_of_this_process_are_looked_at(tmp_path: Path) -> None:
    found = machine._control_groups(tmp_path)
    assert found[-1] == tmp_path
    assert all(outer == inner.parent for inner, outer in pairwise(found))


def test_without_a_proc_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    linux = peak_resident()

    def missing(file: str, key: str) -> int:
        raise FileNotFoundError(file)

    monkeypatch.setattr(machine, "_kilobytes", missing)
    assert "free" not in memory()
    assert resident() == peak_resident() >= linux // 2


def test_the_processor_and_its_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processor()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": True, "avx512_f": False})
    assert instructions() == ["AVX2", "AMX-BF16"]
