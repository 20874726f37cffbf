"""The quick budget of every laboratory, as people run it: a report in under a minute."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def laboratory(name: str, folder: Path, *more: str) -> dict[str, Any]:
    """Its report. Processor time is measured: wall time is that of whatever else runs."""
    before = processor_seconds()
    command = [sys.executable, "-m", "transduce", "lab", name, "--budget", "quick", "--out", str(folder), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert processor_seconds() - before < 60
    assert (folder / "report.html").is_file()
    found: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert done.stdout.splitlines() == found["seen"]
    return found


@pytest.mark.slow
def test_table1(tmp_path: Path) -> None:
    seen = laboratory("table1", tmp_path / "out")["seen"]
    assert "Sequential operations: exactly O(1) or O(n), for all 9 rows." in seen
    assert "Path lengths: the closed form, for all 7 rows." in seen


@pytest.mark.slow
def test_residual(tmp_path: Path, benchmark_data: Path) -> None:
    found = laboratory("residual", tmp_path / "out", "--data", str(benchmark_data))
    assert len(found["seen"]) == 8


@pytest.mark.learn
def test_figures(tmp_path: Path) -> None:
    assert "No model was given" in str(laboratory("figures", tmp_path / "out")["seen"])
