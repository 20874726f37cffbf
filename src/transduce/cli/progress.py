"""How far a long translation is, on a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from transduce.cli.console import err


def note(lines: int, done: int, size: int, seconds: float) -> str:
    """Lines, lines a second and, where `size` is known, time left; `done` and `size` are bytes of input."""
    text = f"{lines:,} lines"
    if lines and seconds > 0:
        text += f"  {lines / seconds:,.1f} lines/s"
    if done and size:
        left = round(seconds * max(0, size - done) / done)
        text += f"  {min(1.0, done / size):.0%}  left {left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
    return text


@contextmanager
def counting(size: int, shown: bool) -> Iterator[Callable[[str], None]]:
    """Something to call with every line of input that is done; `size` is that of all input in bytes, 0 if unknown."""
    if not (shown and err.is_terminal):
        yield lambda line: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn

    lines = done = 0
    start = time.monotonic()
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=err, transient=True) as bar:
        task = bar.add_task(note(0, 0, size, 0.0), total=None)

        def count(line: str) -> None:
            nonlocal lines, done
            lines += 1
            done += len(line.encode()) + 1
            bar.update(task, description=note(lines, done, size, time.monotonic() - start))

        yield count
