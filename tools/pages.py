"""The project's Markdown pages as their tests see them: blocks, links, tables, trees; and running what they say.

A block of `sh` holds commands, one a line, without pipes or redirections, so that a reader can paste any one of them on
any system. A block of `toml` whose first line is `# NAME.toml` is that file. Blocks of `python` of one page share their
names, from top to bottom. Other blocks are only looked at.
"""

import ast
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SHELL = frozenset("|&;<>$`*?")  # outside quotes these would need a shell


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A fenced block; `line` is that of its first line of content, counted from 1."""

    language: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    return [
        Block(language=found[1], text=found[2], line=page.count("\n", 0, found.start()) + 2)
        for found in _FENCE.finditer(page)
    ]


def prose(page: str) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page)


def links(page: str) -> list[str]:
    """Targets of all links, in order; what stands in code is none."""
    text = prose(page)
    shown = re.sub(r"`[^`\n]*`", lambda code: code[0] if text[code.end() :].startswith("]") else "", text)
    return _LINK.findall(shown)


def headings(page: str) -> list[str]:
    """All headings, without their number signs."""
    return re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)


def section(page: str, heading: str) -> str:
    """What stands under `heading`, up to the next one of its level or above. Raises `LookupError`."""
    found = re.search(rf"^(#+) {re.escape(heading)}$", page, re.MULTILINE)
    if found is None:
        raise LookupError(f"no heading {heading!r}")
    end = re.search(rf"^#{{1,{len(found[1])}}} ", page[found.end() :], re.MULTILINE)
    return page[found.end() :][: end.start() if end else None]


def slug(heading: str) -> str:
    """The anchor that a heading gets: letters in lower case, digits, hyphens; spaces become hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def rows(page: str) -> list[list[str]]:
    """Cells of every row of every table in `page`, without the lines under the headers."""
    lines = [line.strip() for line in prose(page).splitlines() if line.strip().startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]


def tree(block: str) -> dict[str, str]:
    """Paths, folders with a slash at the end, and what is said of each. Two spaces deeper is one folder down."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in block.splitlines():
        name, _, text = line.strip().partition(" ")
        depth = (len(line) - len(line.lstrip(" "))) // 2
        above = [*above[:depth], name]
        found["".join(above)] = text.strip()
    return found


def definitions(source: Path) -> set[str]:
    """Names that a Python file defines at its top level or in its classes: `Class`, `Class.method`, `CONSTANT`."""
    return set(_names(ast.parse(source.read_text(encoding="utf-8")).body, ""))


def _names(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        match node:
            case ast.ClassDef():
                yield prefix + node.name
                yield from _names(node.body, f"{prefix}{node.name}.")
            case ast.FunctionDef():
                yield prefix + node.name
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name
            case ast.Assign():
                yield from (prefix + target.id for target in node.targets if isinstance(target, ast.Name))
            case _:
                pass


def commands(block: Block) -> list[list[str]]:
    """The commands of a `sh` block as words; comments are dropped. Raises `ValueError` on what needs a shell."""
    found = []
    for number, line in enumerate(block.text.splitlines(), start=block.line):
        words = shlex.split(line, comments=True)
        bare = re.sub(r"'[^']*'|\"[^\"]*\"|#.*", "", line)
        if _SHELL & set(bare):
            raise ValueError(f"line {number}: {line!r} needs a shell; write it so that it does not")
        if words:
            found.append(words)
    return found


Command = Callable[[list[str]], int]


def follow(page: str, folder: Path, programs: Mapping[str, Command]) -> list[list[str]]:
    """Do what `page` says, from top to bottom, in the current directory, `folder`; returns the commands that were run.

    `programs` runs a command by its first word; it gets the words and returns an exit status.

    Raises:
        RuntimeError: a command failed, or there is no program for it.
    """
    done: list[list[str]] = []
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        match block.language:
            case "toml":
                if name := re.match(r"# (\S+\.toml)\n", block.text):
                    (folder / name[1]).write_text(block.text, encoding="utf-8")
            case "python":
                exec(compile("\n" * (block.line - 1) + block.text, "page", "exec"), names)
            case "sh":
                for words in commands(block):
                    if words[0] not in programs:
                        raise RuntimeError(f"nothing runs {shlex.join(words)!r}")
                    if status := programs[words[0]](words):
                        raise RuntimeError(f"exit status {status}: {shlex.join(words)}")
                    done.append(words)
            case _:
                pass
    return done
