"""Where people read: standard error. Standard output is for results alone."""

import json
import os
import sys
from typing import Any, TextIO, final

from rich.console import Console


@final
class _Spoken(Console):
    """What is said to a person, who may leave: the work goes on."""

    def on_broken_pipe(self) -> None:
        """Say the rest to nobody, where rich would end the process."""
        to_nobody(sys.stderr)


def to_nobody(stream: TextIO) -> None:
    """Let go nowhere what is still to be written to a stream whose reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


err = _Spoken(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line for a person."""
    err.print(text, markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """One line that deserves attention."""
    err.print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """One object, one line, on standard output."""
    print(json.dumps(value, ensure_ascii=False), flush=True)
