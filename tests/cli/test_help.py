"""What people read first: every help text as it was last agreed on, and quickly.

After a change that is meant: `python -m tests.cli.test_help` writes help.txt again.
"""

import contextlib
import io
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import Said

pytestmark = pytest.mark.unit

SNAPSHOT = Path(__file__).with_name("help.txt")
COMMANDS = (
    *(
        "train",
        "prepare",
        "translate",
        "score",
        "evaluate",
        "compare",
        "average",
        "shortlist",
        "distil",
        "backtranslate",
    ),
    *("info", "lab", "fetch", "demo"),
)
HEAVY = {"torch", "numpy", "sacrebleu", "safetensors", "sentencepiece", "tensorboard", "rich.progress"}


def all_helps() -> str:
    """Every help text at a width of 100."""
    from transduce.cli.main import run

    texts = []
    for command in ((), *((name,) for name in COMMANDS)):
        written = io.StringIO()
        with contextlib.redirect_stdout(written):
            assert run([*command, "--help"]) == 0
        texts.append(f"$ {' '.join(('transduce', *command, '--help'))}\n{written.getvalue()}")
    return "\n".join(texts)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_the_help_texts_are_those_agreed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    agreed = SNAPSHOT.read_text(encoding="utf-8")
    assert all_helps() == agreed, "If the change is meant: python -m tests.cli.test_help"


def test_every_command_has_an_example() -> None:
    parts = SNAPSHOT.read_text(encoding="utf-8").split("$ transduce ")[2:]
    assert [part.split(" ")[0] for part in parts] == list(COMMANDS)
    assert all("Example" in part and f"transduce {part.split(' ')[0]}" in part.split("Example")[1] for part in parts)


def test_the_snapshot_names_every_command() -> None:
    from transduce.cli.main import app

    assert tuple(command.callback.__name__ for command in app.registered_commands if command.callback) == COMMANDS


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"], ["frobnicate"]], ids=" ".join)
def test_what_computes_nothing_imports_nothing_heavy(arguments: list[str]) -> None:
    done = python("-c", f"import sys; from transduce.cli.main import run; run({arguments}); print(*sys.modules)")
    assert done.returncode == 0
    assert not HEAVY & set(done.stdout.splitlines()[-1].split())


def test_importing_the_library_imports_nothing_heavy() -> None:
    done = python("-c", "import transduce, sys; print(*sys.modules)")
    assert not HEAVY & set(done.stdout.split())


def test_help_comes_at_once() -> None:
    """In 0.4 s of processor time. The best of several: other work on the machine only ever adds."""
    times = []
    for _ in range(5):
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert python("-m", "transduce", "--help").returncode == 0
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime)
    assert min(times) < 0.4, times


def test_the_program_is_installed_under_its_name() -> None:
    program = Path(sys.executable).with_name("transduce")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("transduce ")
    assert done.stderr == ""


def test_what_libraries_read_is_set_where_nobody_did(monkeypatch: pytest.MonkeyPatch) -> None:
    from transduce.cli.main import run

    names = {"OMP_WAIT_POLICY": "PASSIVE", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128", "LRU_CACHE_CAPACITY": "128"}
    for found, then in ("9", dict.fromkeys(names, "9")), ("", names), (None, names):
        for name in names:
            monkeypatch.setenv(name, found or "")
            if found is None:
                monkeypatch.delenv(name)
        run(["--help"])
        assert {name: os.environ[name] for name in names} == then


def test_no_argument_is_a_question_for_help() -> None:
    done = python("-m", "transduce")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: transduce [OPTIONS] COMMAND")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate'. See `transduce --help`."),
        (["--frobnicate"], "No such option: --frobnicate. See `transduce --help`."),
        (["translate"], "Missing argument 'BUNDLE[,BUNDLE...]'. See `transduce translate --help`."),
        (["translate", "x", "--beam", "many"], "'--beam'"),
        (["info", "a", "b"], "unexpected extra argument"),
    ],
)
def test_wrong_usage_is_one_line_that_says_where_help_is(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    from transduce.cli.main import run

    Said(run(arguments), *capsys.readouterr()).refused(message, "--help`.")


if __name__ == "__main__":
    os.environ["COLUMNS"] = "100"
    SNAPSHOT.write_text(all_helps(), encoding="utf-8")
