"""Where people read: standard error. Standard output is for results alone."""

from rich.console import Console

err = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line for a person."""
    err.print(text, markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """One line that deserves attention."""
    err.print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)
