"""Grids of measurements that can be interrupted: every result is on disk before the next one is begun."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from transduce.errors import ConfigError

Cell = dict[str, Any]
Result = dict[str, Any]


def measure(path: Path, cells: Iterable[Cell], compute: Callable[[Cell], Result]) -> Iterator[tuple[Cell, Result]]:
    """Every cell with its result, in order: from `path`, one JSON object a line, or computed and appended to it.

    A last line that a kill cut short is dropped.

    Raises:
        ConfigError: `path` holds something else.
    """
    known = _load(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for cell in cells:
        key = json.dumps(cell, sort_keys=True)
        if key not in known:
            known[key] = compute(cell)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"cell": cell, "result": known[key]}) + "\n")
        yield cell, known[key]


def _load(path: Path) -> dict[str, Result]:
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        path.write_text(text, encoding="utf-8")
    try:
        entries = [json.loads(line) for line in text.splitlines()]
        return {json.dumps(entry["cell"], sort_keys=True): entry["result"] for entry in entries}
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{path}: not the results of a laboratory ({error}). Choose another --out.") from error
