"""Downloads: whole or continuable, whatever the server does."""

import gzip
import hashlib
import json
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disk import contents, full_disk
from tests.server import Served, Site, serving
from transduce.data.download import ATTEMPTS, check_digest, download
from transduce.data.sources import Download
from transduce.errors import FetchError, SaveError

pytestmark = pytest.mark.unit

CONTENT = bytes(range(256)) * 1000


class Bar:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int]] = []
        self.received = 0

    def begin(self, url: str, done: int, total: int) -> None:
        self.begun.append((done, total))

    def advance(self, n: int) -> None:
        self.received += n


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def site() -> Iterator[Site]:
    with serving({"/a.bin": Served(CONTENT)}) as site:
        yield site


def get(site: Site, folder: Path, name: str = "a.bin", size: int = 0) -> Bar:
    """Download one file into `folder`, without waiting between attempts."""
    bar = Bar()
    download(Download(url=f"{site.url}/{name}", size=size), folder / name, bar, lambda seconds: None)
    return bar


def problem(site: Site, folder: Path, name: str = "a.bin", size: int = 0) -> str:
    with pytest.raises(FetchError) as caught:
        get(site, folder, name, size)
    assert "\n" not in str(caught.value)
    assert f"{site.url}/{name}: " in str(caught.value)
    assert not (folder / name).exists()
    return str(caught.value)


def test_a_whole_file_and_nothing_else(site: Site, tmp_path: Path) -> None:
    bar = get(site, tmp_path / "new")
    assert contents(tmp_path / "new") == {"a.bin": CONTENT}
    assert (bar.begun, bar.received) == ([(0, len(CONTENT))], len(CONTENT))
    assert site.asked == [("/a.bin", "")]


def test_a_broken_connection_is_gone_on_with(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"].cuts = [100_000, 1]
    bar = get(site, tmp_path)
    assert contents(tmp_path) == {"a.bin": CONTENT}
    assert [wanted for _, wanted in site.asked] == ["", "bytes=100000-", "bytes=100001-"]
    assert bar.received == len(CONTENT)


def test_a_part_is_kept_and_the_next_call_goes_on(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"].cuts = [1000] * ATTEMPTS
    assert f"broke off at byte {1000 * ATTEMPTS:,}, {ATTEMPTS} times" in problem(site, tmp_path)
    assert (tmp_path / "a.bin.part").read_bytes() == CONTENT[: 1000 * ATTEMPTS]
    bar = get(site, tmp_path)
    assert contents(tmp_path) == {"a.bin": CONTENT}
    assert bar.begun == [(1000 * ATTEMPTS, len(CONTENT))]


@pytest.mark.parametrize("etag", ['"one"', 'W/"weak"', ""])
def test_a_server_that_ignores_ranges_sends_all_again(site: Site, tmp_path: Path, etag: str) -> None:
    site.files["/a.bin"] = Served(CONTENT, ranges=False, cuts=[100_000], etag=etag)
    get(site, tmp_path)
    assert contents(tmp_path) == {"a.bin": CONTENT}


def test_a_part_of_an_older_file_is_not_gone_on_with(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"].cuts = [1000] * ATTEMPTS
    problem(site, tmp_path)
    site.files["/a.bin"] = Served(CONTENT[::-1], etag='"two"')
    get(site, tmp_path)
    assert contents(tmp_path) == {"a.bin": CONTENT[::-1]}


@pytest.mark.parametrize(
    "newer", [CONTENT[::-1] + b"more", CONTENT[:500], CONTENT[:4000]], ids=["longer", "short", "="]
)
def test_nor_where_only_the_size_tells(site: Site, tmp_path: Path, newer: bytes) -> None:
    site.files["/a.bin"] = Served(CONTENT, etag="", cuts=[1000] * ATTEMPTS)
    problem(site, tmp_path)
    site.files["/a.bin"] = Served(newer, etag="")
    get(site, tmp_path)
    assert contents(tmp_path) == {"a.bin": newer}


def test_nor_where_the_server_sends_another_range(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = Served(CONTENT, cuts=[1000], range_start=0)
    get(site, tmp_path)
    assert contents(tmp_path) == {"a.bin": CONTENT}


@pytest.mark.parametrize("note", [b"", b"{}", b'{"url": "elsewhere", "total": 9, "validator": ""}'])
def test_a_part_without_a_note_is_not_trusted(site: Site, tmp_path: Path, note: bytes) -> None:
    (tmp_path / "a.bin.part").write_bytes(b"something")
    (tmp_path / "a.bin.part.json").write_bytes(note)
    get(site, tmp_path)
    assert contents(tmp_path) == {"a.bin": CONTENT}


def test_a_part_that_is_whole_is_not_asked_for(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    note = {"url": f"{site.url}/a.bin", "total": len(CONTENT), "validator": '"one"'}
    (tmp_path / "a.bin.part.json").write_text(json.dumps(note), encoding="utf-8")
    get(site, tmp_path)
    assert site.asked == []


def test_a_server_that_does_not_say_how_much(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"].length = False
    assert get(site, tmp_path).begun == [(0, 0)]
    assert contents(tmp_path) == {"a.bin": CONTENT}
    (tmp_path / "a.bin").unlink()
    site.files["/a.bin"].cuts = [1000] * ATTEMPTS  # such a break looks like an end, unless the size was published
    assert "broke off at byte 4,000, 4 times" in problem(site, tmp_path, size=len(CONTENT))


def test_a_wrong_size_is_known_before_anything_comes(site: Site, tmp_path: Path) -> None:
    said = problem(site, tmp_path, size=17)
    assert f"has {len(CONTENT):,} bytes, but 17 were published" in said
    assert contents(tmp_path) == {}
    site.files["/a.bin"].length = False
    assert f"has {len(CONTENT):,} bytes, but 17 were published" in problem(site, tmp_path, size=17)


def test_a_server_that_is_busy_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"].statuses = [503, 429]
    waits: list[float] = []
    download(Download(url=f"{site.url}/a.bin"), tmp_path / "a.bin", Bar(), waits.append)
    assert contents(tmp_path) == {"a.bin": CONTENT}
    assert waits == [2.0, 4.0]


@pytest.mark.parametrize(
    ("served", "message"),
    [
        (Served(b"", statuses=[404]), "the server answered 404 Not Found. It may have moved"),
        (Served(b"", statuses=[403]), "the server answered 403 Forbidden. It may have moved"),
        (Served(b"", statuses=[500] * ATTEMPTS), "the server answered 500 Internal Server Error, 4 times"),
        (Served(b"<p>Sorry</p>", type="text/html; charset=utf-8"), "sent a web page instead of the file"),
        (Served(b"\n<!DOCTYPE html><p>Sorry</p>"), "sent a web page instead of the file"),
        (Served(b"not packed at all"), "begins with b'not pack', which is no .gz file"),
        (Served(b""), "the server sent nothing"),
    ],
)
def test_what_is_not_the_file(site: Site, tmp_path: Path, served: Served, message: str) -> None:
    site.files["/a.gz"] = served
    assert message in problem(site, tmp_path, "a.gz")
    site.files["/a.gz"] = Served(gzip.compress(b"text"))
    get(site, tmp_path, "a.gz")  # nothing of it is in the way
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"text"


def test_no_connection(tmp_path: Path) -> None:
    with serving({}) as site:
        pass  # nobody listens there any more
    assert "cannot be reached (" in problem(site, tmp_path)


def test_a_full_disk(site: Site, tmp_path: Path) -> None:
    with full_disk(70_000), pytest.raises(SaveError, match="a.bin: cannot be written .* the same command goes on"):
        get(site, tmp_path)
    assert not (tmp_path / "a.bin").exists()
    assert get(site, tmp_path).begun[0][0] > 0
    assert contents(tmp_path) == {"a.bin": CONTENT}


def test_a_disk_that_is_too_small_from_the_start(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(9, 8, 1))
    with pytest.raises(SaveError, match=r"256,000 bytes are to come from .*/a.bin, 1 are free. Free space, or choose"):
        get(site, tmp_path)


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_digests(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(CONTENT)
    good = f"{kind}:{hashlib.new(kind, CONTENT).hexdigest()}"
    check_digest(Download(url="u", digest=good), path)
    check_digest(Download(url="u"), path)
    with pytest.raises(FetchError, match=f"u: its {kind} is [0-9a-f]+, but 00 was published.* --fresh"):
        check_digest(Download(url="u", digest=f"{kind}:00"), path)
