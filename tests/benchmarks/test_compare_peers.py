"""Ratios and tables from made-up rounds, environments that are found, options that are refused."""

from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks import compare_peers, train_step
from benchmarks.cases import Case, Precision, Record, merged
from benchmarks.compare_peers import Measured, installed, ratio, summary, table
from benchmarks.train_step import Runner

pytestmark = pytest.mark.unit


def record(seconds: float, tool: str, cpu: float = 1.0, mib: int = 100) -> Record:
    """A pass of one step with 100 tokens."""
    return {
        "tool": tool,
        "version": "1",
        "pass_seconds": [seconds],
        "tokens_per_second": 100 / seconds,
        "target_tokens": 100,
        "steps": 1,
        "warm_up_seconds": 1.0,
        "cpu_seconds_per_step": cpu,
        "gemm_peak_gflops": 10.0,
        "mfu": 0.1,
        "peak_rss_mib": mib,
    }


def measured(precision: Precision, ours: list[Record], **peers: list[Record]) -> list[Measured]:
    case = Case(model="base", precision=precision)
    found = [Measured(case, "transduce", merged(ours), [])]
    for name, theirs in peers.items():
        found.append(Measured(case, name, merged(theirs), list(zip(ours, theirs, strict=True))))
    return found


def both() -> list[Measured]:
    fp32 = measured(
        "fp32", [record(2.0, "transduce", mib=90)], slow=[record(4.0, "slow", mib=60)], fast=[record(2.5, "fast")]
    )
    bf16 = measured("bf16", [record(1.0, "transduce", mib=80)], slow=[record(2.0, "slow", mib=70)])
    return fp32 + bf16


def test_ratios_are_between_neighbours() -> None:
    """The machine was twice as slow in the second round, and in the third only for them."""
    pairs = [(record(1, "us"), record(2, "x")), (record(2, "us"), record(4, "x")), (record(1, "us"), record(6, "x"))]
    found = ratio(pairs, "wall")
    assert found == (2.0, 2.0, 6.0)
    assert str(found) == "2.00 (2.00 to 6.00)"
    assert ratio([(record(1, "us", cpu=2.0), record(9, "x", cpu=3.0))], "cpu") == (1.5, 1.5, 1.5)
    assert ratio([(record(1, "us"), {"error": "?"})], "wall") is None


def test_the_best_of_ours_over_the_best_of_theirs() -> None:
    fp32, bf16, best = summary(both(), "wall")
    assert (fp32["best_peer"], fp32["speed_ratio"]) == ("fast fp32", 1.25)
    assert (bf16["best_peer"], bf16["speed_ratio"]) == ("slow bf16", 2.0)
    assert (best["ours"], best["best_peer"], best["speed_ratio"]) == ("bf16", "slow bf16", 2.0)
    assert (best["leanest_peer"], best["memory_ratio"]) == ("slow fp32", round(80 / 60, 3))


def test_a_peer_that_failed_is_shown_and_not_counted() -> None:
    broken = measured("fp32", [record(1.0, "transduce")], broken=[{"error": "no such op"}], slow=[record(2.0, "slow")])
    assert "failed: no such op" in table(broken, "wall")
    assert summary(broken, "wall")[0]["best_peer"] == "slow fp32"


def test_tables_have_as_many_cells_in_every_row() -> None:
    for block in table(both(), "wall").split("\n\n"):
        assert len({line.count("|") for line in block.splitlines()}) == 1
    assert "| base | fp32 | slow 1 | 25.0 |" in table(both(), "wall")


def environment(folder: Path, script: str) -> None:
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    python.chmod(0o755)


def test_environments_are_asked_what_they_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment(tmp_path / "a", 'echo \'["torch-nn", "eole"]\'')
    environment(tmp_path / "b", 'echo \'["torch-nn", "fairseq"]\'')
    environment(tmp_path / "c", "echo 'no torch' >&2; exit 1")
    (tmp_path / "notes").mkdir()
    a, b = (str(tmp_path / name / "bin" / "python") for name in "ab")
    assert installed([tmp_path]) == {"torch-nn": a, "eole": a, "fairseq": b}
    assert installed([tmp_path / "b"]) == {"torch-nn": b, "fairseq": b}
    assert "left out (no torch)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "huge"], "--model huge: choose from base, small, tiny"),
        (["--precision", "fp8"], "--precision fp8: choose from fp32, bf16"),
        (["--rounds", "0"], "--rounds 0: at least 1"),
        (["--peers", "joey"], "--peers joey: not found; these have none"),
        ([], "no environment with a peer in it"),
    ],
)
def test_wrong_options(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.setattr("sys.argv", ["compare_peers", "--venvs", str(tmp_path), *arguments])
    with pytest.raises(SystemExit) as stopped:
        compare_peers.main()
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_all_processes_get_the_same_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []

    def note(command: list[str], variables: dict[str, str], seconds: float = 0.0) -> Record:
        started.append((command, variables))
        return record(1.0, "x")

    monkeypatch.setattr(train_step, "run_one", note)
    options = train_step.parser(None)
    a = options.parse_args(["--model", "tiny", "--tokens", "64", "--threads", "3", "--hide-amx", "--precision", "bf16"])
    a.data = None
    runner, case = train_step.Runner(a, tmp_path), train_step.check(options, a)[0]
    runner.ours(case)
    runner.peer("eole", "its/python", case)
    (ours, our_variables), (theirs, their_variables) = started
    assert ours[3:] == theirs[4:]
    assert (ours[2], theirs[:4]) == ("benchmarks.ours", ["its/python", "-m", "benchmarks.peers", "eole"])
    assert their_variables["ATEN_CPU_CAPABILITY"] == "avx2"
    assert our_variables.items() >= {**their_variables, "OMP_WAIT_POLICY": "PASSIVE"}.items()


def test_every_peer_is_called_in_turn_with_ours() -> None:
    said: list[Any] = []

    class Fake:
        def ours(self, case: Case) -> Record:
            said.append("ours")
            return record(1.0, "transduce")

        def peer(self, name: str, python: str, case: Case) -> Record:
            said.append(name)
            return record(2.0, name)

    found = compare_peers.compare(cast(Runner, Fake()), {"a": "", "b": ""}, [Case(model="tiny", precision="fp32")], 2)
    assert said == ["ours", "a", "ours", "b"] * 2
    assert [m.tool for m in found] == ["transduce", "a", "b"]
