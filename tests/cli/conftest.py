"""One tiny model for all commands, and commands that are called like functions."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import run_time_checks
from tests.tiny import Said, trained_run

Transduce = Callable[..., Said]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run."""
    return trained_run(tmp_path_factory)


@pytest.fixture
def corpus(run: Path) -> Path:
    """The folder of the texts that `run` was trained on."""
    return run.parent


@pytest.fixture
def transduce(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Transduce:
    """`transduce("translate", run, "the dog", stdin="...")` runs it in this process, unchecked as for users."""
    from transduce.cli.main import run as run_command

    def call(*arguments: object, stdin: str | bytes = "") -> Said:
        content = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        capsys.readouterr()
        with run_time_checks(on=False):
            status = run_command([str(argument) for argument in arguments])
        return Said(status, *capsys.readouterr())

    return call
