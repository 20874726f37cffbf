"""From files of text to what training reads: complete, held-out pairs apart, and a record that notices changes."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Never

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.disk import contents
from tests.tiny import mirror, write_lines
from transduce.data import prepare as module
from transduce.data.cleaning import EVERY_RULE, RULES, Cleaner, CleaningConfig
from transduce.data.corpus import AlignedFiles, Pair, PairsFile, read_pairs
from transduce.data.preflight import to_values
from transduce.data.prepare import Prepared, Sources, check_inputs, load_prepared, prepare
from transduce.data.survey import survey
from transduce.errors import BundleError, DataError
from transduce.text.pieces import IDS
from transduce.text.tokenizer import Tokenizer, TokenizerConfig, TokenizerPair

pytestmark = pytest.mark.unit

WORDS = TokenizerConfig(source="words", target="words", joint=False, size=1000)
CHARACTERS = TokenizerConfig(source="characters", target="characters", size=1000)
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


def test_what_is_held_out_is_short_enough_too(tmp_path: Path) -> None:
    sources = [f"w{i % 20} w{i // 20}" + (" w0" * 9) * (i % 2) for i in range(200)]  # every second one is too long
    prepared = made(tmp_path / "data", inputs(aligned(tmp_path, "train", sources)))
    assert 0 < len(prepared.dev) < 10
    assert max(len(s.split()) for s, _ in prepared.dev) <= 9
    preflight = json.loads((tmp_path / "data" / "preflight.json").read_text())
    assert preflight["left_out"]["too_long"] == 100
    assert preflight["kept"] + preflight["held_out"] == 100


def test_a_rule_that_leaves_out_all_that_is_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = inputs(aligned(tmp_path, "train", ["w1", "w2"]))
    (held,) = made(tmp_path / "data", sources).dev
    monkeypatch.setattr(Cleaner, "reason", lambda self, number, pair: "copied" if pair == held else "")
    with pytest.raises(DataError, match="a rule leaves out all that was held out for dev. Give more data, or"):
        made(tmp_path / "no", sources)


def test_pairs_are_made_of_training_pairs_alone(tmp_path: Path) -> None:
    sources = inputs(aligned(tmp_path, "train", SOURCES, [f"{line.upper()}." for line in SOURCES]))
    text = TokenizerConfig(size=600)
    plain = made(tmp_path / "plain", sources, text)
    more = made(tmp_path / "more", replace(sources, augment=0.5), text)
    assert more.dev == plain.dev
    held, left = {s for s, _ in more.dev}, trained_on(more)
    assert 1.2 * len(plain.corpus) < len(left) < 1.5 * len(plain.corpus)
    assert [pair for pair in left if pair in trained_on(plain)] == trained_on(plain)
    assert not held & {s for s, _ in left}


@pytest.mark.parametrize(("below", "more"), [(0, True), (4, True), (3, False), (1, False)])
def test_pairs_are_made_only_where_there_are_few(tmp_path: Path, below: int, more: bool) -> None:
    given = ["walk V;PST", "talk V;PST", "walk V;PST", "bark V;PST"]
    train = aligned(tmp_path, "train", given, [f"{line.split()[0]}ed" for line in given])
    dev = aligned(tmp_path, "dev", ["park V;PST"], ["parked"])
    sources = replace(inputs(train, dev), inflected=True, augment=3.0, augment_below=below)
    characters = TokenizerConfig(source="tagged", target="characters", joint=False)
    prepared = made(tmp_path / "data", sources, characters)
    assert (prepared.manifest["train"]["made"] > 0) == more


def test_nothing_is_learned_from_what_is_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither pieces nor the words that pairs are made with."""
    known: list[Pair] = []

    def lexicon(pairs: Iterable[Pair]) -> list[Pair]:
        known.extend(pairs)
        return []

    monkeypatch.setattr(module, "lexicon", lexicon)
    train = aligned(tmp_path, "train", [f"w{i}" for i in range(200)])
    prepared = made(tmp_path / "data", replace(inputs(train), augment=0.5))
    held = [source for source, _ in prepared.dev]
    assert prepared.tokenizers.source.encode_batch(held) == [[IDS.unk]] * 10
    assert len(known) == 190
    assert not {*held} & {source for source, _ in known}


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
    tokenizer = Tokenizer.train([*SOURCES, *map(mirror, SOURCES)], "words", 400, pretokenised=False)
    train = aligned(tmp_path, "train", SOURCES)
    prepared = made(tmp_path / "data", inputs(train), TokenizerPair(tokenizer, tokenizer))
    assert prepared.tokenizers.joint
    assert prepared.tokenizers.source.to_bytes() == tokenizer.to_bytes()


# ---- what is left out


FULL = [f"a w{i} b w{i % 7} c and more" for i in range(100)]
DIRTY = [*FULL, "", FULL[3], "caf\ufffd", "never translated by anybody", FULL[0], " ", "z " * 12]
TARGETS = [*map(mirror, FULL), "x", mirror(FULL[3]), "x", "never translated by anybody", "other", "x", "z"]
REASONS = {101: "empty", 102: "duplicate", 103: "encoding", 104: "copied", 106: "empty", 107: "too_long"}


def listed(folder: Path) -> list[list[str]]:
    head, *rows = [line.split("\t") for line in (folder / "dropped.tsv").read_text(encoding="utf-8").split("\n")]
    assert head == ["line", "rule", "source", "target"]
    assert rows.pop() == [""]
    return rows


def prose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transduce.data.survey.SYMBOLS", 1)


@pytest.mark.parametrize("with_dev", [True, False])
def test_every_pair_is_kept_or_held_out_or_listed_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_dev: bool
) -> None:
    prose(monkeypatch)
    dev = aligned(tmp_path, "dev", ["w1"]) if with_dev else None
    sources = replace(inputs(aligned(tmp_path, "train", DIRTY, TARGETS), dev), cleaning=EVERY_RULE)
    preflight = prepare(tmp_path / "data", sources, WORDS, lambda text: None, lambda n: None)
    prepared = load_prepared(tmp_path / "data")
    rows = listed(tmp_path / "data")
    assert {int(number): rule for number, rule, *_ in rows} == REASONS
    for number, _, source, target in rows:
        assert (source, target) == (DIRTY[int(number) - 1], TARGETS[int(number) - 1])
    counts = Counter(REASONS.values())
    assert preflight.left_out == {rule: counts[rule] for rule in RULES}
    assert preflight.survey.pairs == len(DIRTY) == preflight.kept + preflight.held_out + len(REASONS)
    assert (preflight.held_out > 0) == (not with_dev)
    kept = [(s, t) for i, (s, t) in enumerate(zip(DIRTY, TARGETS, strict=True), start=1) if i not in REASONS]
    assert sorted(trained_on(prepared) + ([] if with_dev else prepared.dev)) == sorted(kept)
    train = prepared.manifest["train"]
    assert train["kept"] == preflight.kept == len(prepared.corpus)
    assert {rule: train[rule] for rule in RULES} == preflight.left_out
    assert json.loads((tmp_path / "data" / "preflight.json").read_text()) == to_values(preflight)


def test_a_tag_in_front_is_no_text_to_the_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prose(monkeypatch)
    written = [f">>bb<< {line}" if line.strip() else line for line in DIRTY]
    dev = aligned(tmp_path, "dev", [">>bb<< w1"], ["w1"])
    sources = replace(inputs(aligned(tmp_path, "train", written, TARGETS), dev), cleaning=EVERY_RULE, tags=("bb",))
    preflight = prepare(tmp_path / "data", sources, WORDS, lambda text: None, lambda n: None)
    assert {int(number): rule for number, rule, *_ in listed(tmp_path / "data")} == REASONS
    plain = survey(list(zip(DIRTY, TARGETS, strict=True)))
    assert (preflight.survey.source, preflight.survey.copied) == (plain.source, plain.copied)


def test_a_dev_pair_with_an_unknown_tag_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    train = aligned(tmp_path, "train", [f">>bb<< {line}" for line in FULL])
    dev = aligned(tmp_path, "dev", [">>bb<< w1", ">>cc<< w1"])
    with pytest.raises(DataError, match=r"pair 2 of .*dev\.aa begins with the tag >>cc<<"):
        made(tmp_path / "data", replace(inputs(train, dev), tags=("bb",)))


def test_by_default_only_what_cannot_be_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prose(monkeypatch)
    train, dev = aligned(tmp_path, "train", DIRTY, TARGETS), aligned(tmp_path, "dev", [DIRTY[1]])
    prepared = made(tmp_path / "data", replace(inputs(train, dev), test=dev))
    assert [rule for _, rule, *_ in listed(tmp_path / "data")] == ["empty", "empty", "too_long"]
    assert (DIRTY[1], TARGETS[1]) in trained_on(prepared)
    assert [entry["path"] for entry in prepared.manifest["inputs"]] == [
        str(p) for p in (train.source, train.target, dev.source, dev.target)
    ]


def test_pairs_of_dev_and_test_are_left_out(tmp_path: Path) -> None:
    train = aligned(tmp_path, "train", FULL)
    dev, test = aligned(tmp_path, "dev", FULL[:2]), aligned(tmp_path, "test", FULL[2:5])
    sources = replace(inputs(train, dev), test=test, cleaning=CleaningConfig(in_dev=True))
    prepared = made(tmp_path / "data", sources)
    assert trained_on(prepared) == [(s, mirror(s)) for s in FULL[5:]]
    assert str(test.source) in {entry["path"] for entry in prepared.manifest["inputs"]}
    test.target.write_bytes(b"x\n" * 3)
    with pytest.raises(DataError, match="test.bb: changed since this run was started"):
        check_inputs(prepared.manifest)


def test_a_test_set_that_is_not_there_matters_only_to_the_rule_that_reads_it(tmp_path: Path) -> None:
    train, gone = aligned(tmp_path, "train", SOURCES), AlignedFiles(source=tmp_path / "no", target=tmp_path / "no")
    preflight = prepare(tmp_path / "data", replace(inputs(train), test=gone), WORDS, lambda text: None, lambda n: None)
    assert preflight.survey.test_in_train is None
    with pytest.raises(DataError, match="no: cannot open it"):
        made(tmp_path / "no-data", replace(inputs(train), test=gone, cleaning=EVERY_RULE))


def test_tabs_and_line_ends_in_the_list_are_escaped(tmp_path: Path) -> None:
    odd = "a\tb\\t\rc\x85\u2028d\0"
    made(tmp_path / "data", inputs(aligned(tmp_path, "train", [*SOURCES, odd], [*SOURCES, ""])))
    assert listed(tmp_path / "data") == [["121", "empty", "a\\tb\\\\t\\rc\x85\u2028d\0", ""]]


def test_when_rules_leave_nothing_the_error_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prose(monkeypatch)
    train, dev = aligned(tmp_path, "train", FULL), aligned(tmp_path, "dev", FULL)
    with pytest.raises(DataError, match="train.aa: no pair is left to train on: 100 in_dev. Check the files."):
        made(tmp_path / "data", replace(inputs(train, dev), cleaning=EVERY_RULE))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("when", [0, 1, 2, 3])
@pytest.mark.parametrize("change", ["other text", "more lines", "fewer lines", "no lines"])
def test_a_file_that_changes_meanwhile_is_an_error_and_not_a_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: int, change: str
) -> None:
    """After each of the times that the training files are read."""
    train = aligned(tmp_path, "train", SOURCES)
    content = train.target.read_bytes()
    changed = {
        "other text": content.replace(b"1", b"2"),
        "more lines": content + b"more\n" * 900,
        "fewer lines": content[: len(content) // 2],
        "no lines": b"",
    }[change]
    reads = 0

    def reading(files: AlignedFiles) -> Iterator[Pair]:
        nonlocal reads
        yield from read_pairs(files)
        if reads == when:
            train.target.write_bytes(changed)
        reads += 1

    monkeypatch.setattr("transduce.data.prepare.read_pairs", reading)
    with pytest.raises(
        DataError, match="train.bb: changed while it was read. When whatever writes it is done, run the"
    ):
        made(tmp_path / "data", replace(inputs(train), cleaning=EVERY_RULE))
    assert not (tmp_path / "data").exists()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = aligned(tmp_path, "train", SOURCES)

    def refuse(*_: object) -> Never:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("transduce.data.prepare.sha256", refuse)  # the administrator may read everything
    monkeypatch.setattr("transduce.data.corpus.open_unpacked", refuse)
    with pytest.raises(DataError, match=r"train\.aa: cannot open it \(Permission denied\)"):
        made(tmp_path / "data", inputs(train))


@pytest.mark.parametrize("rules", [CleaningConfig(), EVERY_RULE], ids=["no rules", "every rule"])
@pytest.mark.parametrize(
    ("sources", "targets"),
    [
        (["a", "b"], ["A", "B"]),
        (["x " * 50_000, "y", "a\0b"] * 9, ["x" * 100_000, "y\ufeff", "c"] * 9),
        (["one", "two"] * 500, ["same"] * 1000),
        ([f"l {i}" for i in range(50)], [f"l {i}" for i in range(50)]),
    ],
    ids=["two lines", "long lines", "few sources", "copies"],
)
def test_hostile_corpora_are_prepared(
    tmp_path: Path, sources: list[str], targets: list[str], rules: CleaningConfig
) -> None:
    train = aligned(tmp_path, "train", sources, targets)
    preflight = prepare(
        tmp_path / "data", replace(inputs(train), cleaning=rules), CHARACTERS, lambda text: None, lambda n: None
    )
    assert len(sources) == preflight.kept + preflight.held_out + len(listed(tmp_path / "data"))
    assert preflight.kept == len(load_prepared(tmp_path / "data").corpus)


# ---- memory


@given(
    hashes=st.lists(st.integers(0, 30), min_size=2, max_size=60).filter(lambda numbers: len(set(numbers)) > 1),
    most=st.integers(1, 4),
)
def test_the_held_out_sources_are_those_with_the_smallest_hashes(hashes: list[int], most: int) -> None:
    """In memory that is bounded by how many there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "HELD_OUT", most)
        patch.setattr(module, "_hash", lambda source, seed: int(source))
        held_out = module._HeldOut(1)
        pairs = [(str(number), "x") for number in hashes]
        assert list(held_out.watch(pairs)) == pairs
        assert len(held_out._smallest) == len(held_out._in_heap) <= most
        is_dev = held_out.choose(len(set(hashes)), PairsFile(pairs=Path("x")))
        found = {number for number in hashes if is_dev(str(number))}
    n = min(most, max(1, len(set(hashes)) // 20))
    assert found == set(sorted(set(hashes))[:n])


@given(n=st.integers(0, 300), share=st.floats(0.001, 1.0))
def test_a_sample_is_spread_evenly(n: int, share: float) -> None:
    pairs = [(str(i), "") for i in range(n)]
    found = [int(source) for source, _ in module._spread(pairs, share)]
    assert len(found) == int(n * share)
    assert found == sorted(set(found))
    gaps = np.diff(found)
    assert len(gaps) == 0 or (gaps.min() >= int(1 / share) and gaps.max() <= 1 / share + 1)
    assert list(module._spread(pairs, 1.0)) == pairs


def test_a_vocabulary_is_learned_from_a_sample_of_a_large_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOKENIZER_CHARACTERS", 10)
    monkeypatch.setattr(module, "CHARACTERS_PER_PIECE", 1)
    lines = [f"w{i:04}" for i in range(1000)]
    prepared = made(tmp_path / "data", inputs(aligned(tmp_path, "train", lines)), replace(WORDS, size=500))
    words = {prepared.tokenizers.source.id_to_piece(i).strip("▁") for i in range(prepared.tokenizers.source.size)}
    found = sorted(int(word[1:]) for word in words if word[1:].isdecimal())
    assert 40 < len(found) <= 50  # 500 of 10,000 characters, ten a pair
    assert found[-1] > 900


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
    with pytest.raises(DataError, match=f"{name}: changed since this run was started. .*; or start over with --fresh."):
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
        (b"\n" * 120, "train.aa: fewer than two|no pair is left to train on: 120 empty. Check the files."),
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
    with pytest.raises(DataError, match="dev.aa: no dev pair with text on both sides. Give more data, or"):
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


def test_text_that_a_given_vocabulary_does_not_know(tmp_path: Path) -> None:
    """As in fine-tuning a model of few words on others: it would learn from one piece alone."""
    known = Tokenizer.train(["a b c d e f g h"], "words", 100, pretokenised=False)
    pair, said = TokenizerPair(known, known), list[str]()

    def prepared(name: str, sources: list[str], targets: list[str]) -> None:
        given = inputs(aligned(tmp_path, name, sources, targets))
        prepare(tmp_path / name, given, pair, said.append, lambda n: None)

    prepared("some", ["a b c d", "a b c x", "b", "c", "d", "e"], ["e f g h", "e f g h", "c", "d", "e", "f"])
    assert any("% of the source pieces are unknown to the vocabulary" in line for line in said)
    with pytest.raises(
        DataError, match=r"100% of the source text has no piece in the vocabulary .* Train without that model"
    ):
        prepared("new", [f"u{i} v{i}" for i in range(6)], [f"w{i} a" for i in range(6)])
    assert not (tmp_path / "new").exists()
