"""Grids of measurements that can be interrupted: every result is on disk before the next one is begun."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from transduce.errors import ConfigError, cannot_write
from transduce.files import write_atomically
from transduce.machine import hardware

Cell = dict[str, Any]
Result = dict[str, Any]
Measured = list[tuple[Cell, Result]]


def measure(
    path: Path, cells: Sequence[Cell], compute: Callable[[Cell], Result], progress: Callable[[int, int], None]
) -> Measured:
    """Every cell with its result, in order: from `path`, one JSON object a line, or computed and appended to it.

    A last line that a kill cut short is dropped. What was measured on another machine, with another PyTorch, or with
    other code of layers, training, data or what is measured, is measured again. `progress` is told how many of how many
    are done.

    Raises:
        ConfigError: `path` holds something else.
        SaveError: the disk is full; what was measured before is still there.
    """
    here = f"{hardware()}, PyTorch {torch.__version__}, code {code()}"
    known, measured = _load(path, here), Measured()
    for done, cell in enumerate(cells, start=1):
        key = json.dumps(cell, sort_keys=True)
        if key not in known:
            known[key] = compute(cell)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"cell": cell, "on": here, "result": known[key]}) + "\n")
            except OSError as error:
                raise cannot_write(path, error) from error
        measured.append((cell, known[key]))
        progress(done, len(cells))
    return measured


def _load(path: Path, here: str) -> dict[str, Result]:
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        entries = [json.loads(line) for line in whole.splitlines()]
        if not whole and not text.startswith('{"cell": '[: len(text)]):
            raise ValueError("no whole line")
        all_found = [(json.dumps(e["cell"], sort_keys=True), e["result"], e.get("on")) for e in entries]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: not the results of a laboratory ({error}). Choose another --out.") from error
    if whole != text:
        write_atomically(path, whole.encode())
    return {key: result for key, result, on in all_found if on == here}


@cache
def code() -> str:
    """A digest of the code that results depend on; not of what draws and words them."""
    package = Path(__file__).parents[1]
    files = sorted(path for part in ("nn", "training", "data", "text") for path in (package / part).glob("*.py"))
    files += [package / "lab" / name for name in ("costs.py", "residual.py", "rivals.py", "trace.py")]
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
