"""What every report is made of: one file that asks for nothing, light or dark as the reader has it, and that prints."""

import html
from collections.abc import Sequence
from typing import final

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 0 auto; padding: 1rem 1.25rem 3rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td { padding: .15rem .8rem .15rem 0; text-align: right; border-bottom: 1px solid #8886; font-weight: 400; }
th:first-child { text-align: left; }
tbody th { white-space: nowrap; }
thead th, caption, figcaption, .under, summary { color: color-mix(in srgb, CanvasText 66%, Canvas); }
figure { margin: 1.5rem 0; }
figure svg { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
figcaption, .under, summary { font-size: .9rem; }
.under { margin: .25rem 0; }
.wide { overflow-x: auto; margin-top: 1.5rem; font-size: .85rem; }
details { margin-bottom: 1.5rem; }
pre { white-space: pre-wrap; font-size: .85rem; }
@media print {
  :root { color-scheme: light; }
  figure, table { break-inside: avoid; }
  h2 { break-after: avoid; }
  .wide { overflow: visible; }
  tbody th { white-space: normal; }
}
"""

Row = Sequence[str | int | float]


@final
class Html(str):
    """Text that is HTML already; all other text is escaped."""

    __slots__ = ()


def page(title: str, body: str, style: str = "") -> str:
    """A whole page around `body`, which is HTML."""
    name = html.escape(title)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title><style>{STYLE}{style}</style></head><body>\n<h1>{name}</h1>\n{body}\n</body></html>\n"
    )


def grid(head: Sequence[str], rows: Sequence[Row], caption: str = "") -> str:
    """A table. Cells that are `Html` stay as they are."""
    top = "".join(f'<th scope="col">{cell(name)}</th>' for name in head)
    lines = "\n".join(
        f'<tr><th scope="row">{cell(first)}</th>' + "".join(f"<td>{cell(value)}</td>" for value in rest) + "</tr>"
        for first, *rest in rows
    )
    said = f"<caption>{cell(caption)}</caption>" if caption else ""
    return f"<table>{said}<thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"


def cell(value: str | int | float) -> str:
    """A value as HTML."""
    return value if isinstance(value, Html) else html.escape(str(value))
