"""The documentation says what the source says: links, the tree, the tables of settings, the counts."""

import json
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from tools.pages import (
    PAGES,
    ROOT,
    Block,
    blocks,
    commands,
    definitions,
    headings,
    links,
    prose,
    rows,
    section,
    slug,
    tree,
)
from transduce.cli.main import app
from transduce.config import RunConfig, load_recipe, recipe_names
from transduce.data.cleaning import RULES, CleaningConfig
from transduce.evaluation.statistics import METRICS, TOKENIZERS
from transduce.nn.transformer import Layer
from transduce.presets import RATES, SIZES
from transduce.sizes import parameters

pytestmark = pytest.mark.unit

SOURCE = ROOT / "src" / "transduce"
DOCS = ROOT / "docs"
CHOICES = {"evaluation.metric": METRICS, "evaluation.tokenize": TOKENIZERS}  # what the types do not say
SECTIONS = ("3.1", "3.2.1", "3.2.2", "3.2.3", "3.3", "3.4", "3.5", "4", "5.1", "5.2", "5.3", "5.4", "6.1", "6.2", "6.3")


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def code(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


# ------------------------------------------------------------------------------------------------------------ all pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(read(page)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), f"{link} leads out of the project"
        assert target.exists(), f"{link}: no such file"
        if anchor and target.suffix == ".py":
            assert anchor in definitions(target), f"{link}: {path} defines no {anchor}"
        elif anchor:
            assert anchor in map(slug, headings(read(target))), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_speaks_of_one_machine(page: Path) -> None:
    assert re.findall(r"(?<![\w.])/(?:home|root|tmp|work|Users)/\S*", read(page)) == []


# --------------------------------------------------------------------------------------------------------------- README


def test_the_tree_lists_every_file() -> None:
    """A folder stands for its `__init__.py` too."""
    (listing,) = [b.text for b in blocks(section(read(ROOT / "README.md"), "The source")) if b.language == "text"]
    listed = {path.removeprefix("src/transduce/") for path in tree(listing)} - {""}
    files = [path for path in SOURCE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    expected = set()
    for file in files:
        place = file.relative_to(SOURCE)
        in_package = file.name == "__init__.py" and place.parent != Path()
        expected.add(f"{place.parent.as_posix()}/" if in_package else place.as_posix())
        expected |= {f"{folder.as_posix()}/" for folder in place.parents if folder != Path()}
    assert listed == expected
    assert [path for path, text in tree(listing).items() if not text and "recipes/" not in path] == ["src/transduce/"]
    assert max(map(len, listing.splitlines())) <= 100, "too wide for a screen"


def test_the_readme_knows_every_command_and_recipe() -> None:
    page = read(ROOT / "README.md")
    said = {words[1] for b in blocks(page) if b.language == "sh" for words in commands(b) if words[0] == "transduce"}
    names = {command.name or str(getattr(command.callback, "__name__", "")) for command in app.registered_commands}
    assert said == names
    table = {code(row[0])[0]: row for row in rows(section(page, "Recipes"))[1:]}
    assert sorted(table) == recipe_names()
    for name, row in table.items():
        recipe = load_recipe(name)
        assert row[2] == f"{recipe.model.n_layers} + {recipe.model.n_layers} layers, d_model {recipe.model.d_model}"
    assert set(recipe_names()) <= {word for row in rows(section(page, "Results")) for word in code(row[0])}


# -------------------------------------------------------------------------------------------------------- docs/paper.md


def test_the_walk_through_the_paper_is_complete() -> None:
    page = read(DOCS / "paper.md")
    numbers = [heading.split()[0] for heading in headings(page)]
    assert [n for n in SECTIONS if n not in numbers] == []
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in links(page)}
    assert [p.name for p in sorted((SOURCE / "nn").glob("*.py")) if p not in linked and p.name != "__init__.py"] == []


def test_table_3() -> None:
    table = rows(section(read(DOCS / "paper.md"), "6.2 Model variations"))[1:]
    assert [row[0] for row in table] == ["base", *["(A)"] * 4, *["(B)"] * 2, *["(C)"] * 7, *["(D)"] * 4, "(E)", "big"]
    for _, settings, _, counted in table:
        recipe = load_recipe("wmt14_ende_base", code(settings))
        n = parameters(recipe.model, recipe.tokenizer.size, recipe.tokenizer.size)
        assert f"{n / 1e6:.1f}" == counted, settings


# ------------------------------------------------------------------------------------------------------ docs/recipes.md


def settings() -> Iterator[tuple[str, Field[Any], Any]]:
    """Section, field and type of every key."""
    for name, kind in typing.get_type_hints(RunConfig).items():
        if is_dataclass(kind):
            hints = typing.get_type_hints(kind)
            for field in fields(kind):
                yield name, field, hints[field.name]


def default(field: Field[Any]) -> str:
    """As the page shows it: TOML, or what there is when nothing is said."""
    if field.name == "layer":
        return '`{ kind = "self-attention" }`'
    if field.default is MISSING:
        return "required"
    return "none" if field.default is None else f"`{json.dumps(field.default)}`"


def values(key: str, kind: Any) -> str:
    """What may stand there, as the page shows it."""
    if choices := CHOICES.get(key) or (typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()):
        return ", ".join(f'`"{choice}"`' for choice in choices)
    if isinstance(kind, types.UnionType):
        return "layer type" if kind == Layer else "files"
    plain = {int: "integer", float: "number", str: "text", bool: "`true`, `false`"}
    lists = {tuple[str, ...]: "list of texts", tuple[float, ...]: "list of numbers"}
    return (plain | lists).get(kind, "two columns")


def test_every_key_is_documented_with_its_default_and_values() -> None:
    page = section(read(DOCS / "recipes.md"), "Every key")
    found = {name: rows(section(page, name))[1:] for name in headings(page) if name != "name"}
    expected: dict[str, list[list[str]]] = {}
    for name, field, kind in settings():
        expected.setdefault(name, []).append([f"`{field.name}`", default(field), values(f"{name}.{field.name}", kind)])
    assert {name: [row[:3] for row in table] for name, table in found.items()} == expected
    assert [row for table in found.values() for row in table if len(row) != 4 or not row[3]] == []


def test_every_rule_is_explained() -> None:
    table = rows(section(read(DOCS / "data.md"), "The rules"))[1:]
    assert sorted(code(row[0])[0] for row in table) == sorted(RULES)
    switches = {row[2] for row in table} - {"always"}
    assert switches == {f"`cleaning.{field.name}`" for field in fields(CleaningConfig)}


def test_presets() -> None:
    head, *table = rows(section(read(DOCS / "recipes.md"), "Without a recipe"))
    for row, name in zip(table, SIZES, strict=True):
        norm = "pre" if name in ("tiny", "small") else "post"
        rates = dict(zip(("learning_rate", "warmup", "max_tokens", "accumulate"), RATES[name], strict=True))
        facts = SIZES[name] | {"norm": norm} | rates
        assert row == [f"`{name}`", *(str(facts[key]) for key in head[1:])]


# -------------------------------------------------------------------------------------------------- how pages are read


PAGE = """\
# Title, with `code`

See [this](a.py#f) and [`that`](b.md), not `[code](c.md)`.

| a | b \\| c |
|---|:-:|
| 1 | |

```sh
run "two words" --x=1   # a comment
run 'a | b'
```

## Part one

```text
top/
  one.py   says something
  two/     more
    x.py
```
Text.

## Part two
"""


def test_parts_of_a_page() -> None:
    assert headings(PAGE) == ["Title, with `code`", "Part one", "Part two"]
    assert slug("Title, with `code`") == "title-with-code"
    assert links(PAGE) == ["a.py#f", "b.md"]
    assert rows(PAGE) == [["a", "b \\| c"], ["1", ""]]
    shell, text = blocks(PAGE)
    assert (shell.language, shell.line, text.language) == ("sh", 10, "text")
    assert commands(shell) == [["run", "two words", "--x=1"], ["run", "a | b"]]
    assert tree(text.text) == {"top/": "", "top/one.py": "says something", "top/two/": "more", "top/two/x.py": ""}
    assert section(PAGE, "Part one").strip().endswith("Text.")
    assert "run" not in prose(PAGE)
    with pytest.raises(LookupError, match="no heading"):
        section(PAGE, "Part three")


@pytest.mark.parametrize("line", ["a | b", "a > b", "a; b", "echo $HOME", "a *.txt"])
def test_commands_that_need_a_shell_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match="line 7: .* needs a shell"):
        commands(Block(language="sh", text=f"ok\n{line}\n", line=6))


def test_names_that_a_file_defines(tmp_path: Path) -> None:
    source = "A = 1\nclass B:\n    x: int = 2\n    def m(self): pass\ndef f():\n    def inner(): pass\n"
    (tmp_path / "a.py").write_text(source, encoding="utf-8")
    assert definitions(tmp_path / "a.py") == {"A", "B", "B.x", "B.m", "f"}
