"""What every laboratory leaves behind: `report.html` for people, `report.json` for programs, figures as SVG and PNG."""

import html
import io
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transduce.card import versions
from transduce.errors import ConfigError, cannot_write
from transduce.files import write_atomically, write_json
from transduce.lab.page import Row, grid, page
from transduce.machine import hardware
from transduce.training.world import environment

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Numbers with a head. `seconds` is the wall time that they took to measure."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Row]
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A drawing that is saved as `name`.svg and `name`.png."""

    name: str
    caption: str
    drawing: "Drawing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One run of a laboratory. `settings` are all that decided what was computed; `measured` is what came out, raw.

    `links` are files beside the report, and what to call them.
    """

    title: str
    question: str
    command: str
    settings: dict[str, Any]
    seeds: Sequence[int]
    seen: Sequence[str]
    parts: Sequence[Table | Figure]
    measured: Any
    seconds: float
    links: Sequence[tuple[str, str]] = ()
    made_with: dict[str, Any] = field(default_factory=lambda: provenance())


def provenance() -> dict[str, Any]:
    """Commit (where this is a checkout), hardware and versions."""
    return {"commit": _commit() or "not a checkout", "hardware": hardware(), "versions": versions()}


def _commit() -> str:
    """Of the checkout that this file is in; empty where there is none, or no git."""
    here = Path(__file__).parent
    # not of a repository around site-packages
    around = {**environment(), "GIT_CEILING_DIRECTORIES": str(here.parents[3])}
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        asked = subprocess.run(command, cwd=here, env=around, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return asked.stdout.strip()


def drawing(width: float = 7.0, height: float = 4.2) -> "Drawing":
    """An empty figure, in inches.

    Raises:
        ConfigError: the extra `lab` is not installed.
    """
    try:
        from matplotlib.figure import Figure as NewDrawing
    except ImportError as error:
        raise ConfigError('Figures need the extra `lab`: pip install "transduce[lab]"') from error
    return NewDrawing(figsize=(width, height), layout="constrained")


def make_folder(folder: Path) -> None:
    """The folder of a report, which may be there. Raises `SaveError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def write_report(folder: Path, report: Report) -> None:
    """Write everything below `folder`; report.html last. Raises `SaveError`."""
    make_folder(folder)
    drawn = {part.name: _rendered(part, "svg") for part in report.parts if isinstance(part, Figure)}
    for part in report.parts:
        if isinstance(part, Figure):
            write_atomically(folder / f"{part.name}.svg", drawn[part.name])
            write_atomically(folder / f"{part.name}.png", _rendered(part, "png"))
    made = {"command": report.command, "settings": report.settings, "seeds": list(report.seeds), **report.made_with}
    tables = [asdict(part) | made for part in report.parts if isinstance(part, Table)]
    facts = {"title": report.title, **made, "seconds": round(report.seconds, 1), "seen": list(report.seen)}
    write_json(folder / "report.json", facts | {"tables": tables, "measured": report.measured})
    write_atomically(folder / "report.html", _page(report, drawn).encode())


def _page(report: Report, drawn: dict[str, bytes]) -> str:
    e = html.escape
    body = "\n".join(
        [
            f"<p>{e(report.question)}</p>",
            "<h2>What was seen</h2><ul>",
            *(f"<li>{e(line)}</li>" for line in report.seen),
            "</ul>",
            *(f'<p><a href="{e(file)}">{e(words)}</a></p>' for file, words in report.links),
            *(_table(p, report) if isinstance(p, Table) else _figure(p, drawn[p.name].decode()) for p in report.parts),
            f"<h2>How it was made</h2><p>{e(_origin(report, report.seconds))}</p>{_settings(report)}",
        ]
    )
    return page(report.title, body)


def _table(table: Table, report: Report) -> str:
    """The numbers, and under them where they are from."""
    e = html.escape
    under = f"{e(table.caption)}<br>{e(_origin(report, table.seconds))}"
    return (
        f'<div class="wide">{grid(table.head, table.rows)}</div>'
        f'<p class="under">{under}</p><details><summary>Command and settings</summary>{_settings(report)}</details>'
    )


def _origin(report: Report, seconds: float) -> str:
    took = (
        f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} minutes"
    )
    numbers = ", ".join(map(str, report.seeds))
    seeds = f"seed{'s' if len(report.seeds) > 1 else ''} {numbers}" if numbers else "nothing is random"
    return f"Measured in {took} on {report.made_with['hardware']}; {seeds}; commit {report.made_with['commit']}."


def _settings(report: Report) -> str:
    settings = "\n".join(f"{key} = {value}" for key, value in report.settings.items())
    versions = "\n".join(f"{name} {version}" for name, version in report.made_with["versions"].items())
    text = "\n\n".join((report.command, settings, versions))
    return f"<pre>{html.escape(text)}</pre>"


def _figure(figure: Figure, svg: str) -> str:
    return f"<figure>{svg[svg.index('<svg') :]}<figcaption>{html.escape(figure.caption)}</figcaption></figure>"


def _rendered(figure: Figure, kind: str) -> bytes:
    """The same bytes whenever and wherever: no date inside, and ids that depend on the name only."""
    import matplotlib

    written = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": figure.name, "svg.fonttype": "none"}):
        figure.drawing.savefig(written, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return written.getvalue()
