"""What the README and the pages of docs/ tell a reader to run, is run, from top to bottom, in an empty folder.

The readers' files are replaced by small ones of the same names (`write_files`). Trainings get settings appended that
make them tiny: `SMALL`, and `STEPS` steps for a recipe, else one for every 15 minutes (of which 30 are the default); in
Python through `load_recipe`. What needs an installation or minutes of training is in `ELSEWHERE`, and a slow test runs
it in a copy of the project.
"""

import gzip
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import pytest

import transduce
from tools.pages import ROOT, blocks, commands, follow, section, tree
from transduce.cli.main import LIBRARIES, run
from transduce.config import RunConfig, load_recipe
from transduce.data.corpus import AlignedFiles, PairsFile, read_pairs
from transduce.data.sources import find
from transduce.lab import costs, residual

README = ROOT / "README.md"
ELSEWHERE = (["make", "demo"], ["pip", "install", ".[demo]"], ["transduce", "demo"])
STEPS = 5  # each with a checkpoint, for the README averages five
SMALL = {
    "tokenizer.size": 320,
    "model.n_layers": 1,
    "model.d_model": 16,
    "model.d_ff": 16,
    "model.n_heads": 2,
    "batching.accumulate": 1,
    "training.warmup": 2,
    "evaluation.sentences": 2,
    "decoding.extra_length": 3,
}


SMALL_LABORATORY = residual.Settings(
    depths=(1, 2),
    identity_depths=(1, 2),
    seeds=(1,),
    steps=STEPS,
    identity_steps=STEPS,
    d_model=16,
    d_ff=16,
    n_heads=2,
    vocabulary=320,
)
SMALL_GRID = costs.Settings(
    lengths=(8, 16), at_widths=(8,), widths=(8, 16), at_length=8, sizes=(2, 3), paths=(3,), repeats=1, sentence=8
)


def small(steps: int, every: int) -> list[str]:
    length = {"training.max_steps": steps, "training.checkpoint_every": every}
    return [f"{key}={value}" for key, value in (SMALL | length).items()]


def transduce_command(words: list[str]) -> int:
    if words in ELSEWHERE:
        return 0
    if words[1] == "fetch":  # there is no network, and `write_files` wrote what is meant
        assert find(words[2])[1].targets
        return 0
    if words[1] in ("train", "distil"):
        minutes = float(words[words.index("--minutes") + 1]) if "--minutes" in words else 30.0
        is_recipe = words[1] == "train" and not words[2].startswith("--")
        settings = small(STEPS, 1) if is_recipe else small(int(minutes / 15), 2)
        if words[1] == "distil":  # a teacher of so few steps writes what would be left out
            settings += [f"cleaning.{rule}=false" for rule in ("encoding", "ratio", "copied")]
        words = [*words, *(part for setting in settings for part in ("--set", setting))]
    return run(words[1:])


def elsewhere(words: list[str]) -> int:
    return 0 if words in ELSEWHERE else 1


PROGRAMS = {"transduce": transduce_command, "make": elsewhere, "pip": elsewhere}


def write_aligned(files: AlignedFiles, n: int) -> None:
    """Invented sentences and their "translations", of enough different words to count as text."""
    choose = random.Random(n)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    lines = [["".join(choose.choices(syllables, k=2)) for _ in range(choose.randint(2, 6))] for _ in range(n)]
    for path, words in ((files.source, lines), (files.target, [[w.upper() for w in reversed(ws)] for ws in lines])):
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(" ".join(line) + " .\n" for line in words).encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def write_files(folder: Path) -> None:
    """Every file that the pages name and no command makes."""
    for name, n in (("train", 300), ("new", 60), ("test", 20)):
        write_aligned(AlignedFiles(source=folder / f"{name}.en", target=folder / f"{name}.de"), n)
    for name, n in (("train", 300), ("dev", 20), ("test", 20)):
        captions = folder / "corpora" / "captions"
        write_aligned(AlignedFiles(source=captions / f"{name}.en", target=captions / f"{name}.de"), n)
    data = load_recipe("multi30k_ende", [f'data.root="{(folder / "data").as_posix()}"']).data
    for part, n in ((data.train, 300), (data.dev, 20), (data.test, 20)):
        assert part is not None
        files = data.files(part)
        assert isinstance(files, AlignedFiles)
        write_aligned(files, n)
    words = ["".join(random.Random(i).choices("abcdefgh", k=5)) for i in range(200)]
    said = "".join(f"{word}\t{' '.join(word.upper())}\n" for word in words)
    forms = "".join(f"{word}\t{word}{tag.lower()}\tV;{tag}\n" for word in words for tag in ("PST", "PL"))
    pairs = {"dictionary.tsv": said}
    for split in ("train", "dev", "test"):
        pairs[f"data/sigmorphon2020_g2p/gre_{split}.tsv"] = said
        pairs[f"data/sigmorphon2020_inflection/dak.{split}.tsv"] = forms
    for name, lines in pairs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(lines, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place to work in, with small files; recipes loaded in Python are small too."""

    def load_small(recipe: str | Path, settings: Sequence[str] = ()) -> RunConfig:
        return load_recipe(recipe, [*settings, *small(STEPS, 1)])

    monkeypatch.delenv("TRANSDUCE_DATA", raising=False)
    for name, value in LIBRARIES.items():
        monkeypatch.setenv(name, value)  # as the commands do; this takes it back afterwards
    monkeypatch.setattr(transduce, "load_recipe", load_small)
    monkeypatch.setitem(residual.BUDGETS, "quick", SMALL_LABORATORY)
    monkeypatch.setitem(costs.BUDGETS, "quick", SMALL_GRID)
    monkeypatch.setattr(sys, "argv", ["transduce"])
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    return tmp_path


def listed_files(run_folder: Path, listing: dict[str, str]) -> None:
    """What `listing` names is there, and in folders whose content it lists nothing else is."""
    for pattern, text in listing.items():
        matches = list(run_folder.glob(pattern))
        assert matches or "where the extra" in text, f"{pattern} is listed, but not there"
        assert all(path.is_dir() == pattern.endswith("/") for path in matches)
    for parent in {pattern.rstrip("/").rpartition("/")[0] for pattern in listing}:
        names = [p.rstrip("/").rpartition("/")[2] for p in listing if p.rstrip("/").rpartition("/")[0] == parent]
        for found in run_folder.glob(f"{parent}/*" if parent else "*"):
            assert any(fnmatch(found.name, name) for name in names), f"{found} is there, but not listed"


@pytest.mark.learn
def test_readme(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = README.read_text(encoding="utf-8")
    done = follow(page, folder, PROGRAMS)
    assert [words for words in done if words in ELSEWHERE] == list(ELSEWHERE)
    assert "dev bleu" in capsys.readouterr().err, "the two-file model was not taken for text"

    (listing,) = [b.text for b in blocks(section(page, "What is on disk")) if b.language == "text"]
    paths = {path.removeprefix("runs/mine/"): text for path, text in tree(listing).items() if path != "runs/mine/"}
    listed_files(folder / "runs" / "mine", paths)
    config = json.loads((folder / "runs" / "tuned" / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["model"]["d_model"] == SMALL["model.d_model"]


@pytest.mark.unit
def test_paper(folder: Path) -> None:
    follow((ROOT / "docs" / "paper.md").read_text(encoding="utf-8"), folder, PROGRAMS)


@pytest.mark.unit
def test_data(folder: Path) -> None:
    follow((ROOT / "docs" / "data.md").read_text(encoding="utf-8"), folder, PROGRAMS)
    dropped = (folder / "dropped.tsv").read_text(encoding="utf-8")
    assert dropped == (folder / "runs" / "looked-at" / "data" / "dropped.tsv").read_text(encoding="utf-8")


@pytest.mark.learn
def test_recipes(folder: Path) -> None:
    follow((ROOT / "docs" / "recipes.md").read_text(encoding="utf-8"), folder, PROGRAMS)
    assert (folder / "runs" / "captions-2" / "model" / "config.json").is_file()


@pytest.mark.learn
def test_measuring(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    follow((ROOT / "docs" / "measuring.md").read_text(encoding="utf-8"), folder, PROGRAMS)
    assert "By rarity" in (folder / "both.html").read_text(encoding="utf-8")
    assert "best: --beam " in capsys.readouterr().err
    assert len(list(read_pairs(PairsFile(pairs=folder / "made.tsv")))) == 60


def write_formats(folder: Path) -> None:
    """The files that docs/formats.md names, beside those that every page may name."""
    for part in ("train", "dev"):
        files = AlignedFiles(source=folder / f"{part}.en", target=folder / f"{part}.de")
        write_aligned(files, 300 if part == "train" else 20)
        shutil.copy(files.target, folder / f"{part}.fr")
    pairs = list(read_pairs(AlignedFiles(source=folder / "train.en", target=folder / "train.de")))
    objects = [json.dumps({"translation": {"en": s, "de": t}}) + "\n" for s, t in pairs]
    entries = [f'msgid "{i} {s}"\nmsgstr "{t}"\n\n' for i, (s, t) in enumerate(pairs)]
    unit = '<tu><tuv xml:lang="en-GB"><seg>{}</seg></tuv><tuv xml:lang="de"><seg>{}</seg></tuv></tu>\n'
    (folder / "captions.jsonl").write_text("".join(objects), encoding="utf-8")
    (folder / "messages.po").write_text("".join(entries), encoding="utf-8")
    (folder / "memory.tmx").write_text(f"<tmx>{''.join(unit.format(*p) for p in pairs)}</tmx>", encoding="utf-8")


@pytest.mark.learn
def test_formats(folder: Path) -> None:
    write_formats(folder)
    follow((ROOT / "docs" / "formats.md").read_text(encoding="utf-8"), folder, PROGRAMS)
    config = json.loads((folder / "runs" / "newer" / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["tags"] == ["de", "fr"]


@pytest.mark.learn
def test_extending(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    assert page.count("steps=1000") == 2
    follow(page.replace("steps=1000", f"steps={STEPS}"), folder, PROGRAMS)
    assert f"step {STEPS}: loss " in capsys.readouterr().out


@pytest.mark.slow
def test_what_is_run_elsewhere(tmp_path: Path) -> None:
    """The first commands of the README, in their order, on a fresh copy and in an empty environment."""
    shell = [block for block in blocks(README.read_text(encoding="utf-8")) if block.language == "sh"]
    copy = tmp_path / "transduce"
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "Makefile", "README.md", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    venv.create(tmp_path / "environment", with_pip=True)
    binaries = tmp_path / "environment" / ("Scripts" if sys.platform == "win32" else "bin")
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TRANSDUCE"))}
    outside |= {"PATH": f"{binaries}{os.pathsep}{outside['PATH']}", "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    for words in (words for block in shell for words in commands(block) if words in ELSEWHERE):
        subprocess.run(shlex.join(words), shell=True, cwd=copy, env=outside, check=True)
    assert (copy / "runs" / "demo" / "model" / "config.json").is_file()
