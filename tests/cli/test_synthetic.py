"""`transduce distil` and `transduce backtranslate`."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Transduce
from tests.tiny import mirror, sentences, tiny_config, write_lines
from transduce.compose import train

SMALL = ("model.n_layers=1", "model.d_model=16", "model.d_ff=16", "model.n_heads=2", "training.max_steps=4")
SETTINGS = [word for setting in (*SMALL, "training.checkpoint_every=2") for word in ("--set", setting)]


@pytest.mark.learn
def test_a_student_learns_what_the_teacher_says(transduce: Transduce, run: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    said = transduce("distil", run, "--out", out, *SETTINGS)
    assert said.status == 0, said.err
    made = [json.loads(line) for line in (tmp_path / "small.distilled" / "train.jsonl").read_text().splitlines()]
    sources = (corpus / "train.aa").read_text().splitlines()
    assert [pair["source"] for pair in made] == [s for s in sources if s not in set(_lines(corpus / "dev.aa"))]
    texts = write_lines(tmp_path / "some.aa", [*_lines(corpus / "dev.aa")[:3], *(pair["source"] for pair in made[:9])])
    assert [pair["target"] for pair in made[:9]] == transduce("translate", run, "--input", texts).out.splitlines()[3:]
    dev = [json.loads(line) for line in (tmp_path / "small.distilled" / "dev.jsonl").read_text().splitlines()]
    assert [(pair["source"], pair["target"]) for pair in dev] == [(s, mirror(s)) for s in _lines(corpus / "dev.aa")]
    about = json.loads(transduce("info", out, "--json").out)
    assert about["parameters"] < json.loads(transduce("info", run, "--json").out)["parameters"]
    scores = json.loads(transduce("evaluate", out, "--pairs", tmp_path / "small.distilled" / "dev.jsonl", "--json").out)
    assert list(scores) == ["accuracy"]  # the teacher's metric

    again = transduce("distil", run, "--out", out, *SETTINGS)
    assert "was made already" in again.err
    assert "finished at step 4" in again.err
    transduce("distil", run, "--out", out, *SETTINGS, "--beam", 1).failed("begun with beam = 4, now it is 1")
    assert transduce("distil", run, "--out", out, *SETTINGS, "--beam", 1, "--fresh", "--source", texts).status == 0
    assert len(_lines(tmp_path / "small.distilled" / "train.jsonl")) == 9


@pytest.mark.unit
def test_a_teacher_needs_its_data(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    transduce("distil", run / "model", "--out", tmp_path / "x").refused("a model without its run. Distillation needs")
    transduce("distil", "nowhere", "--out", tmp_path / "x").refused("nowhere: no such folder.")


@pytest.mark.unit
def test_a_teacher_whose_data_changed_is_told_so(transduce: Transduce, tmp_path: Path) -> None:
    train(tiny_config(tmp_path, "training.max_steps=1"), tmp_path / "run")
    with (tmp_path / "train.aa").open("a", encoding="utf-8") as file:
        file.write("one more\n")
    said = transduce("distil", tmp_path / "run", "--out", tmp_path / "x")
    said.refused("train.aa: changed since this run was started. Give the lines to learn from with --source.")


@pytest.mark.learn
def test_made_pairs_have_the_text_on_the_right(transduce: Transduce, run: Path, corpus: Path, tmp_path: Path) -> None:
    lines = sentences(12, seed=9)
    text = write_lines(tmp_path / "mono.aa", [*lines[:5], "", *lines[5:]])
    said = transduce("backtranslate", run, text, "--out", tmp_path / "made.tsv")
    assert (said.status, said.out) == (0, "")
    found = [tuple(line.split("\t")) for line in _lines(tmp_path / "made.tsv")]
    bare = write_lines(tmp_path / "bare.aa", lines)
    assert found == list(zip(transduce("translate", run, "--input", bare).out.splitlines(), lines, strict=True))
    assert "was made already" in transduce("backtranslate", run, text, "--out", tmp_path / "made.tsv").err
    given = ("backtranslate", run, text, "--out", tmp_path / "exact.tsv")
    assert transduce(*given, "--precision", "fp32").status == 0
    transduce(*given, "--precision", "bf16").failed("begun with precision = 'fp32', now it is 'bf16'")
    blank = write_lines(tmp_path / "blank.bb", ["", "  "])
    transduce("backtranslate", run, blank, "--out", tmp_path / "none.tsv").refused("there is no line with text")
    assert not (tmp_path / "none.tsv").exists()

    files = ("--source", corpus / "train.bb", "--target", corpus / "train.aa", "--mix-pairs", tmp_path / "made.tsv")
    assert transduce("train", *files, "--out", tmp_path / "run", *SETTINGS).status == 0


@pytest.mark.unit
def test_drawn_pairs_are_the_same_for_a_seed(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    text = write_lines(tmp_path / "mono.aa", sentences(30, seed=9))
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        transduce("backtranslate", run, text, "--sample", "--seed", seed, "--out", tmp_path / name)
    one, same, other = ((tmp_path / name).read_text() for name in "abc")
    assert one == same
    assert one != other


@pytest.mark.unit
def test_a_stop_says_how_to_go_on(
    transduce: Transduce, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    text = write_lines(tmp_path / "mono.aa", ["the dog"])
    with monkeypatch.context() as patch:
        patch.setattr("transduce.decoding.translator.Translator.translate_stream", interrupt)
        patch.setattr("sys.argv", ["transduce", "backtranslate", "run", "mono.aa", "--fresh"])
        said = transduce("backtranslate", run, text, "--out", tmp_path / "made.tsv", "--fresh")
    assert said.status == 130
    assert "To continue, run:\n  transduce backtranslate run mono.aa\n" in said.err
    assert transduce("backtranslate", run, text, "--out", tmp_path / "made.tsv").status == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--sample --beam 2", "--sample draws one output a line and searches nothing."),
        ("--seed 2", "--seed 2: it is for --sample."),
        ("--sample --seed -1", "--seed -1: must be at least 0 and below 2^63."),
        (f"--sample --seed {2**64}", "must be at least 0 and below 2^63."),
        ("--beam 0", "beam = 0"),
    ],
)
@pytest.mark.unit
def test_what_cannot_be_made(transduce: Transduce, run: Path, tmp_path: Path, options: str, message: str) -> None:
    text = write_lines(tmp_path / "mono.aa", ["the dog"])
    transduce("backtranslate", run, text, "--out", tmp_path / "x", *options.split()).refused(message)
    transduce("backtranslate", run, "nothing", "--out", tmp_path / "x").failed("nothing: cannot open it")
    for name in ("x.tsv.gz", "x.po"):
        transduce("backtranslate", run, text, "--out", tmp_path / name).refused("pairs are written as plain .jsonl or")
    transduce("backtranslate", run, text, "--out", "").refused("'.': no name for what is written.")
    transduce("backtranslate", run, text, "--out", "-").refused("-: this does not go to standard output.")
    pairs = write_lines(tmp_path / "mono.tsv", ["the dog"])
    transduce("backtranslate", run, pairs, "--out", pairs).refused(f"--out {pairs}: this file is read, or is written")
    transduce("distil", run, "--out", run).refused(f"{run}: this is the teacher. Choose another --out.")
    student = ("distil", run, "--out", tmp_path / "student")
    transduce(*student, "--preset", "smal").refused("--preset smal: choose one of auto, tiny, ")
    transduce(*student, "--set", "training.max_step=5").refused("training.max_step: ")
    transduce(*student, "--minutes", -1).refused("training.minutes = -1.0: ")
    transduce("distil", run, "--out", tmp_path).failed("not empty, and not a run of transduce.")
    transduce("distil", run, "--out", text).failed(f"{text}: a file, not a run directory.")
    shutil.copytree(run, tmp_path / "another")
    transduce("distil", run, "--out", tmp_path / "another").refused("a run of other data, not of ")
    os.mkfifo(tmp_path / "pipe")
    for command in (
        ("backtranslate", run, tmp_path / "pipe", "--out", tmp_path / "x"),
        (*student, "--source", tmp_path / "pipe"),
    ):
        transduce(*command).refused("pipe: this is a pipe or a device, and data is read several times.")
    assert not list(tmp_path.glob("*.distilled"))


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()
