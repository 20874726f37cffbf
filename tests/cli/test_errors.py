"""Errors become one line and an exit status."""

import os
import sys

import pytest

from tests.tiny import Said
from transduce.cli.console import say, warn
from transduce.cli.errors import report
from transduce.cli.main import run
from transduce.errors import (
    BundleError,
    CheckpointError,
    ConfigError,
    DataError,
    SaveError,
    TrainingError,
    TransduceError,
)

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("what"), 2),
        (DataError("what"), 2),
        (BundleError("what"), 2),
        (CheckpointError("what"), 2),
        (SaveError("what"), 1),
        (TrainingError("what"), 1),
        (OSError(5, "what"), 1),
        (OSError(28, "what"), 1),
        (MemoryError(), 1),
        (RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory"), 1),
    ],
    ids=repr,
)
def test_one_line_and_a_status(capsys: pytest.CaptureFixture[str], error: BaseException, status: int) -> None:
    said = Said(report(error, debug=False), *capsys.readouterr())
    assert (said.status, said.out) == (status, "")
    full = isinstance(error, OSError) and error.errno == 28
    told = "standard output: no space" if full else "what" if isinstance(error, TransduceError | OSError) else "memory"
    said.failed(told)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'? See `transduce --help`."),
        (["translate", "m", "--beam"], "Option '--beam' requires an argument. See `transduce translate --help`."),
    ],
)
def test_wrong_usage_names_the_help_that_helps(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run(words) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_results_are_not_lost_without_a_standard_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert run(["fetch"]) == 1
    assert "error: standard output: it is closed." in capsys.readouterr().err


def test_errors_do_not_get_among_the_results(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert run(["translate", "nowhere", "x"]) == 2
    sys.stderr.close()
    assert capsys.readouterr().out == ""


def test_work_goes_on_when_nobody_hears_of_it_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        say("somebody is there")
        os.close(read)
        say("nobody is there")
        warn("nor now")


def test_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(KeyboardInterrupt(), debug=False) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_command_that_is_interrupted_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("transduce.cli.info.machine", interrupt)
    assert run(["info"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert run(["info", "--debug"]) == 130
    assert "KeyboardInterrupt" in capsys.readouterr().err


def test_a_mistake_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        report(ZeroDivisionError(), debug=False)


def test_debug_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--debug", "info", "nothing"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: nothing: no such recipe file")
