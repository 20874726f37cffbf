"""Files of pairs that are more than columns of text: gettext PO and JSON lines; XML is in `markup`."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from transduce.errors import ConfigError, DataError

Format = Literal["text", "jsonl", "po", "tmx", "xliff"]
Column = int | str

_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".po": "po",
    ".pot": "po",
    ".tmx": "tmx",
    ".xlf": "xliff",
    ".xliff": "xliff",
}
_CHARSET = re.compile(rb"^([^#\n].*Content-Type:[^\"\n]*charset=)([\w.:-]+)", re.IGNORECASE | re.MULTILINE)
FIELDS = {1: "source", 2: "target"}
"""The fields of JSON objects that columns 1 and 2, the defaults, stand for."""


def format_of(path: Path) -> Format:
    """The format that the suffix says, below a `.gz` or `.xz`; `text` for all that are unknown."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in (".gz", ".xz")]
    return _SUFFIXES.get(suffixes[-1], "text") if suffixes else "text"


def read_json(
    path: Path, lines: Iterator[str], source: Sequence[Column], target: Sequence[Column]
) -> Iterator[tuple[str, str]]:
    """Pairs of JSON objects (columns are field names; dots lead into objects) or arrays (columns are numbers), a line
    each. Where the target is a list of texts, each makes a pair with the source.

    Raises:
        DataError: a line that is not JSON, or has not the fields; path and line.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            row = [[_field(value, column) for column in side] for side in (source, target)]
            texts = [" ".join(map(_as_text, row[0])), *_targets(row[1])]
            for text in texts:
                text.encode()  # JSON can spell lone surrogates
        except (ValueError, LookupError, RecursionError) as error:
            raise DataError(
                f"{path}:{number}: {_why(error)}: {line[:80]!r}. Correct the line, or --columns."
            ) from error
        for text in texts[1:]:
            yield texts[0], text


def read_po(path: Path, content: bytes) -> Iterator[tuple[str, str]]:
    """msgid and msgstr of every entry that is translated: not the header, nor fuzzy or obsolete ones; contexts are left
    out. Of plural forms the first pairs with the singular and all others with the plural; a single one with the plural.

    Raises:
        ConfigError: translate-toolkit is not installed.
        DataError: not a PO file, or not in the character set that it names; path and line.
    """
    try:
        from translate.storage.pypo import pofile
    except ImportError as error:
        raise ConfigError(
            f"{path}: PO files need translate-toolkit. Install it with: pip install 'transduce[formats]'"
        ) from error
    try:
        units = pofile.parsestring(_utf8(path, content)).units  # type: ignore[no-untyped-call]
    except (ValueError, LookupError, AttributeError, TypeError) as error:  # what the library makes of damage
        raise DataError(f"{path}: not a PO file: {' '.join(str(error).split())}. Correct it (`msgfmt -c`).") from error
    for unit in units:
        if unit.isheader() or unit.isfuzzy() or unit.isobsolete() or not unit.istranslated():
            continue
        sources, targets = ([str(text) for text in getattr(t, "strings", [t])] for t in (unit.source, unit.target))
        for i, target in enumerate(targets):
            plural = i > 0 or len(targets) == 1
            yield sources[-1 if plural else 0], target


def _utf8(path: Path, content: bytes) -> bytes:
    """A PO file in UTF-8, whatever it was in."""
    found = _CHARSET.search(content)
    charset = found[2].decode() if found and found[2] != b"CHARSET" else "utf-8"  # CHARSET: a template's, yet to say
    try:
        return _CHARSET.sub(rb"\1UTF-8", content.decode(charset).encode(), count=1)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not {charset}, which it should be. Convert it with `iconv`.") from error
    except LookupError as error:
        raise DataError(f"{path}: no such character set as {charset}. Convert it to UTF-8.") from error


def _field(value: Any, column: Column) -> Any:
    if isinstance(value, list):
        if not isinstance(column, int):
            raise LookupError(f"an array has no field {column!r}, its columns are numbers")
        if column > len(value):
            raise LookupError(f"no column {column}")
        return value[column - 1]
    name = FIELDS.get(column, "") if isinstance(column, int) else column
    if not name:
        raise LookupError(f"an object has no column {column}, its columns are names")
    if isinstance(value, dict) and name in value:
        return value[name]
    head, dot, rest = name.partition(".")
    if dot and isinstance(value, dict) and head in value:
        return _field(value[head], rest)
    raise LookupError(f"no field {name!r}")


def _targets(values: list[Any]) -> list[str]:
    if len(values) == 1 and isinstance(values[0], list):
        return [_as_text(value) for value in values[0]] or [""]
    return [" ".join(map(_as_text, values))]


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{json.dumps(value)[:40]} is not text")
    return value


def _why(error: Exception) -> str:
    match error:
        case json.JSONDecodeError():
            return f"not JSON ({error})"
        case UnicodeEncodeError():
            return "a lone surrogate, which is no character"
        case RecursionError():
            return "nested too deeply"
        case LookupError():
            return str(error.args[0])
        case _:
            return str(error)
