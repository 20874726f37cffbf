"""The main job, as people do it: two files of text in, a model out that knows what they say, stopped or not."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.disk import contents
from tests.tiny import EVERYTHING, Said, mirror, new_life, sentences, write_corpus, write_lines, write_recipe
from transduce.checkpoint import load_progress, saved_steps

pytestmark = pytest.mark.learn

PROGRAM = [sys.executable, "-m", "transduce"]
TRAIN = [*PROGRAM, "train", "tiny.toml", "--out", "run", *(word for s in EVERYTHING for word in ("--set", s))]


def run(command: list[str], folder: Path, before: Callable[[], None] | None = None) -> Said:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, preexec_fn=before)
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped, until its patience ended it."""
    folder = new_life(tmp_path_factory.mktemp("straight"))
    said = run(TRAIN, folder)
    assert said.status == 0, said.err
    steps = saved_steps(folder / "run")
    assert load_progress(folder / "run", steps[-1]).finished
    assert 100 < steps[-1] < 2000
    return folder / "run"


# ---- learning


def test_two_files_become_a_translator(tmp_path: Path) -> None:
    write_corpus(tmp_path, n=600)
    small = ["model.n_layers=1", "model.d_model=64", "model.d_ff=128", "model.p_drop=0", "batching.max_tokens=512"]
    small += ["batching.accumulate=1", "training.max_steps=300", "training.checkpoint_every=100", "training.average=2"]
    small += ["training.warmup=40", "training.learning_rate=0.01"]
    files = ["--source", "train.aa", "--target", "train.bb", "--out", "runs/mine"]
    said = run([*PROGRAM, "train", *files, *(word for s in small for word in ("--set", s))], tmp_path)
    assert said.status == 0, said.err

    said = run([*PROGRAM, "translate", "runs/mine", "the green bird"], tmp_path)
    assert (said.status, said.out) == (0, "EHT NEERG DRIB\n")
    measure = ["--source", "test.aa", "--reference", "test.bb", "--metric", "bleu,accuracy", "--json"]
    said = run([*PROGRAM, "evaluate", "runs/mine", *measure], tmp_path)
    scores = json.loads(said.out)
    assert scores["accuracy"]["score"] >= 80  # 89.5 with each of three seeds
    assert scores["bleu"]["score"] >= 80


@pytest.mark.slow
def test_a_dictionary_is_learned_letter_by_letter(tmp_path: Path) -> None:
    """Characters to symbols, unlike what a word is to a word: the preset finds out by itself."""
    words = sorted({line.replace(" ", "") for line in sentences(900, 3)})
    write_lines(tmp_path / "words.tsv", [f"{word}\t{' '.join(word.upper())}" for word in words])
    small = ["model.n_layers=1", "model.d_model=64", "model.d_ff=128", "batching.max_tokens=1024", "model.p_drop=0.0"]
    small += ["training.max_steps=250", "training.checkpoint_every=125", "training.warmup=40", "training.average=1"]
    small += ["training.learning_rate=0.006", "batching.accumulate=1"]
    said = run(
        [
            *PROGRAM,
            "train",
            "--pairs",
            "words.tsv",
            "--out",
            "run",
            "--json",
            *(w for s in small for w in ("--set", s)),
        ],
        tmp_path,
    )
    assert said.status == 0, said.err
    assert json.loads(said.out)["wer"]["score"] <= 40
    recipe = (tmp_path / "run" / "recipe.toml").read_text()
    assert 'source = "characters"\ntarget = "words"\njoint = false' in recipe


@pytest.mark.slow
def test_one_model_learns_what_every_tag_asks_for(tmp_path: Path) -> None:
    """The same sources twice: >>copy<< wants them as they are, >>mirror<< backwards in capitals."""
    for part, n, seed in (("train", 600, 0), ("dev", 20, 1)):
        lines = sentences(n, seed)
        write_lines(tmp_path / f"{part}.aa", lines)
        write_lines(tmp_path / f"{part}.copy", lines)
        write_lines(tmp_path / f"{part}.mirror", [mirror(line) for line in lines])

    def sets(part: str) -> str:
        named = (f'{{ source = "{part}.aa", target = "{part}.{tag}", tag = "{tag}" }}' for tag in ("copy", "mirror"))
        return f"{part} = [{', '.join(named)}]\n"

    recipe = write_recipe(tmp_path, root=".")
    text = recipe.read_text().splitlines(keepends=True)
    kept = [line for line in text if not line.startswith(("train =", "dev =", "test ="))]
    kept.insert(kept.index("[data]\n") + 1, sets("train") + sets("dev"))
    recipe.write_text("".join(kept))
    small = ["model.d_model=64", "model.d_ff=128", "model.p_drop=0", "batching.max_tokens=512"]
    small += ["training.max_steps=400", "training.checkpoint_every=200", "training.warmup=40"]
    train = [*PROGRAM, "train", "tiny.toml", "--out", "run", "--json", *(w for s in small for w in ("--set", s))]
    said = run(train, tmp_path)
    assert said.status == 0, said.err
    assert json.loads(said.out)["accuracy"]["score"] >= 80
    said = run([*PROGRAM, "translate", "run", ">>copy<< the green bird\n>>mirror<< the green bird"], tmp_path)
    assert (said.status, said.out) == (0, "the green bird\nEHT NEERG DRIB\n")
    said = run([*PROGRAM, "translate", "run", "the green bird\n\nthe cat", "--to", "mirror"], tmp_path)
    assert (said.status, said.out) == (0, "EHT NEERG DRIB\n\nEHT TAC\n")
    said = run([*PROGRAM, "translate", "run", "the cat", "--to", "mirror", "--json"], tmp_path)
    assert json.loads(said.out)["source"] == "the cat"  # as it was given
    said = run([*PROGRAM, "translate", "run", "the dog", "--to", "fr"], tmp_path)
    said.refused("--to fr: the tags of this model are: copy, mirror.")
    said = run([*PROGRAM, "translate", "run", ">>fr<< the dog"], tmp_path)
    assert said.status == 2
    said.failed("line 1 begins with the tag >>fr<<, but the tags of this model are >>copy<<, >>mirror<<.")


# ---- stopping


def interrupt(folder: Path, step: int, times: int = 1) -> Said:
    """Start the program, and press Ctrl-C once it has done `step` steps."""
    with subprocess.Popen(TRAIN, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        events = folder / "run" / "events.jsonl"
        while not (events.is_file() and f'"event": "step", "step": {step},' in events.read_text()):
            assert program.poll() is None
            time.sleep(0.01)
        for _ in range(times):
            program.send_signal(signal.SIGINT)
            time.sleep(0.001)
        out, err = program.communicate()
        return Said(program.returncode, out, err)


def test_ctrl_c_saves_and_says_how_to_go_on_and_the_model_is_the_same(straight: Path, tmp_path: Path) -> None:
    folder = new_life(tmp_path / "life")
    said = interrupt(folder, step=20)
    assert said.status == 130
    assert "Traceback" not in said.err
    lines = said.err.splitlines()
    assert lines[-3] == "stopping after this step; again to stop at once"
    step = saved_steps(folder / "run")[-1]
    assert lines[-2] == f"stopped at step {step}, everything is saved. To continue, run:"
    assert lines[-1].startswith("  transduce train tiny.toml --out run --set training.precision=bf16")
    assert step >= 20
    assert load_progress(folder / "run", step).interim == (step % 15 != 0)
    assert not (folder / "run" / "model").exists()

    said = run(TRAIN, folder)
    assert said.status == 0
    assert f"continuing at step {step}" in said.err
    assert contents(folder / "run" / "model") == contents(straight / "model")

    said = run(TRAIN, folder)
    assert said.status == 0
    assert "run: finished at step" in said.err


# ---- a full disk


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Callable[[], None] | None]:
    """`folder` on a disk of its own, of that size. Who may not mount one gets a limit of the size of files instead,
    to be set in the program."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        return
    try:
        yield None
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_last_checkpoint_and_the_run_goes_on(straight: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "life", 700) as limit:
        folder = new_life(tmp_path / "life")
        said = run(TRAIN, folder, before=limit)
        assert said.status == 1
        said.failed("run/checkpoints/step-", ": cannot be written (", "). Free space, then go on.")
        left = saved_steps(folder / "run")
        assert not [f.name for f in (folder / "run" / "checkpoints").iterdir() if f.suffix]
        for step in left:
            load_progress(folder / "run", step)
        if limit is None:
            assert left
            subprocess.run(["mount", "-o", "remount,size=20m", str(folder)], check=True)
        assert run(TRAIN, folder).status == 0
        assert contents(folder / "run" / "model") == contents(straight / "model")
