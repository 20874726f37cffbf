"""A corpus from its source to its place: once, again, after breaks, and when the source is not what it was."""

import gzip
import hashlib
import json
import lzma
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.data.tiny import ARCHIVE, PACKED, Silent, corpus, small_files
from tests.disk import contents
from tests.server import Served, Site, serving
from tests.tiny import Killed
from transduce.data import fetch as fetching
from transduce.data.convert import convert
from transduce.data.download import ATTEMPTS
from transduce.data.fetch import Fetched, Fetcher
from transduce.data.sources import Source, Target
from transduce.errors import ConfigError, DataError, FetchError, TransduceError
from transduce.files import locked, write_json

pytestmark = pytest.mark.unit


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    with serving(small_files()) as site:
        yield site


def fetch(source: Source, root: Path, **options: Any) -> Fetched:
    fetcher = Fetcher(root=root, progress=Silent(), say=lambda text: None, pause=lambda s: None, today="2017-06-12")
    fetcher = replace(fetcher, **options)
    return fetcher.fetch(source, fetcher.missing(source))


def problem(kind: type[TransduceError], source: Source, root: Path) -> str:
    before = contents(root / "small")
    with pytest.raises(kind) as caught:
        fetch(source, root)
    assert "\n" not in str(caught.value)
    after = contents(root / "small")
    assert {path: after[path] for path in before if path != "fetched.json"} == {
        path: content for path, content in before.items() if path != "fetched.json"
    }
    return str(caught.value)


def names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


def test_everything_is_in_its_place_and_recorded(site: Site, tmp_path: Path) -> None:
    done = fetch(corpus(site), tmp_path)
    files = contents(tmp_path)
    record = json.loads(files.pop("small/fetched.json"))
    assert {path: lzma.decompress(data) if path.endswith(".xz") else data for path, data in files.items()} == {
        "small/a.gz": PACKED,
        "small/b.en.gz": files["small/b.en.gz"],
        "small/b.de": b"eins\nzwei\n",
        "small/c.xz": b"drei\n",
        "small/LICENSE": b"drei\r\n",
    }
    assert gzip.decompress(files["small/b.en.gz"]) == b"one\ntwo\n"
    assert record["files"] == {
        path: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for path, data in files.items()
    }
    assert record["downloads"][f"{site.url}/b.tgz"] == {
        "bytes": len(ARCHIVE), "sha256": hashlib.sha256(ARCHIVE).hexdigest(), "date": "2017-06-12",
    }  # fmt: skip
    assert [path for path, _ in site.asked] == ["/a.gz", "/b.tgz", "/c"]
    assert names(done.made) == ["a.gz", "b.en.gz", "b.de", "c.xz", "LICENSE"]
    assert done.differ == ()
    assert not (tmp_path / ".downloads").exists()


def test_what_is_there_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    fetch(corpus(site), tmp_path)
    before = contents(tmp_path)
    site.asked.clear()
    done = fetch(corpus(site), tmp_path)
    assert (site.asked, names(done.made)) == ([], [])
    (tmp_path / "small" / "b.de").unlink()
    assert names(fetch(corpus(site), tmp_path).made) == ["b.de"]
    assert [path for path, _ in site.asked] == ["/b.tgz"]
    assert contents(tmp_path) == before


def test_a_break_is_gone_on_with(site: Site, tmp_path: Path) -> None:
    site.files["/b.tgz"].cuts = [10] * ATTEMPTS
    assert "broke off at byte 40, 4 times" in problem(FetchError, corpus(site), tmp_path)
    assert set(contents(tmp_path / "small")) == {"fetched.json"}
    site.asked.clear()
    fetch(corpus(site), tmp_path)
    assert site.asked == [("/b.tgz", "bytes=40-"), ("/c", "")]
    assert len(contents(tmp_path)) == 6


@pytest.mark.parametrize("step", range(1, 9))
def test_killed_at_any_moment_the_same_command_goes_on(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Before or after each of the eight times that the record is written."""
    fetch(corpus(site), tmp_path / "whole")
    for before in (True, False):
        root, calls = tmp_path / str(before), iter(range(1, 99))

        def write(path: Path, value: Any, before: bool = before, calls: Iterator[int] = calls) -> None:
            last = next(calls) == step
            if not (last and before):
                write_json(path, value)
            if last:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(fetching, "write_json", write)
            with pytest.raises(Killed):
                fetch(corpus(site), root)
        fetch(corpus(site), root)
        assert contents(root) == contents(tmp_path / "whole")


def test_the_first_date_is_kept(site: Site, tmp_path: Path) -> None:
    fetch(corpus(site), tmp_path)
    before = contents(tmp_path)
    (tmp_path / "small" / "c.xz").unlink()
    fetch(corpus(site), tmp_path, today="2018-01-01")
    assert contents(tmp_path) == before


def test_one_missing_file_costs_only_that_file(site: Site, tmp_path: Path) -> None:
    there = site.files.pop("/c")
    assert "/c: the server answered 404" in problem(FetchError, corpus(site), tmp_path)
    site.files["/c"] = there
    site.asked.clear()
    fetch(corpus(site), tmp_path)
    assert site.asked == [("/c", "")]


def test_a_source_that_changed_since_is_an_error(site: Site, tmp_path: Path) -> None:
    fetch(corpus(site), tmp_path)
    (tmp_path / "small" / "c.xz").unlink()
    site.files["/c"] = Served(b"vier\r\n", etag='"two"')
    said = problem(FetchError, corpus(site), tmp_path)
    new, old = (hashlib.sha256(text).hexdigest() for text in (b"vier\r\n", b"drei\r\n"))
    assert f"{site.url}/c: changed at its source: its sha256 is {new}, but was {old} on 2017-06-12. " in said
    assert "changed at its source" in problem(FetchError, corpus(site), tmp_path), "it forgot"
    fetch(corpus(site), tmp_path, fresh=True)
    assert (tmp_path / "small" / "LICENSE").read_bytes() == b"vier\r\n"
    assert fetch(corpus(site), tmp_path).made == ()


def test_old_files_are_not_taken_for_new_ones(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything anew, and stopped after the first file: of aligned files, one would be of another version."""
    fetch(corpus(site), tmp_path)
    site.files["/a.gz"] = Served(gzip.compress(b"new\n"), etag='"two"')
    made: list[Path] = []

    def stopped(target: Target, place: Any, path: Path, add: Any) -> None:
        if made:
            raise Killed
        made.append(path)
        convert(target, place, path, add)

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "convert", stopped)
        with pytest.raises(Killed):
            fetch(corpus(site), tmp_path, fresh=True)
    assert "is there, but was not fetched, or was changed since" in problem(ConfigError, corpus(site), tmp_path)
    assert len(fetch(corpus(site), tmp_path, fresh=True).made) == 5


def test_published_digests_and_sizes_are_held_to(site: Site, tmp_path: Path) -> None:
    good = {"size": len(ARCHIVE), "digest": f"sha256:{hashlib.sha256(ARCHIVE).hexdigest()}"}
    wrong = {"size": len(ARCHIVE), "digest": f"sha256:{'0' * 64}"}
    assert "was published" in problem(FetchError, corpus(site, **wrong), tmp_path / "a")
    assert not list((tmp_path / "a" / ".downloads").glob("*b.tgz*")), "what is wrong would be gone on with"
    assert "17 were published" in problem(FetchError, corpus(site, size=17), tmp_path / "a")
    fetch(corpus(site, **good), tmp_path / "a")
    fetch(corpus(site, **wrong), tmp_path / "b", fresh=True)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_file_of_the_user_is_not_touched(site: Site, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "b.de").write_bytes(b"mine")
    assert "small/b.de: is there, but was not fetched" in problem(ConfigError, corpus(site), tmp_path)
    assert site.asked == []
    fetch(corpus(site), tmp_path, fresh=True)
    (tmp_path / "small" / "b.de").write_bytes(b"changed")
    assert "or was changed since. Move it away, or replace it" in problem(ConfigError, corpus(site), tmp_path)


@pytest.mark.parametrize("record", [b"", b"[]", b"{}", b'{"downloads": {}, "files": 3}'])
def test_a_broken_record_is_an_error(site: Site, tmp_path: Path, record: bytes) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "fetched.json").write_bytes(record)
    assert "small/fetched.json: not a record that `fetch` wrote" in problem(DataError, corpus(site), tmp_path)


def test_two_do_not_fetch_to_one_place(site: Site, tmp_path: Path) -> None:
    (tmp_path / ".downloads").mkdir()
    with locked(tmp_path / ".downloads") as free:
        assert free
        assert "another fetch is at work there" in problem(FetchError, corpus(site), tmp_path)
    assert fetch(corpus(site), tmp_path).made


def test_downloads_can_be_kept_for_another_corpus(site: Site, tmp_path: Path) -> None:
    source = corpus(site)
    fetch(source, tmp_path, keep=True)
    site.asked.clear()
    targets = tuple(Target(path=f"other/{t.path.partition('/')[2]}", content=t.content) for t in source.targets)
    fetch(replace(source, targets=targets), tmp_path)
    assert site.asked == []
    assert not (tmp_path / ".downloads").exists()
    small, other = contents(tmp_path / "small"), contents(tmp_path / "other")
    del small["fetched.json"], other["fetched.json"]
    assert small == other


def test_another_text_than_was_measured_on_is_told(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"small/c.xz": b"drei\n", "small/a.gz": b"other\n", "elsewhere": b""}
    digests = {path: hashlib.sha256(text).hexdigest() for path, text in texts.items()}
    monkeypatch.setattr(fetching, "measured", lambda: digests)
    assert names(fetch(corpus(site), tmp_path).differ) == ["a.gz"]
