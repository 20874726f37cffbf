"""A corpus of a few words, and where it comes from."""

import gzip
import io
import tarfile
from typing import Any

from tests.server import Served, Site
from transduce.data.sources import AsIs, Dictionary, Download, Joined, Part, Source, Target


def archive(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


PACKED = gzip.compress(b"eins\n")
ARCHIVE = archive({"x/b.en": b"one\ntwo\n", "x/b.de": b"eins\nzwei\n"})


class Silent:
    """A progress that tells nobody."""

    def begin(self, url: str, done: int, total: int) -> None:
        pass

    def advance(self, n: int) -> None:
        pass


def small_files() -> dict[str, Served]:
    """What `corpus` is made of."""
    return {"/a.gz": Served(PACKED), "/b.tgz": Served(ARCHIVE), "/c": Served(b"drei\r\n")}


def corpus(site: Site, **archive_facts: Any) -> Source:
    """Five files of three downloads."""
    a, c = Download(url=f"{site.url}/a.gz"), Download(url=f"{site.url}/c")
    b = Download(url=f"{site.url}/b.tgz", **archive_facts)
    joined = {lang: Joined(parts=(Part(download=b, member=f"x/b.{lang}"),)) for lang in ("en", "de")}
    targets: dict[str, AsIs | Joined | Dictionary] = {
        "small/a.gz": AsIs(download=a),
        "small/b.en.gz": joined["en"],
        "small/b.de": joined["de"],
        "small/c.xz": Joined(parts=(Part(download=c),)),
        "small/LICENSE": AsIs(download=c),
    }
    return Source(
        about="a few words",
        home=site.url,
        size="tiny",
        licence="any",
        free=True,
        recipes=(),
        targets=tuple(Target(path=path, content=content) for path, content in targets.items()),
    )
