"""From files of text to what training reads: complete, held-out pairs apart, and a record that notices changes."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.disk import contents
from tests.tiny import mirror, write_lines
from transduce.data.corpus import AlignedFiles, PairsFile
from transduce.data.prepare import Prepared, Sources, check_inputs, load_prepared, prepare
from transduce.errors import BundleError, DataError
from transduce.text.tokenizer import Tokenizer, TokenizerConfig, TokenizerPair

pytestmark = pytest.mark.unit

WORDS = TokenizerConfig(source="words", target="words", joint=False, size=1000)
SOURCES = [f"w{i} w{i % 7}" for i in range(60)] * 2


def aligned(folder: Path, name: str, sources: list[str], targets: list[str] | None = None) -> AlignedFiles:
    source = write_lines(folder / f"{name}.aa", sources)
    right = [mirror(line) for line in sources] if targets is None else targets
    return AlignedFiles(source=source, target=write_lines(folder / f"{name}.bb", right))


def inputs(train: AlignedFiles | PairsFile, dev: AlignedFiles | None = None, seed: int = 1) -> Sources:
    return Sources(train=train, dev=dev, pretokenised=False, max_length=9, seed=seed)


def made(folder: Path, sources: Sources, tokenizer: TokenizerConfig | TokenizerPair = WORDS) -> Prepared:
    prepare(folder, sources, tokenizer, lambda text: None, lambda n: None)
    return load_prepared(folder)


def trained_on(prepared: Prepared) -> list[tuple[str, str]]:
    decode = prepared.tokenizers.source.decode, prepared.tokenizers.target.decode
    rows = map(prepared.corpus.pair, range(len(prepared.corpus)))
    return [(decode[0](s), decode[1](t)) for s, t in rows]


# ---- train and dev


def test_a_dev_set_is_used_as_it_is_but_for_blank_sides(tmp_path: Path) -> None:
    dev = aligned(tmp_path, "dev", ["w1", " ", "w2", "w3"], ["1W", "2W", "", "3W"])
    prepared = made(tmp_path / "data", inputs(aligned(tmp_path, "train", SOURCES), dev))
    assert prepared.dev == [("w1", "1W"), ("w3", "3W")]
    assert trained_on(prepared) == [(s, mirror(s)) for s in SOURCES]
    assert prepared.manifest["dev"] == {"pairs": 2, "held_out_of_train": False}
    assert prepared.manifest["train"]["kept"] == len(SOURCES)


def test_without_one_sources_are_held_out_whole(tmp_path: Path) -> None:
    prepared = made(tmp_path / "data", inputs(aligned(tmp_path, "train", SOURCES)))
    held, left = {s for s, _ in prepared.dev}, {s for s, _ in trained_on(prepared)}
    assert len(held) == len(set(SOURCES)) // 20 == 3
    assert len(prepared.dev) == 6  # both pairs of each
    assert not held & left
    assert held | left == set(SOURCES)
    assert prepared.manifest["dev"] == {"pairs": 6, "held_out_of_train": True}


def test_pairs_are_made_of_training_pairs_alone(tmp_path: Path) -> None:
    sources = inputs(aligned(tmp_path, "train", SOURCES, [f"{line.upper()}." for line in SOURCES]))
    text = TokenizerConfig(size=600)
    plain = made(tmp_path / "plain", sources, text)
    more = made(tmp_path / "more", replace(sources, augment=0.5), text)
    assert more.dev == plain.dev
    held, left = {s for s, _ in more.dev}, trained_on(more)
    assert 1.3 * len(plain.corpus) < len(left) < 1.5 * len(plain.corpus)
    assert [pair for pair in left if pair in trained_on(plain)] == trained_on(plain)
    assert not held & {s for s, _ in left}


def test_what_is_held_out_follows_from_the_seed(tmp_path: Path) -> None:
    train = aligned(tmp_path, "train", SOURCES)
    one, same, other = (made(tmp_path / f"data{i}", inputs(train, seed=seed)).dev for i, seed in enumerate((1, 1, 2)))
    assert one == same
    assert one != other


def test_two_sources_are_enough_and_one_is_not(tmp_path: Path) -> None:
    assert len(made(tmp_path / "data", inputs(aligned(tmp_path, "two", ["w1", "w2"]))).dev) == 1
    with pytest.raises(DataError, match="one.aa: fewer than two different sources; nothing can be held out"):
        made(tmp_path / "no", inputs(aligned(tmp_path, "one", ["w1", "w1"])))


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    train = aligned(tmp_path, "train", SOURCES)
    for name in ("a", "b"):
        made(tmp_path / name, inputs(train))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_pairs_files(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "p.tsv", [f"{s}\t{mirror(s)}" for s in SOURCES])
    assert len(made(tmp_path / "data", inputs(PairsFile(pairs=path))).corpus) == 114


def test_a_vocabulary_that_is_given_is_used_as_it_is(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(["w1 w2 1W 2W"], "words", 100, pretokenised=False)
    train = aligned(tmp_path, "train", SOURCES)
    prepared = made(tmp_path / "data", inputs(train), TokenizerPair(tokenizer, tokenizer))
    assert prepared.tokenizers.joint
    assert prepared.tokenizers.source.to_bytes() == tokenizer.to_bytes()


# ---- the record


def test_the_record_names_every_input_with_its_hash(tmp_path: Path) -> None:
    train, dev = aligned(tmp_path, "train", SOURCES), aligned(tmp_path, "dev", ["w1"])
    manifest = made(tmp_path / "data", inputs(train, dev)).manifest
    for entry, path in zip(manifest["inputs"], (train.source, train.target, dev.source, dev.target), strict=True):
        content = path.read_bytes()
        assert entry == {"path": str(path), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize("change", ["longer", "other"])
@pytest.mark.parametrize("name", ["train.aa", "train.bb", "dev.aa", "dev.bb"])
def test_a_changed_input_is_noticed(tmp_path: Path, name: str, change: str) -> None:
    sources = inputs(aligned(tmp_path, "train", SOURCES), aligned(tmp_path, "dev", ["w1"]))
    manifest = made(tmp_path / "data", sources).manifest
    check_inputs(manifest)
    path = tmp_path / name
    content = path.read_bytes()
    path.write_bytes(content + b"more\n" if change == "longer" else content.replace(b"1", b"2", 1))
    with pytest.raises(DataError, match=f"{name}: changed since this run was started, .* or start over with --fresh."):
        check_inputs(manifest)


def test_an_input_that_is_gone_is_no_matter(tmp_path: Path) -> None:
    manifest = made(tmp_path / "data", inputs(aligned(tmp_path, "train", SOURCES))).manifest
    (tmp_path / "train.aa").unlink()
    check_inputs(manifest)


# ---- what cannot be


@pytest.mark.parametrize("with_dev", [True, False])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "train.bb: cannot open it"),
        (b"", "train.bb: the file is empty"),
        (b"1W\n", "train.aa has 120 lines, .*train.bb has 1: not line by line translations"),
        (b"1W\n\xff\n", "train.bb:2: not UTF-8"),
        (b"\n" * 120, "train.aa: fewer than two|every line is empty"),
    ],
    ids=["missing", "empty", "unequal", "not UTF-8", "blank"],
)
def test_bad_input_leaves_nothing(tmp_path: Path, content: bytes | None, message: str, with_dev: bool) -> None:
    train = aligned(tmp_path, "train", SOURCES)
    if content is None:
        train.target.unlink()
    else:
        train.target.write_bytes(content)
    dev = aligned(tmp_path, "dev", ["w1"]) if with_dev else None
    before = contents(tmp_path)
    with pytest.raises(DataError, match=message):
        made(tmp_path / "data", inputs(train, dev))
    assert contents(tmp_path) == before
    assert not (tmp_path / "data").exists()


def test_a_dev_set_without_text(tmp_path: Path) -> None:
    dev = aligned(tmp_path, "dev", ["w1", ""], ["", "1W"])
    with pytest.raises(DataError, match="dev.aa: no dev pair with text on both sides. Give more data."):
        made(tmp_path / "data", inputs(aligned(tmp_path, "train", SOURCES), dev))


@pytest.mark.parametrize("name", ["manifest.json", "dev.jsonl", "source.model", "target.model", "train/manifest.json"])
@pytest.mark.parametrize("change", ["missing", "truncated", "foreign"])
def test_broken_data_is_noticed(tmp_path: Path, name: str, change: str) -> None:
    made(tmp_path / "data", inputs(aligned(tmp_path, "train", SOURCES)))
    path = tmp_path / "data" / name
    content = path.read_bytes()
    path.unlink()
    if change != "missing":
        path.write_bytes(content[: len(content) // 2] if change == "truncated" else json.dumps([3]).encode())
    with pytest.raises((DataError, BundleError)):
        load_prepared(tmp_path / "data")
