"""Forty hostile or odd data sets: each is a sensible run, or one line that says what is wrong with it."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Transduce
from tests.tiny import Said

pytestmark = pytest.mark.slow

SETTINGS = (
    "model.n_layers=1",
    "model.d_model=16",
    "model.d_ff=16",
    "model.n_heads=2",
    "training.max_steps=2",
    "training.average=1",
    "evaluation.sentences=4",
    "decoding.beam=1",
)
WORDS = [f"{a}{b}{c}" for a in "bdfgkl" for b in "aeiou" for c in "mnrst"]
Bytes = tuple[bytes, bytes]


def prose(n: int, seed: int = 0, words: list[str] = WORDS) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(words, k=chance.randint(4, 12))) + "." for _ in range(n)]


def lines(texts: list[str], end: str = "\n") -> bytes:
    return "".join(text + end for text in texts).encode()


def both(sources: list[str], targets: list[str] | None = None) -> Bytes:
    return lines(sources), lines([s.upper() for s in sources] if targets is None else targets)


def letters(alphabet: str, n: int = 120) -> list[str]:
    chance = random.Random(1)
    return ["".join(chance.choices(alphabet, k=chance.randint(3, 20))) for _ in range(n)]


TEXT = prose(120)
LONG = "word " * 20_000  # 100,000 characters

FINE: dict[str, Bytes] = {
    "two lines": both(["one line here.", "another line there."]),
    "source is target": both(TEXT, TEXT),
    "a line of 100,000 characters": both([*TEXT, LONG]),
    "tabs in the text": both([text.replace(" ", "\t", 1) for text in TEXT]),
    "NUL bytes in some lines": both([*TEXT, "a\0b c d e", "f\0 g h"]),
    "mixed ends of lines": (lines(TEXT[:60]) + lines(TEXT[60:], "\r\n"), lines([t.upper() for t in TEXT], "\r\n")),
    "no end of the last line": (lines(TEXT)[:-1], lines([t.upper() for t in TEXT])[:-1]),
    "targets ten times longer": both(TEXT, [" ".join([text] * 10) for text in TEXT]),
    "sources ten times longer": both([" ".join([text] * 10) for text in TEXT], TEXT),
    "twenty thousand one-word pairs": both([f"{w}{i}" for i in range(134) for w in WORDS]),
    "half of the targets empty": both(TEXT, [text.upper() if i % 2 else "" for i, text in enumerate(TEXT)]),
    "lines of white space": both([*TEXT, " ", "\u00a0", "\u3000"]),
    "byte order marks": (b"\xef\xbb\xbf" + lines(TEXT), b"\xef\xbb\xbf" + lines([t.upper() for t in TEXT])),
    "emoji alone": both(letters("😀😂🙏👍🎉"), letters("🔥✅🚀")),
    "marks without a width": both([text.replace(" ", "\u200b \u200d") for text in TEXT]),
    "right to left": both(letters("ابتثجحخد "), letters("אבגדהוזח ")),
    "no spaces": both(letters("日本語文字列車道路"), letters("あいうえおかきくけこ")),
    "two normal forms": both([text.replace("a", "a\u0301" if i % 2 else "á") for i, text in enumerate(TEXT)]),
    "numbers alone": both([str(i * 7919) for i in range(120)], [str(i) for i in range(120)]),
    "punctuation alone": both(letters(".,;:!?"), letters("()[]{}")),
    "what looks like our pieces": both([f"<s> {text} </s> <unk> ▁ ｟0｠ <tag1> <0x41>" for text in TEXT]),
    "what looks like a tag": both([f">>de<< {text}" for text in TEXT]),
    "five thousand characters": both(["".join(map(chr, range(0x4E00 + 40 * i, 0x4E28 + 40 * i))) for i in range(125)]),
    "nine copies of ten": both(TEXT[:30] * 10),
    "one character a line": both([chr(0x3B1 + i % 24) for i in range(120)]),
    "a source with a hundred targets": both(["the same."] * 100 + TEXT, prose(100, seed=2) + TEXT),
    "unrelated targets": both(TEXT, prose(120, seed=3)[::-1]),
    "shell, SQL and HTML": both([f"$(rm -rf /) '; DROP TABLE x; -- <script>{text}</script> %s {{0}}" for text in TEXT]),
}

WRONG: dict[str, tuple[Bytes, str]] = {
    "one line": (both(["one line."]), "fewer than two different sources"),
    "all the same": (both(["the same."] * 50), "fewer than two different sources"),
    "nothing but a long line": (both([LONG, f"{LONG}b"]), "pieces"),
    "NUL bytes from the start": ((b"\0\0\0\n", b"a\n"), "UTF-16, or no text"),
    "old Mac": ((lines(TEXT, "\r"), lines(TEXT)), "its lines end in CR alone"),
    "empty": ((b"", b""), "the file is empty"),
    "targets all empty": (both(TEXT, [""] * len(TEXT)), ""),
    "Latin-1": (("é\n".encode("latin-1") * 9, b"e\n" * 9), "not UTF-8"),
    "UTF-16": (("a\n".encode("utf-16"), b"a\n"), "UTF-16"),
    "half a surrogate": ((b"\xed\xa0\x80\n" * 9, b"e\n" * 9), "not UTF-8"),
    "a line too few": ((lines(TEXT), lines(TEXT[1:])), "not line by line translations"),
    "control characters everywhere": (both([f"{text}\x07" for text in TEXT]), "no pair is left"),
}


def train(transduce: Transduce, folder: Path, files: Bytes, *more: object, suffix: str = "") -> Said:
    for name, content in zip(("a.src", "a.tgt"), files, strict=True):
        (folder / f"{name}{suffix}").write_bytes(content)
    given = ("--source", folder / f"a.src{suffix}", "--target", folder / f"a.tgt{suffix}", "--out", folder / "run")
    return transduce("train", *given, *(word for s in SETTINGS for word in ("--set", s)), *more)


def is_fine(transduce: Transduce, folder: Path, said: Said) -> None:
    assert said.status == 0, said
    translated = transduce("translate", folder / "run", "something new 123 😀")
    assert (translated.status, translated.out.count("\n")) == (0, 1)


@pytest.mark.parametrize("name", FINE)
def test_a_sensible_run(transduce: Transduce, tmp_path: Path, name: str) -> None:
    is_fine(transduce, tmp_path, train(transduce, tmp_path, FINE[name]))


@pytest.mark.parametrize("name", WRONG)
def test_one_line_says_what_is_wrong(transduce: Transduce, tmp_path: Path, name: str) -> None:
    files, message = WRONG[name]
    said = train(transduce, tmp_path, files)
    assert said.status == 2, said
    said.failed(message)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("suffix", [".gz"])
def test_compressed(transduce: Transduce, tmp_path: Path, suffix: str) -> None:
    whole = gzip.compress(both(TEXT)[0]), gzip.compress(both(TEXT)[1])
    train(transduce, tmp_path, (whole[0][:-20], whole[1]), suffix=suffix).failed("Truncated, or damaged?")
    train(transduce, tmp_path, both(TEXT), suffix=suffix).failed("Truncated, or damaged?")
    is_fine(transduce, tmp_path, train(transduce, tmp_path, whole, suffix=suffix))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("missing", "a.tgt"), "cannot open it"),
        ((".", "a.tgt"), "this is a folder"),
    ],
)
def test_no_file(transduce: Transduce, tmp_path: Path, files: tuple[str, str], message: str) -> None:
    (tmp_path / "a.tgt").write_bytes(lines(TEXT))
    source, target = (tmp_path / name for name in files)
    transduce("train", "--source", source, "--target", target, "--out", tmp_path / "run").failed(message)


def test_the_development_set_is_the_training_set(transduce: Transduce, tmp_path: Path) -> None:
    dev = ("--dev-source", tmp_path / "a.src", "--dev-target", tmp_path / "a.tgt")
    train(transduce, tmp_path, both(TEXT), *dev).failed("no pair is left to train on")


PAIRS: list[tuple[str, str, Callable[[str], str]]] = [
    ("a column is missing", ".tsv", lambda text: text.replace("\t", " ", 2)),
    ("a broken line of JSON", ".jsonl", lambda text: text.replace("}", "", 1)),
]


@pytest.mark.parametrize(("name", "suffix", "change"), PAIRS, ids=[name for name, _, _ in PAIRS])
def test_a_broken_file_of_pairs(
    transduce: Transduce, tmp_path: Path, name: str, suffix: str, change: Callable[[str], str]
) -> None:

    as_json = [json.dumps({"source": s, "target": s.upper()}) for s in TEXT]
    whole = "\n".join(as_json if suffix == ".jsonl" else [f"{s}\t{s.upper()}\t{i}" for i, s in enumerate(TEXT)])
    path = tmp_path / f"a{suffix}"
    settings = [word for s in SETTINGS for word in ("--set", s)]
    columns = ("--columns", "source,target") if suffix == ".jsonl" else ()
    path.write_text(change(whole), encoding="utf-8")
    transduce("train", "--pairs", path, *columns, "--out", tmp_path / "run", *settings).failed(f"a{suffix}:1: ")
    path.write_text(whole, encoding="utf-8")
    is_fine(
        transduce,
        tmp_path,
        transduce("train", "--pairs", path, *columns, "--out", tmp_path / "run", *settings),
    )
