"""From what was downloaded to the files that recipes read. Archives are streamed: nothing is unpacked onto the disk."""

import gzip
import lzma
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import IO, assert_never, cast

from transduce.data.corpus import open_unpacked
from transduce.data.sources import AsIs, Dictionary, Download, Joined, Part, Target
from transduce.errors import FetchError, cannot_write
from transduce.files import NEW

EVERY = 23  # fairseq's rule for the development part of IWSLT14
_SEGMENT = re.compile(r"<seg.*?>(.*)</seg>.*?")
_ABOUT_A_TALK = (b"<url>", b"<talkid>", b"<keywords>", b"<speaker>", b"<translator", b"<reviewer")
_KEPT_TAGS = re.compile(rb"</?(?:title|description)>")

Locate = Callable[[Download], Path]
_Bytes = BufferedIOBase | IO[bytes]


def convert(target: Target, locate: Locate, path: Path, ready: Callable[[Path], None]) -> None:
    """Make the file `path`, whole or not at all, from the downloads that `locate` finds.

    `ready` is called with the whole file before it gets its name.

    Raises:
        FetchError: a download is damaged, or has not the parts that it should have.
        SaveError: the disk is full or not writable.
    """
    temporary = path.with_name(path.name + NEW)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        match target.content:
            case AsIs(download=download):
                _check_whole(locate(download), download)
                shutil.copyfile(locate(download), temporary)
            case Joined() | Dictionary():
                with _open_packed(temporary, path.suffix) as out:
                    for line in _lines(target.content, locate):
                        out.write(line + b"\n")
            case _:
                assert_never(target.content)
        ready(temporary)
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def split_dictionary(entries: Iterable[tuple[str, list[str]]]) -> dict[str, list[tuple[str, str]]]:
    """Entries of a pronouncing dictionary to train, dev and test pairs, every word in one part only.

    Words are numbered from 0 in dictionary order; number mod 20 = 19 is dev, 17 or 18 is test, the rest train: the rule
    of g2p-seq2seq. Stress is dropped, and pronunciations that are then the same.
    """
    words: dict[str, list[str]] = {}
    for word, phones in entries:
        said = " ".join(phone.rstrip("012") for phone in phones)
        known = words.setdefault(word, [])
        if said not in known:
            known.append(said)
    parts: dict[str, list[tuple[str, str]]] = {"train": [], "dev": [], "test": []}
    for number, (word, all_said) in enumerate(words.items()):
        part = "dev" if number % 20 == 19 else "test" if number % 20 in (17, 18) else "train"
        parts[part] += [(word, said) for said in all_said]
    return parts


def _lines(content: Joined | Dictionary, locate: Locate) -> Iterator[bytes]:
    match content:
        case Joined(parts=parts, keep=keep):
            lines = (line for part in parts for line in _part_lines(part, locate(part.download)))
            for number, line in enumerate(lines, start=1):
                if keep == "all" or (number % EVERY == 0) == (keep == "every 23rd"):
                    yield line
        case Dictionary(download=download, part=name):
            with open_unpacked(locate(download)) as file:
                pairs = split_dictionary(_entries(file, download))[name]
            yield from (f"{word}\t{said}".encode() for word, said in pairs)


def _entries(file: _Bytes, download: Download) -> Iterator[tuple[str, list[str]]]:
    """Word and phones of every line of cmudict.dict; `word(2)` is another pronunciation of `word`."""
    for number, line in enumerate(file, start=1):
        fields = line.decode(errors="replace").partition("#")[0].split()
        if len(fields) < 2:
            raise FetchError(f"{download.url}:{number}: not a word and its phones: {line[:60]!r}. Look at it there.")
        yield re.sub(r"\(\d+\)$", "", fields[0]), fields[1:]


def _part_lines(part: Part, path: Path) -> Iterator[bytes]:
    """Raises `FetchError`: the archive is damaged, or has no such member."""
    try:
        with _open_part(part, path) as file:
            for line in file:
                line = line.removesuffix(b"\n").removesuffix(b"\r")
                match part.form:
                    case "text":
                        yield line
                    case "sgm":
                        if line.lstrip().startswith(b"<seg "):
                            yield _segment(line)
                    case "talks":
                        if not line.startswith(_ABOUT_A_TALK):
                            yield _KEPT_TAGS.sub(b"", line).strip()
    except (EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, gzip.BadGzipFile) as error:
        raise _damaged(part.download, error) from error


def _segment(line: bytes) -> bytes:
    """What sacreBLEU makes of a line: white space of any kind, no-break spaces too, becomes one space."""
    text = _SEGMENT.sub(r"\1", line.decode(errors="surrogateescape"))
    return " ".join(text.split()).encode(errors="surrogateescape")


@contextmanager
def _open_part(part: Part, path: Path) -> Iterator[_Bytes]:
    if not part.member:
        with open_unpacked(path) as file:
            yield file
        return
    with tarfile.open(path, "r|*") as archive:  # a stream: members come in their order, once
        for entry in archive:
            if entry.isfile() and entry.name.removeprefix("./") == part.member:
                member = cast(IO[bytes], archive.extractfile(entry))
                with gzip.open(member) if part.member.endswith(".gz") else member as file:
                    yield file
                return
    raise FetchError(f"{part.download.url}: there is no {part.member} in this archive. Look at it there.")


@contextmanager
def _open_packed(path: Path, suffix: str) -> Iterator[_Bytes]:
    """A file to write, compressed as `suffix` says; the same content gives the same bytes."""
    with path.open("wb") as raw:
        match suffix:
            case ".gz":
                with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
                    yield packed
            case ".xz":
                with lzma.open(raw, "wb") as packed:
                    yield packed
            case _:
                yield raw


def _check_whole(path: Path, download: Download) -> None:
    """Raise `FetchError` if a packed file cannot be unpacked to its end."""
    try:
        with open_unpacked(path) as file:
            while file.read(1 << 20):
                pass
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise _damaged(download, error) from error


def _damaged(download: Download, error: Exception) -> FetchError:
    return FetchError(f"{download.url}: what came is damaged ({error}). Fetch it again with --fresh.")
