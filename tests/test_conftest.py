"""The rules of the suite itself, on a suite of five tests in a process of its own."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

SUITE = """
import pytest

@pytest.mark.unit
def test_passes(): pass

@pytest.mark.unit
def test_skips(): pytest.skip("no such thing here")

@pytest.mark.unit
@pytest.mark.xfail(strict=True)
def test_expected_failure(): assert False

@pytest.mark.unit
def test_reads_data(benchmark_data): pass
"""


def run(folder: Path, suite: str, *options: str) -> tuple[int, str]:
    (folder / "conftest.py").write_text((Path(__file__).with_name("conftest.py")).read_text())
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  unit\n  data\n")
    (folder / "test_it.py").write_text(suite)
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=folder, env={"TRANSDUCE_DATA": ""}, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_skips_fail_when_asked(tmp_path: Path) -> None:
    status, output = run(tmp_path, SUITE)
    assert status == 0
    assert "1 passed, 2 skipped, 1 xfailed" in output
    status, output = run(tmp_path, SUITE, "--fail-on-skip", "-m", "unit and not data")
    assert status == 1
    assert "1 failed, 1 passed, 1 deselected, 1 xfailed" in output
    assert "no such thing here" in output


def test_a_skipped_file_fails_and_a_test_without_tier_is_refused(tmp_path: Path) -> None:
    status, output = run(tmp_path, "import pytest\npytest.importorskip('no_such_module')", "--fail-on-skip")
    assert status == 2
    assert "1 error" in output
    status, output = run(tmp_path, "def test_homeless(): pass")
    assert status == 4
    assert "no tier on test_it.py::test_homeless" in output


def test_no_network() -> None:
    with socket.socket() as s, pytest.raises(RuntimeError, match="tests have no network"):
        s.connect(("192.0.2.1", 80))


def test_this_machine_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()[:2]) as client:
        assert client.getpeername() == server.getsockname()
