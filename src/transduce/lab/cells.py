"""Grids of measurements that can be interrupted: every result is on disk before the next one is begun."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from transduce.errors import ConfigError
from transduce.machine import hardware

Cell = dict[str, Any]
Result = dict[str, Any]
Measured = list[tuple[Cell, Result]]


def measure(
    path: Path, cells: Sequence[Cell], compute: Callable[[Cell], Result], progress: Callable[[int, int], None]
) -> Measured:
    """Every cell with its result, in order: from `path`, one JSON object a line, or computed and appended to it.

    A last line that a kill cut short is dropped. What was measured on another machine, or with another PyTorch, is
    measured again. `progress` is told how many of how many are done.

    Raises:
        ConfigError: `path` holds something else.
    """
    here = f"{hardware()}, PyTorch {torch.__version__}"
    known, measured = _load(path, here), Measured()
    path.parent.mkdir(parents=True, exist_ok=True)
    for done, cell in enumerate(cells, start=1):
        key = json.dumps(cell, sort_keys=True)
        if key not in known:
            known[key] = compute(cell)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"cell": cell, "on": here, "result": known[key]}) + "\n")
        measured.append((cell, known[key]))
        progress(done, len(cells))
    return measured


def _load(path: Path, here: str) -> dict[str, Result]:
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        path.write_text(text, encoding="utf-8")
    try:
        entries = [json.loads(line) for line in text.splitlines()]
        return {
            json.dumps(entry["cell"], sort_keys=True): entry["result"]
            for entry in entries
            if entry.get("on", here) == here  # earlier versions did not say
        }
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: not the results of a laboratory ({error}). Choose another --out.") from error
