"""What every laboratory leaves behind: `report.html` for people, `report.json` for programs, figures as SVG and PNG."""

import html
import io
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transduce.card import versions
from transduce.errors import ConfigError
from transduce.files import write_atomically, write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 0 auto; padding: 1rem 1.25rem 3rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td { padding: .15rem .8rem .15rem 0; text-align: right; border-bottom: 1px solid #8886; font-weight: 400; }
th:first-child, td:first-child { text-align: left; }
th { color: #888; }
figure { margin: 1.5rem 0; }
figure svg { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
figcaption, .under { color: #888; font-size: .9rem; }
pre { white-space: pre-wrap; font-size: .85rem; }
@media print { :root { color-scheme: light; } figure, table { break-inside: avoid; } }
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Numbers with a head. `seconds` is the wall time that they took to measure."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]
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
    seen: Sequence[str]
    parts: Sequence[Table | Figure]
    measured: Any
    seconds: float
    links: Sequence[tuple[str, str]] = ()
    made_with: dict[str, Any] = field(default_factory=lambda: provenance())


def provenance() -> dict[str, Any]:
    """Commit (where this is a checkout), hardware and versions."""
    here = Path(__file__).parent
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=here, capture_output=True, text=True, check=False
    )
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.is_file() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return {
        "commit": asked.stdout.strip() or "not a checkout",
        "hardware": f"{names[0] if names else platform.processor() or platform.machine()}, {len(names) or '?'} cores",
        "versions": versions(),
    }


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


def write_report(folder: Path, report: Report) -> None:
    """Write everything below `folder`; report.html last. Raises `SaveError`."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in report.parts:
        if isinstance(part, Figure):
            for kind in ("svg", "png"):
                write_atomically(folder / f"{part.name}.{kind}", _rendered(part, kind))
    made = {"command": report.command, "settings": report.settings, "seconds": round(report.seconds, 1)}
    tables = [{"caption": p.caption, "head": p.head, "rows": p.rows} for p in report.parts if isinstance(p, Table)]
    facts = {"title": report.title, **made, **report.made_with, "seen": list(report.seen)}
    write_json(folder / "report.json", facts | {"tables": tables, "measured": report.measured})
    write_atomically(folder / "report.html", _page(report).encode())


def _page(report: Report) -> str:
    e = html.escape
    made = report.made_with
    under = f"{report.seconds / 60:.1f} minutes on {made['hardware']}; commit {made['commit']}."
    settings = "\n".join(f"{key} = {value}" for key, value in report.settings.items())
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{e(report.title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{e(report.title)}</h1><p>{e(report.question)}</p>",
            "<h2>What was seen</h2><ul>",
            *(f"<li>{e(line)}</li>" for line in report.seen),
            "</ul>",
            *(f'<p><a href="{e(file)}">{e(words)}</a></p>' for file, words in report.links),
            *(_table(part) if isinstance(part, Table) else _figure(part) for part in report.parts),
            f"<h2>How it was made</h2><p>{e(under)}</p><pre>{e(report.command)}\n\n{e(settings)}\n\n",
            e("\n".join(f"{name} {version}" for name, version in made["versions"].items())),
            "</pre></body></html>\n",
        ]
    )


def _table(table: Table) -> str:
    e = html.escape
    head = "".join(f'<th scope="col">{e(name)}</th>' for name in table.head)
    rows = "\n".join("<tr>" + "".join(f"<td>{e(str(cell))}</td>" for cell in row) + "</tr>" for row in table.rows)
    caption = f"{e(table.caption)} <span>{table.seconds:.0f} s.</span>"
    return f'<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table><p class="under">{caption}</p>'


def _figure(figure: Figure) -> str:
    svg = _rendered(figure, "svg").decode()
    return f"<figure>{svg[svg.index('<svg') :]}<figcaption>{html.escape(figure.caption)}</figcaption></figure>"


def _rendered(figure: Figure, kind: str) -> bytes:
    """The same bytes whenever and wherever: no date inside, and ids that depend on the name only."""
    import matplotlib

    written = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": figure.name, "svg.fonttype": "none"}):
        figure.drawing.savefig(written, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return written.getvalue()
