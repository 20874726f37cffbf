"""`transduce fetch`: the public originals of the recipes' data."""

import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self, final

import typer

from transduce.errors import ConfigError

if TYPE_CHECKING:
    from transduce.data.sources import Source


def fetch(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A corpus, or a recipe. Without one: all there are.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="ROOT", help="Data root; $TRANSDUCE_DATA, or else data, if not given.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="The licence is agreed to: do not ask.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Fetch everything again, and take what the source has now.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the archives that were downloaded.")] = False,
) -> int:
    """Download a public corpus to where the recipes look for it. The same command again goes on after a break.

    Shows where it comes from and under which licence, and asks unless the licence is free. What was seen is recorded in
    `fetched.json` beside the files; a later download that differs from it is an error.

    \b
    Examples:
      transduce fetch
      transduce fetch cmudict
      transduce fetch multi30k --to data --yes
    """
    import os
    import time
    from datetime import UTC, datetime

    from transduce.cli.console import say, warn
    from transduce.data.fetch import Fetcher
    from transduce.data.sources import SOURCES, find

    if name is None:
        for key, source in SOURCES.items():
            print(f"{key}: {_describe(source)}")
        return 0
    key, source = find(name)
    root = to or Path(os.environ.get("TRANSDUCE_DATA") or "data")
    with DownloadDisplay() as display:
        fetcher = Fetcher(
            root=root,
            progress=display,
            say=say,
            pause=time.sleep,
            today=datetime.now(UTC).date().isoformat(),
            fresh=fresh,
            keep=keep,
        )
        missing = fetcher.missing(source)
        if not missing:
            say(f"{key}: all {len(source.targets)} files are in {root / source.folder}, as they were fetched.")
            return 0
        asks = not (source.free or yes)
        if asks and not _on_a_terminal():
            raise ConfigError(
                f"{key}: the licence is to be agreed to, and there is no terminal to ask on ({source.licence}). "
                "If your use is within it, give --yes."
            )
        say(f"{key}: {_describe(source)}")
        if asks and not typer.confirm("Is your use within it, and shall this be fetched?", default=False, err=True):
            say("nothing was fetched")
            return 1
        done = fetcher.fetch(source, missing)
    for path in done.differ:
        warn(f"{path} is not the text that our results were measured on: the source has another version now.")
    if source.left:
        say(source.left)
    say(f"{key}: {len(done.made)} files in {root / source.folder}")
    return 0


def _on_a_terminal() -> bool:
    return sys.stdin.isatty()


def _describe(source: "Source") -> str:
    recipes = f"\n  recipes  {', '.join(source.recipes)}" if source.recipes else ""
    return f"{source.about}\n  source   {source.home}\n  size     {source.size}\n  licence  {source.licence}{recipes}"


@final
class DownloadDisplay:
    """A bar for the file that comes in; a line for each where there is no terminal."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as SpeedColumn

        from transduce.cli.console import err

        self._terminal = err.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            DownloadColumn(),
            SpeedColumn(),
            TimeRemainingColumn(),
            console=err,
            disable=not err.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", start=False, visible=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bar.stop()

    def begin(self, url: str, done: int, total: int) -> None:
        """A file starts, or goes on."""
        from transduce.cli.console import say

        name = url.rpartition("/")[2]
        if not self._terminal:
            size = f", {total:,} bytes" if total else ""
            say(f"{name}{size}{f', from byte {done:,}' if done else ''}")
        self._bar.start()
        self._bar.reset(self._task, description=name, total=total or None, completed=done, visible=True)

    def advance(self, n: int) -> None:
        """More of it came."""
        self._bar.advance(self._task, n)
