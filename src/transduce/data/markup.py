"""Translation memories (TMX 1.1 to 1.4) and XLIFF (1.x and 2.x), a unit at a time, so that any size fits into memory.

Read with `expat` of the standard library. The parsers of translate-toolkit hold the whole tree (1.6 GB for a million
units), put native codes such as `<b>` into the text and expand entities that the file declares.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder  # holds units; what reads untrusted bytes is expat, below
from xml.parsers import expat

from transduce.errors import DataError

_CODES = ("bpt", "ept", "ph", "it", "ut", "x", "bx", "ex", "sc", "ec", "sm", "em", "note")  # markup, and no text
_DEEPEST = 200
_UNTRANSLATED = ("new", "needs-translation", "initial")  # states in which tools leave a copy of the source


def read_tmx(path: Path, blocks: Iterable[bytes], languages: tuple[str, str]) -> Iterator[tuple[str, str]]:
    """The units that have both of `languages` (as the file writes them: what `tmx_languages` gave).

    Raises:
        DataError: not XML, truncated, or with entities of its own; path and line.
    """
    for unit in _elements(path, blocks, "tu"):
        texts: dict[str, str] = {}
        for variant in unit.iterfind("tuv"):
            if (segment := variant.find("seg")) is not None:
                texts.setdefault(_lang(variant), _text(segment))
        if languages[0] in texts and languages[1] in texts:
            yield texts[languages[0]], texts[languages[1]]


def tmx_languages(path: Path, blocks: Iterable[bytes], asked: tuple[str, str]) -> tuple[str, str]:
    """Which of the languages of a file are source and target, in lower case.

    `asked` may be less specific, as `en` for `en-US`. Without it (two empty strings) there must be two languages; the
    source is the one that the header calls so, or else the first.

    Raises:
        DataError: as `read_tmx`; a language that is not there, or could be several; other than two when none is asked.
    """
    header, found = "", Counter[str]()
    for element in _elements(path, blocks, "header", "tuv"):
        if element.tag == "header":
            header = element.get("srclang", "")
        else:
            found[_lang(element)] += 1
    listed = ", ".join(f"{lang or 'none'} ({n:,})" for lang, n in found.items()) or "none"
    if not any(asked):
        if len(found) != 2:
            raise DataError(f"{path}: the languages are {listed}. Say which two with --langs, for instance en-de.")
        first, second = found
        return (second, first) if _matching(header, [first, second]) == [second] else (first, second)
    chosen = []
    for language in asked:
        fitting = _matching(language, list(found))
        if len(fitting) != 1:
            which = f"could be {' or '.join(fitting)}" if fitting else "is not there"
            raise DataError(
                f"{path}: language {language!r} {which}; there are {listed}. Say which with --langs, as en-us,de-de."
            )
        chosen += fitting
    return chosen[0], chosen[1]


def read_xliff(path: Path, blocks: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Source and target of the units (1.x) or segments (2.x) that are translated. Raises as `read_tmx`."""
    for unit in _elements(path, blocks, "trans-unit", "segment"):
        source, target = unit.find("source"), unit.find("target")
        if source is None or target is None:
            continue
        if unit.get("state", target.get("state", "")) not in _UNTRANSLATED and (text := _text(target)).strip():
            yield _text(source), text


def _elements(path: Path, blocks: Iterable[bytes], *wanted: str) -> Iterator[Element]:
    """The outermost elements of these names, in order. Names are without namespaces."""
    parser = expat.ParserCreate(namespace_separator=" ")
    done: list[Element] = []
    building: list[TreeBuilder] = []
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        local = name.rpartition(" ")[2]
        if not building and local in wanted:
            building.append(TreeBuilder())
        if building:
            depth += 1
            if depth > _DEEPEST:
                raise DataError(f"{path}:{parser.CurrentLineNumber}: nested too deeply for a unit of text. Correct it.")
            building[0].start(local, {key.rpartition(" ")[2]: value for key, value in attributes.items()})

    def end(name: str) -> None:
        nonlocal depth
        if building:
            depth -= 1
            building[0].end(name.rpartition(" ")[2])
            if depth == 0:
                done.append(building.pop().close())

    def data(text: str) -> None:
        if building:
            building[0].data(text)

    def entity(*declared: object) -> None:
        raise DataError(
            f"{path}:{parser.CurrentLineNumber}: has entities of its own, which are not read: they can be made to fill "
            "any memory. Resolve them first, for instance with `xmllint --noent`."
        )

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, data
    parser.EntityDeclHandler = parser.SkippedEntityHandler = entity
    with _located(path, parser):
        for block in blocks:
            parser.Parse(block, False)
            yield from done
            done.clear()
        parser.Parse(b"", True)
    yield from done


@contextmanager
def _located(path: Path, parser: expat.XMLParserType) -> Iterator[None]:
    try:
        yield
    except expat.ExpatError as error:
        raise DataError(f"{path}:{error.lineno}: not XML, or truncated ({error}). Export it again.") from error
    except (ValueError, LookupError) as error:  # an encoding that expat, or Python, does not know
        raise DataError(
            f"{path}:{parser.CurrentLineNumber}: cannot be read as XML ({error}). Save as UTF-8."
        ) from error


def _text(element: Element) -> str:
    """The text of a segment, without native codes (`bpt`, `ph`, ...): markup is not language."""
    parts = [element.text or ""]
    for child in element:
        if child.tag not in _CODES:
            parts.append(_text(child))
        parts.append(child.tail or "")
    return "".join(parts)


def _lang(tuv: Element) -> str:
    return tuv.get("lang", "").lower().replace("_", "-")


def _matching(asked: str, found: list[str]) -> list[str]:
    """The one that is the same, or else those that are more specific."""
    asked = asked.lower().replace("_", "-")
    return [lang for lang in found if lang == asked] or [lang for lang in found if lang.startswith(f"{asked}-")]
