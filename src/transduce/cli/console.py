"""Where people read: standard error. Standard output is for results alone."""

import json
from typing import Any

from rich.console import Console

err = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line for a person."""
    err.print(text, markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """One line that deserves attention."""
    err.print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """One object, one line, on standard output."""
    print(json.dumps(value, ensure_ascii=False), flush=True)
