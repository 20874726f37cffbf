"""`transduce fetch`: what it shows, what it asks, and how it ends."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from tests.cli.conftest import Transduce
from tests.data.tiny import corpus, small_files
from tests.disk import contents
from tests.server import Served, Site, serving
from transduce.cli import console
from transduce.data import sources
from transduce.data.sources import SOURCES

pytestmark = pytest.mark.unit


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Two corpora of the same files: `small`, whose licence is free, and `closed`, whose licence is not."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("TRANSDUCE_DATA", raising=False)
    with serving(small_files()) as site:
        free = corpus(site)
        closed = replace(free, free=False, licence="for research only", left="Tokenise it.")
        monkeypatch.setattr(sources, "SOURCES", {"small": free, "closed": closed})
        yield site


def test_all_there_are(transduce: Transduce) -> None:
    said = transduce("fetch")
    assert (said.status, said.err) == (0, "")
    for key, source in SOURCES.items():
        assert f"{key}: {source.about}\n  source   {source.home}\n" in said.out
        assert source.licence in said.out


def test_a_free_corpus_is_fetched_at_once(transduce: Transduce, site: Site, tmp_path: Path) -> None:
    said = transduce("fetch", "small", "--to", tmp_path)
    assert (said.status, said.out) == (0, "")
    for part in ("a few words", site.url, "tiny", "licence  any", "b.tgz, ", f"5 files in {tmp_path / 'small'}"):
        assert part in said.err
    again = transduce("fetch", "small", "--to", tmp_path)
    assert again.status == 0
    assert again.err == f"small: all 5 files are in {tmp_path / 'small'}, as they were fetched.\n"


@pytest.mark.parametrize(("variable", "folder"), [("", "data"), ("elsewhere", "elsewhere")])
def test_without_to_it_is_where_recipes_look(
    transduce: Transduce, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRANSDUCE_DATA", variable)
    assert transduce("fetch", "small").status == 0
    assert (tmp_path / folder / "small" / "LICENSE").is_file()


def test_a_licence_that_is_not_free_needs_a_yes(transduce: Transduce, site: Site, tmp_path: Path) -> None:
    said = transduce("fetch", "closed", "--to", tmp_path)
    said.refused("closed: the licence is to be agreed to", "no terminal", "(for research only)", "give --yes")
    assert (site.asked, contents(tmp_path)) == ([], {})
    said = transduce("fetch", "closed", "--to", tmp_path, "--yes")
    assert said.status == 0
    assert "for research only" in said.err
    assert "Tokenise it.\n" in said.err


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1), ("", 1)])
def test_on_a_terminal_it_is_asked(
    transduce: Transduce, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    monkeypatch.setattr("transduce.cli.fetch._on_a_terminal", lambda: True)
    said = transduce("fetch", "closed", "--to", tmp_path, stdin=f"{answer}\n")
    assert said.status == status
    assert "licence  for research only" in said.err
    assert said.err.count("Is your use within it") == 1
    assert bool(contents(tmp_path)) == (status == 0)
    assert ("nothing was fetched" in said.err) == (status == 1)


def test_another_text_than_ours_is_a_warning(
    transduce: Transduce, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transduce.data.fetch.measured", lambda: {"small/LICENSE": "0"})
    said = transduce("fetch", "small", "--to", tmp_path)
    assert said.status == 0
    assert f"warning: {tmp_path / 'small' / 'LICENSE'} is not the text that our results were measured on" in said.err


def test_what_does_not_work_is_one_line(transduce: Transduce, site: Site, tmp_path: Path) -> None:
    transduce("fetch", "smal", "--to", tmp_path).refused("smal: no such corpus. There are: small, closed.")
    site.files["/b.tgz"] = Served(b"<html>Moved</html>", type="text/html")
    said = transduce("fetch", "small", "--to", tmp_path)
    said.failed(f"{site.url}/b.tgz: the server sent a web page instead of the file")
    assert said.status == 1
    (tmp_path / "small" / "b.de").write_text("mine", encoding="utf-8")
    transduce("fetch", "small", "--to", tmp_path).refused("b.de: is there, but was not fetched")


def test_on_a_terminal_there_is_a_bar(
    transduce: Transduce, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None, highlight=False)
    monkeypatch.setattr(console, "err", screen)
    assert transduce("fetch", "small", "--to", tmp_path).status == 0
    shown = cast(io.StringIO, screen.file).getvalue()
    assert "b.tgz" in shown
    assert "5 files in" in shown
