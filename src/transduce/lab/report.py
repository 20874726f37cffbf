"""What every laboratory leaves behind: `report.html` for people, `report.json` for programs, figures as SVG and PNG."""

import html
import io
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
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
td:first-child { white-space: nowrap; }
th { color: #888; }
figure { margin: 1.5rem 0; }
figure svg { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
figcaption, .under, summary { color: #888; font-size: .9rem; }
.under { margin: .25rem 0; }
.wide { overflow-x: auto; margin-top: 1.5rem; font-size: .85rem; }
details { margin-bottom: 1.5rem; }
pre { white-space: pre-wrap; font-size: .85rem; }
@media print { :root { color-scheme: light; } figure, table { break-inside: avoid; } }
"""


Row = Sequence[str | int | float]


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
            *(_table(p, report) if isinstance(p, Table) else _figure(p, drawn[p.name].decode()) for p in report.parts),
            f"<h2>How it was made</h2><p>{e(_origin(report, report.seconds))}</p>{_settings(report)}",
            "</body></html>\n",
        ]
    )


def _table(table: Table, report: Report) -> str:
    """The numbers, and under them where they are from."""
    e = html.escape
    head = "".join(f'<th scope="col">{e(name)}</th>' for name in table.head)
    rows = "\n".join("<tr>" + "".join(f"<td>{e(str(cell))}</td>" for cell in row) + "</tr>" for row in table.rows)
    under = f"{e(table.caption)}<br>{e(_origin(report, table.seconds))}"
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
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
