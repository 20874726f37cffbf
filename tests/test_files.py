"""Files and folders appear whole or not at all, whatever stops their making."""

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.disk import contents, full_disk
from transduce import files
from transduce.errors import SaveError
from transduce.files import NEW, atomic_folder, locked, sync, write_atomically, write_json

pytestmark = pytest.mark.unit


def make(path: Path, text: str) -> None:
    with atomic_folder(path) as folder:
        (folder / "a.txt").write_text(text)
        (folder / "sub").mkdir()
        (folder / "sub" / "b.txt").write_text(text)


def half_make(path: Path, error: BaseException) -> None:
    with atomic_folder(path) as folder:
        (folder / "a.txt").write_text("half")
        raise error


def whole(text: str) -> dict[str, bytes]:
    return {"a.txt": text.encode(), "sub/b.txt": text.encode()}


# ---- folders


def test_a_folder_appears_with_its_parents(tmp_path: Path) -> None:
    make(tmp_path / "x" / "y", "new")
    assert contents(tmp_path / "x") == {f"y/{name}": text for name, text in whole("new").items()}


def test_a_folder_is_not_there_before_the_end(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "x") as folder:
        assert not (tmp_path / "x").exists()
        assert folder.parent == tmp_path  # the same file system, so that the rename is one


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    make(tmp_path / "x", "old")
    (tmp_path / "x" / "c.txt").write_text("not in the new one")
    make(tmp_path / "x", "new")
    assert contents(tmp_path) == {f"x/{name}": text for name, text in whole("new").items()}


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SaveError("inner")], ids=repr)
@pytest.mark.parametrize("before", ["old", ""], ids=["replacing", "new"])
def test_a_failure_inside_leaves_what_was(tmp_path: Path, before: str, error: BaseException) -> None:
    if before:
        make(tmp_path / "x", before)
    with pytest.raises(type(error)):
        half_make(tmp_path / "x", error)
    assert contents(tmp_path) == ({f"x/{name}": text for name, text in whole(before).items()} if before else {})
    assert not (tmp_path / f"x{NEW}").exists()


def test_a_full_disk_leaves_what_was(tmp_path: Path) -> None:
    make(tmp_path / "x", "old")
    with pytest.raises(SaveError, match="x: cannot be written .File too large.. Free space, then go on."), full_disk(9):
        make(tmp_path / "x", "longer than nine bytes")
    assert contents(tmp_path) == {f"x/{name}": text for name, text in whole("old").items()}


def test_a_place_that_cannot_be_is_a_save_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="file/x: cannot be written .Not a directory"):
        make(tmp_path / "file" / "x", "new")


@pytest.mark.parametrize("which", [1, 2])
def test_a_rename_that_fails_leaves_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: int) -> None:
    make(tmp_path / "x", "old")
    rename, calls = Path.rename, 0

    def failing(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == which:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(SaveError, match="Input/output error"):
        make(tmp_path / "x", "new")
    assert contents(tmp_path) == {f"x/{name}": text for name, text in whole("old").items()}


@pytest.mark.parametrize("moment", ["filling", "before the renames", "between the renames", "after the renames"])
def test_a_kill_loses_nothing(tmp_path: Path, moment: str) -> None:
    """A process that is killed runs no `finally`. The next writer finds what was there before, or what was finished."""
    make(tmp_path / "x", "old")
    script = f"""
import os, signal
from pathlib import Path
from transduce.files import atomic_folder
rename, sync, calls = Path.rename, os.fsync, 0
def die(): os.kill(os.getpid(), signal.SIGKILL)
def counting(self, target):
    global calls
    calls += 1
    if (calls, {moment!r}) == (1, "before the renames"): die()
    rename(self, target)
    if (calls, {moment!r}) in ((1, "between the renames"), (2, "after the renames")): die()
Path.rename = counting
with atomic_folder(Path({str(tmp_path / "x")!r})) as folder:
    (folder / "a.txt").write_text("new")
    if {moment!r} == "filling": die()
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    with pytest.raises(ValueError, match="stop"):
        half_make(tmp_path / "x", ValueError("stop"))
    expected = {"a.txt": b"new"} if moment == "after the renames" else whole("old")
    assert contents(tmp_path) == {f"x/{name}": text for name, text in expected.items()}
    make(tmp_path / "x", "next")
    assert contents(tmp_path) == {f"x/{name}": text for name, text in whole("next").items()}


def test_everything_is_flushed_before_the_folder_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    def noting(path: Path) -> None:
        name = str(path.relative_to(tmp_path))
        synced.append(name if (tmp_path / "x").exists() else f"{name} (before)")
        sync(path)

    monkeypatch.setattr(files, "sync", noting)
    make(tmp_path / "x", "new")
    assert synced[-1] == "."
    before = {f"x{NEW}", f"x{NEW}/a.txt", f"x{NEW}/sub", f"x{NEW}/sub/b.txt"}
    assert {name.removesuffix(" (before)") for name in synced[:-1] if name.endswith(" (before)")} == before


# ---- files


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content in (b"old", b"", b"\0new\xff"):
        write_atomically(path, content)
        assert contents(tmp_path) == {"x": content}


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "x", b"old")
    with pytest.raises(SaveError, match="x: cannot be written .File too large"), full_disk(9):
        write_atomically(tmp_path / "x", b"longer than nine bytes")
    assert contents(tmp_path) == {"x": b"old"}


def test_a_file_that_cannot_be_is_a_save_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="file/x: cannot be written .Not a directory"):
        write_atomically(tmp_path / "file" / "x", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SaveError, match="folder: cannot be written .Is a directory"):
        write_atomically(tmp_path / "folder", b"")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["file", "folder"]


def test_json_is_readable_and_keeps_order(tmp_path: Path) -> None:
    value = {"b": [1, 0.1], "a": "Straße"}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.index('"b"') < text.index('"a": "Straße"')
    assert text.endswith("}\n")


def test_what_is_synced_is_closed(tmp_path: Path) -> None:
    free = os.dup(0)  # the lowest descriptor that nobody uses
    os.close(free)
    sync(tmp_path)
    again = os.dup(0)
    os.close(again)
    assert again == free


def test_somebody_s_files_beside_it_stay(tmp_path: Path) -> None:
    for name in ("x.old", "x.tmp", "y.tmp"):
        (tmp_path / name).write_text("mine")
    make(tmp_path / "x", "new")
    make(tmp_path / "x", "newer")
    write_atomically(tmp_path / "y", b"y")
    assert {name: contents(tmp_path)[name] for name in ("x.old", "x.tmp", "y.tmp")} == dict.fromkeys(
        ("x.old", "x.tmp", "y.tmp"), b"mine"
    )


def test_what_a_link_stands_for_is_replaced_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "link").symlink_to("a")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"new"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomically(tmp_path / "pipe", b"through")
        assert os.read(reader, 99) == b"through"
    finally:
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_is_replaced_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "x").symlink_to(tmp_path / "disk")
    for text in ("one", "two"):
        with atomic_folder(tmp_path / "x") as folder:
            (folder / "a").write_text(text)
        assert (tmp_path / "x").is_symlink()
        assert (tmp_path / "disk" / "a").read_text() == text
    assert sorted(f.name for f in tmp_path.iterdir()) == ["disk", "x"]


def test_a_file_system_that_cannot_sync_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    make(tmp_path / "x", "new")
    write_atomically(tmp_path / "y", b"y")
    assert contents(tmp_path) == {f"x/{name}": text for name, text in whole("new").items()} | {"y": b"y"}


def test_a_lock_is_one_process_s(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with locked(tmp_path / "x") as first, locked(tmp_path / "x") as second:
        assert (first, second) == (True, False)
    with locked(tmp_path / "x") as again:
        assert again
