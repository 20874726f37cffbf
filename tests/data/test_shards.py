"""Laws of the shards: what goes in comes out, counts add up, what is broken is noticed, failures leave nothing."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.disk import full_disk
from transduce.data import shards
from transduce.data.corpus import Numbered, Pair
from transduce.data.shards import ShardReport, TokenisedCorpus, write_shards
from transduce.errors import DataError, SaveError
from transduce.files import NEW
from transduce.text.tokenizer import Tokenizer, TokenizerPair

pytestmark = pytest.mark.unit

SOURCE = Tokenizer.train(["a dog runs in the snow"] * 5, "characters", 300, pretokenised=False)
TARGET = Tokenizer.train(["ein hund läuft im schnee"] * 5, "bpe", 320, pretokenised=False)
TOKENIZERS = TokenizerPair(SOURCE, TARGET)
PAIRS = [("a dog", "ein hund"), ("", "x"), ("runs", "läuft"), ("a" * 50, "zu lang"), ("in the snow", " "), ("a", "ein")]

texts = st.sampled_from(["", " ", "a dog", "🙂"]) | st.text(max_size=20)


def numbered(pairs: list[Pair]) -> list[Numbered]:
    return list(enumerate(pairs, start=1))


@pytest.fixture
def corpus_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "train"
    write_shards(numbered(PAIRS), TOKENIZERS, folder, max_length=20)
    return folder


def test_kept_pairs_come_back_and_the_rest_is_counted(corpus_folder: Path) -> None:
    corpus = TokenisedCorpus.open(corpus_folder)
    kept = [PAIRS[i] for i in (0, 2, 5)]
    assert len(corpus) == 3
    assert [(SOURCE.decode(s), TARGET.decode(t)) for s, t in map(corpus.pair, range(3))] == kept
    assert corpus.source_lengths.tolist() == [len(SOURCE.encode(s)) for s, _ in kept]
    assert corpus.target_lengths.tolist() == [len(TARGET.encode(t)) for _, t in kept]
    assert corpus.report == ShardReport(
        kept=3,
        empty=2,
        too_long=1,
        source_tokens=int(corpus.source_lengths.sum()),
        target_tokens=int(corpus.target_lengths.sum()),
    )
    assert corpus.tokenizer_hashes == TOKENIZERS.hashes()
    assert corpus.usual_extra == max(len(TARGET.encode(t)) - len(SOURCE.encode(s)) for s, t in kept)


@given(pairs=st.lists(st.tuples(texts, texts), max_size=20), per_shard=st.integers(1, 4), chunk=st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_shards_are_the_encoded_pairs_however_they_are_cut(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]], per_shard: int, chunk: int
) -> None:
    folder = tmp_path_factory.mktemp("shards") / "train"
    rows = [(SOURCE.encode(s), TARGET.encode(t)) for s, t in [("a", "ein"), *pairs] if s.strip() and t.strip()]
    kept = [(s, t) for s, t in rows if len(s) <= 12 and len(t) <= 12]
    progress: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "PAIRS_PER_SHARD", per_shard)
        patch.setattr(shards, "_CHUNK", chunk)
        report = write_shards(
            numbered([("a", "ein"), *pairs]), TOKENIZERS, folder, max_length=12, progress=progress.append
        )
    corpus = TokenisedCorpus.open(folder)
    assert [(s.tolist(), t.tolist()) for s, t in map(corpus.pair, range(len(corpus)))] == kept
    assert report == corpus.report
    assert report.kept + report.empty + report.too_long == 1 + len(pairs) == progress[-1]
    assert len(list(folder.glob("*.source.npy"))) == -(-len(kept) // per_shard)


def test_the_usual_length_is_exceeded_by_one_in_a_thousand(corpus_folder: Path) -> None:
    for outliers, expected in [(2, 3), (3, 40)]:
        corpus = TokenisedCorpus.open(corpus_folder)
        corpus.source_lengths = np.full(2000, 10)
        corpus.target_lengths = np.array([13] * (2000 - outliers) + [50] * outliers)
        assert corpus.usual_extra == expected


@pytest.mark.parametrize("pair", [("in the snow", "ein"), ("a", "ein hund läuft im schnee")])
def test_a_side_of_just_as_many_pieces_as_allowed_is_kept(tmp_path: Path, pair: Pair) -> None:
    longest = max(len(SOURCE.encode(pair[0])), len(TARGET.encode(pair[1])))
    assert write_shards(numbered([pair]), TOKENIZERS, tmp_path / "train", max_length=longest).kept == 1
    with pytest.raises(DataError, match=f"1 are longer than {longest - 1} pieces"):
        write_shards(numbered([pair]), TOKENIZERS, tmp_path / "none", max_length=longest - 1)


@pytest.mark.parametrize("waiting", [1, 7, 10_000])
def test_files_are_what_numpy_would_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: int) -> None:
    monkeypatch.setattr(shards, "_WAITING", waiting)
    write_shards(numbered(PAIRS * 9), TOKENIZERS, tmp_path / "train", max_length=20)
    paths = sorted((tmp_path / "train").glob("*.npy"))
    assert len(paths) == 4
    for path in paths:
        np.save(tmp_path / "again.npy", np.load(path))
        assert path.read_bytes() == (tmp_path / "again.npy").read_bytes()


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, Numbered]] = []
    write_shards(
        numbered(PAIRS),
        TOKENIZERS,
        tmp_path / "train",
        max_length=20,
        left_out=lambda rule, pair: told.append((rule, pair)),
    )
    assert told == [("empty", (2, PAIRS[1])), ("too_long", (4, PAIRS[3])), ("empty", (5, PAIRS[4]))]


@pytest.mark.parametrize("i", [-1, 3])
def test_pairs_out_of_range_are_an_error(corpus_folder: Path, i: int) -> None:
    with pytest.raises(IndexError):
        TokenisedCorpus.open(corpus_folder).pair(i)


def test_ids_are_mapped_read_only_and_as_narrow_as_the_vocabulary_allows(tmp_path: Path) -> None:
    symbols = [f"s{i}" for i in range(66_000)]
    many = Tokenizer.train([" ".join(symbols[i : i + 100]) for i in range(0, 66_000, 100)], "words", 70_000, True)
    pairs = [(f"{symbols[0]} {symbols[-1]}", "ein"), (symbols[7], "hund")]
    write_shards(numbered(pairs), TokenizerPair(many, TARGET), tmp_path / "x", max_length=9)
    corpus = TokenisedCorpus.open(tmp_path / "x")
    source, target = corpus.pair(0)
    assert source.dtype == np.int32
    assert target.dtype == np.uint16
    assert many.size > 2**16
    assert many.decode(source) == pairs[0][0]
    assert not source.flags.writeable
    assert isinstance(source.base, np.ndarray)


# ---- broken folders


Damage = Callable[[Path], object]


def replace_array(name: str, array: npt.NDArray[Any]) -> Damage:
    return lambda folder: np.save(folder / name, array)


def change_manifest(**changes: object) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def damage_file(name: str, how: str) -> Damage:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        match how:
            case "emptied":
                (folder / name).write_bytes(b"")
            case "cut":
                (folder / name).write_bytes(content[:-3])
            case "foreign":
                (folder / name).write_bytes(b"\x93NUMPY or not \xff")
            case "a folder":
                (folder / name).mkdir()
            case _:
                assert how == "missing"

    return damage


FILES = ("manifest.json", *(f"00000.{side}.npy" for side in ("source", "target", "source_ends", "target_ends")))
DAMAGES: dict[str, Damage] = {
    **{
        f"{n} {how}": damage_file(n, how) for n in FILES for how in ("missing", "emptied", "cut", "foreign", "a folder")
    },
    "other format": change_manifest(format=2),
    "not an object": lambda folder: (folder / "manifest.json").write_text("[]"),
    "no shards": change_manifest(shards=[]),
    "bad entry": change_manifest(shards=[{"number": "0"}]),
    "bad report": change_manifest(report={"kept": 3, "colour": 1}),
    "other count": change_manifest(report={"kept": 4}),
    "no tokenizers": change_manifest(tokenizers={}),
    "ids of another corpus": replace_array("00000.source.npy", np.zeros(3, np.uint16)),
    "ids that are no ids": replace_array("00000.source.npy", np.zeros(10, np.float32)),
    "ends that go back": replace_array("00000.source_ends.npy", np.array([5, 3, 10])),
    "folder missing": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_broken_folders_are_an_error_that_says_delete(corpus_folder: Path, damage: Damage) -> None:
    damage(corpus_folder)
    with pytest.raises(DataError, match="Start over with --fresh"):
        TokenisedCorpus.open(corpus_folder)


# ---- nothing half-written


def test_nothing_kept_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 have an empty side, 1 are longer than 20 pieces"):
        write_shards(numbered([("", "x"), ("a" * 30, "ein")]), TOKENIZERS, tmp_path / "train", max_length=20)
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_reading_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[str, str]]:
        yield from PAIRS
        raise DataError("line 7")

    with pytest.raises(DataError, match="line 7"):
        write_shards(enumerate(broken()), TOKENIZERS, tmp_path / "train", max_length=20)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room", [0, 100, 130])
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, room: int) -> None:
    with full_disk(room), pytest.raises(SaveError, match=r"train: cannot be written \(File too large\). Free space"):
        write_shards(numbered(PAIRS), TOKENIZERS, tmp_path / "train", max_length=20)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError):
        write_shards(numbered(PAIRS), TOKENIZERS, tmp_path / "file" / "train", max_length=20)


def test_an_existing_folder_is_not_overwritten(corpus_folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in corpus_folder.iterdir()}
    with pytest.raises(DataError, match="exists already"):
        write_shards(numbered(PAIRS[:1]), TOKENIZERS, corpus_folder, max_length=20)
    assert {path.name: path.read_bytes() for path in corpus_folder.iterdir()} == before


def test_what_a_killed_call_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / f"train{NEW}").mkdir()
    (tmp_path / f"train{NEW}" / "00000.source.npy").write_bytes(b"half")
    write_shards(numbered(PAIRS), TOKENIZERS, tmp_path / "train", max_length=20)
    assert len(TokenisedCorpus.open(tmp_path / "train")) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["train"]
