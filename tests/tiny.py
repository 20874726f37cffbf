"""A language that a tiny Transformer learns in seconds: every word becomes its mirror image in capitals."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from transduce.config import RunConfig

WORDS = ("bird", "cat", "dog", "eats", "green", "runs", "sees", "the")

RECIPE = """
[data]
root = "ROOT"
train = { source = "train.aa", target = "train.bb" }
dev = { source = "dev.aa", target = "dev.bb" }
test = { source = "test.aa", target = "test.bb" }
source_lang = "aa"
target_lang = "bb"
max_length = 12

[tokenizer]
source = "words"
target = "words"
joint = false
size = 100

[model]
n_layers = 1
d_model = 32
d_ff = 64
n_heads = 2
norm = "pre"

[batching]
max_tokens = 256

[training]
max_steps = 160
checkpoint_every = 40
schedule = "inverse_sqrt"
learning_rate = 0.01
warmup = 20
average = 2
precision = "fp32"

[evaluation]
metric = "accuracy"
tokenize = "none"
sentences = 16
"""


@dataclass(frozen=True)
class Said:
    """What a command did: exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    def refused(self, *parts: str) -> None:
        """It said what is wrong with the input, in one line, and did nothing else."""
        assert self.status == 2, self
        assert self.out == ""
        assert self.err.count("\n") == 1, self.err
        self.failed(*parts)

    def failed(self, *parts: str) -> None:
        """Whatever it did first, it ended in one line that says what is wrong, and no traceback."""
        last = self.err.splitlines()[-1]
        assert last.startswith("error: "), self.err
        assert [line.startswith("error: ") for line in self.err.splitlines()].count(True) == 1, self.err
        assert "Traceback" not in self.err
        assert not [part for part in parts if part not in last], last


def mirror(text: str) -> str:
    return " ".join(word[::-1].upper() for word in text.split(" "))


def sentences(n: int, seed: int) -> list[str]:
    random_words = random.Random(seed)
    return [" ".join(random_words.choice(WORDS) for _ in range(random_words.randint(1, 4))) for _ in range(n)]


def write_lines(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def write_corpus(folder: Path, n: int = 300) -> Path:
    """`train.aa`, `train.bb` and so on: n pairs for training, 20 for each of dev and test."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (part, size) in enumerate({"train": n, "dev": 20, "test": 20}.items()):
        sources = sentences(size, seed)
        write_lines(folder / f"{part}.aa", sources)
        write_lines(folder / f"{part}.bb", [mirror(source) for source in sources])
    return folder


def write_recipe(folder: Path, root: str = "") -> Path:
    """`tiny.toml`, about the corpus in the same folder."""
    path = folder / "tiny.toml"
    path.write_text(RECIPE.replace("ROOT", root or str(folder)), encoding="utf-8")
    return path


def new_life(folder: Path) -> Path:
    """Corpus and recipe. Their names, which go onto the model card, are the same in every life."""
    write_corpus(folder)
    write_recipe(folder, root=".")
    return folder


SHORT = (
    "training.max_steps=12",
    "training.checkpoint_every=4",
    "evaluation.sentences=4",
    "evaluation.metric=chrf",
    "decoding.extra_length=2",
    "model.p_drop=0.3",
)


EVERYTHING = (  # that a run could lose by being stopped
    "training.precision=bf16",
    "model.p_drop=0.2",
    "evaluation.metric=bleu",
    "training.checkpoint_every=15",
    "training.average=3",
    "training.patience=6",
    "training.max_steps=2000",
    "training.r_drop=1",
    "training.optimizer=muon",
)


def tiny_config(folder: Path, *settings: str) -> "RunConfig":
    """The recipe about the corpus in `folder`, made there if need be, for 12 steps unless `settings` say otherwise."""
    from transduce.config import load_recipe

    if not (folder / "train.aa").exists():
        write_corpus(folder)
    return load_recipe(write_recipe(folder), [*SHORT, *settings])


class Killed(BaseException):
    """What ends a run in the middle, as `kill -9` does: nobody catches it, and nothing is saved."""


class After:
    """A `stop` that says so after `steps` steps, or has the process die there."""

    def __init__(self, steps: int, kill: bool = False) -> None:
        self.steps = steps
        self.kill = kill

    def __call__(self) -> bool:
        self.steps -= 1
        if self.steps == 0 and self.kill:
            raise Killed
        return self.steps == 0


def trained_run(factory: pytest.TempPathFactory) -> Path:
    """A run that is finished, beside its corpus and recipe; trained once, in two seconds. Not to be written to."""
    folder = factory.getbasetemp() / "tiny"
    if not folder.exists():
        from tests.conftest import run_time_checks
        from transduce.cli.main import run

        write_corpus(folder)
        with run_time_checks(on=False):
            assert run(["train", str(write_recipe(folder)), "--out", str(folder / "run")]) == 0
    return folder / "run"
