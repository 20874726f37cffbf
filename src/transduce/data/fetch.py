"""A corpus from its source to its place below the data root, and a record of what was seen there."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, final

from transduce.data.convert import convert
from transduce.data.corpus import open_unpacked
from transduce.data.download import Progress, check_digest, download
from transduce.data.sources import Download, Source, Target
from transduce.errors import ConfigError, DataError, FetchError, cannot_write
from transduce.files import locked, sha256, write_json

RECORD = "fetched.json"
DOWNLOADS = ".downloads"  # below the data root, until everything is made of them


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """What was done: files made now, and files whose text is not what we measured on."""

    made: tuple[Path, ...]
    differ: tuple[Path, ...]


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Fetcher:
    """Makes the files of sources below `root`, and a record of them.

    A file that is there as it was fetched stays. `fresh` makes all of them again, and takes what the source has now,
    even if it is not what was published or recorded. `keep` keeps the downloads. `today` goes into the record, and
    `pause(seconds)` waits before a broken connection is tried again.
    """

    root: Path
    progress: Progress
    say: Callable[[str], None]
    pause: Callable[[float], None]
    today: str
    fresh: bool = False
    keep: bool = False

    def missing(self, source: Source) -> Sequence[Target]:
        """What has to be made. Raises `ConfigError` on a file that is there, but not as it was fetched."""
        if self.fresh:
            return source.targets
        files = _read_record(self._record_path(source))["files"]
        missing = []
        for target in source.targets:
            path = self.root / target.path
            if not path.exists():
                missing.append(target)
            elif files.get(target.path) != _seen(path):
                raise ConfigError(
                    f"{path}: is there, but was not fetched, or was changed since. "
                    "Move it away, or replace it (and all files of this corpus) with --fresh."
                )
        return missing

    def fetch(self, source: Source, missing: Sequence[Target]) -> Fetched:
        """Make what `missing` said.

        Raises:
            FetchError: a download failed, or is not what was published or recorded; another process fetches there.
            SaveError: the disk is full or not writable. In all cases what is complete stays.
        """
        downloads = self.root / DOWNLOADS
        with ExitStack() as held:
            try:
                downloads.mkdir(parents=True, exist_ok=True)
                free = held.enter_context(locked(downloads))
            except OSError as error:
                raise cannot_write(downloads, error) from error
            if not free:
                raise FetchError(f"{self.root}: another fetch is at work there. Wait for it, or choose another --to.")
            return self._fetch(source, missing)

    def _fetch(self, source: Source, missing: Sequence[Target]) -> Fetched:
        record_path = self._record_path(source)
        record = _read_record(record_path)

        def add(path: str, whole: Path) -> None:
            record["files"][path] = _seen(whole)
            write_json(record_path, record)

        if self.fresh:  # stopped on the way, what was there before is not taken for what the source has now
            for target in missing:
                record["files"].pop(target.path, None)
            if record_path.exists():
                write_json(record_path, record)
        for file in dict.fromkeys(file for target in missing for file in target.downloads):
            record["downloads"][file.url] = self._get(file, record["downloads"].get(file.url, {}))
            record_path.parent.mkdir(parents=True, exist_ok=True)
            write_json(record_path, record)
        for target in missing:
            path = self.root / target.path
            self.say(f"making {path}")
            convert(target, self._place, path, partial(add, target.path))
        self._tidy(source)
        return Fetched(
            made=tuple(self.root / target.path for target in missing),
            differ=tuple(self.root / target.path for target in source.targets if self._differs(target)),
        )

    def _get(self, file: Download, recorded: dict[str, Any]) -> dict[str, Any]:
        """Download `file`, and hold it against what was published and recorded. What there is to record of it."""
        path = self._place(file)
        if self.fresh:
            path.unlink(missing_ok=True)
            file = replace(file, size=0, digest="")
        if not path.exists():
            download(file, path, self.progress, self.pause)
        seen = _seen(path)
        try:
            check_digest(file, path)
            if recorded and not self.fresh and recorded["sha256"] != seen["sha256"]:
                raise FetchError(
                    f"{file.url}: changed at its source: its sha256 is {seen['sha256']}, but was {recorded['sha256']} "
                    f"on {recorded['date']}. Keep the files that you have, or take what there is now with --fresh."
                )
        except FetchError:
            path.unlink()
            raise
        return recorded if recorded.items() >= seen.items() else seen | {"date": self.today}

    def _place(self, file: Download) -> Path:
        """Where a download waits. Names repeat from source to source; addresses do not."""
        name = file.url.rpartition("/")[2]
        return self.root / DOWNLOADS / f"{hashlib.sha256(file.url.encode()).hexdigest()[:8]}-{name}"

    def _record_path(self, source: Source) -> Path:
        return self.root / source.folder / RECORD

    def _tidy(self, source: Source) -> None:
        folder = self.root / DOWNLOADS
        if self.keep or not folder.is_dir():
            return
        for file in source.downloads:
            self._place(file).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()

    def _differs(self, target: Target) -> bool:
        """Whether the text is not the one that our results were measured on, where there is one."""
        expected = measured().get(target.path)
        if expected is None:
            return False
        with open_unpacked(self.root / target.path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() != expected


def measured() -> dict[str, str]:
    """SHA-256 of the unpacked text of the files that this project's results were measured on, by path."""
    text = (resources.files("transduce.data") / "measured.sha256").read_text(encoding="utf-8")
    pairs = (line.split("  ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {path: digest for digest, path in pairs}


def _seen(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def _read_record(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"downloads": {}, "files": {}}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {"downloads": dict(record["downloads"]), "files": dict(record["files"])}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{path}: not a record that `fetch` wrote ({error}). Delete it, and fetch again with --fresh."
        ) from error
