"""`transduce prepare`: the report, the list of what is left out, and data that `train` goes on from."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Transduce
from tests.cli.test_train import QUICK, SMALL
from tests.disk import contents
from tests.tiny import WORDS, mirror, sentences, write_corpus, write_lines, write_recipe
from transduce import compose
from transduce.cli import preflight as display
from transduce.config import load_recipe
from transduce.data.cleaning import EVERY_RULE, RULES, CleaningConfig
from transduce.data.preflight import Preflight
from transduce.data.survey import survey

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "_curves", lambda run, step: None)  # TensorBoard takes longer than these runs
    monkeypatch.setattr("sys.argv", ["transduce", "prepare", "--fresh", "my data"])


def files(folder: Path) -> list[object]:
    """Two files, with an empty target in line 3 and a copy of the first pair in line 102."""
    lines = [*sentences(100, 0), "dog", sentences(100, 0)[0]]
    targets = [mirror(line) for line in lines]
    targets[2] = ""
    source, target = write_lines(folder / "a.aa", lines), write_lines(folder / "a.bb", targets)
    dev = write_lines(folder / "d.aa", ["cat " * 5]), write_lines(folder / "d.bb", ["TAC " * 5])
    return ["--source", source, "--target", target, "--dev-source", dev[0], "--dev-target", dev[1]]


def test_train_goes_on_from_prepared_data(transduce: Transduce, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    options = (write_recipe(tmp_path), *QUICK)
    said = transduce("prepare", *options, "--out", tmp_path / "run")
    assert said.status == 0, said.err
    assert said.out == ""
    assert said.err.splitlines()[-2:] == [
        f"{tmp_path / 'run' / 'data'} is ready. To train on it:",
        "  transduce train 'my data'",
    ]
    data = _without_the_plan(contents(tmp_path / "run" / "data"))
    trained = transduce("train", *options, "--out", tmp_path / "run")
    assert transduce("train", *options, "--out", tmp_path / "straight").status == 0
    assert trained.status == 0, trained.err
    assert "tokenising" not in trained.err
    assert all(_without_the_plan(contents(tmp_path / run / "data")) == data for run in ("run", "straight"))
    assert contents(tmp_path / "run" / "model") == contents(tmp_path / "straight" / "model")


def _without_the_plan(data: dict[str, bytes]) -> dict[str, bytes]:
    """The clock has a say in it."""
    report = json.loads(data["preflight.json"])
    del report["plan"]
    return data | {"preflight.json": json.dumps(report).encode()}


def test_the_report_is_printed_and_saved(transduce: Transduce, tmp_path: Path) -> None:
    options = (*files(tmp_path), *SMALL, "--out", tmp_path / "run", "--json")
    said = transduce("prepare", *options)
    assert said.status == 0, said.err
    report = json.loads(said.out)
    assert report == json.loads((tmp_path / "run" / "data" / "preflight.json").read_text(encoding="utf-8"))
    copies = report["survey"]["duplicates"]
    assert (report["survey"]["pairs"], report["survey"]["empty"]) == (102, 1)
    assert report["left_out"] == dict.fromkeys(RULES, 0) | {"empty": 1, "duplicate": copies}
    assert f"left out of training: {copies} duplicate (a copy of an earlier pair)" in said.err
    assert "102 pairs, before training" in said.err
    plan = report["plan"]
    assert (plan["pairs"], plan["source_pieces"], plan["timing"]["measured"]) == (101 - copies, 20 + len(WORDS), False)
    assert plan["seconds"] > 0
    assert plan["memory"] > 10**8
    assert plan["refused"]["ctranslate2"] == []
    for row in ("vocabulary", "model", "training", "time", "memory", "exports"):
        assert f"\n{row} " in said.err
    assert "predicted" in said.err
    before = contents(tmp_path / "run")
    again = transduce("prepare", *options)
    assert (again.status, again.out) == (0, said.out)
    assert "was ready already" in again.err
    assert contents(tmp_path / "run") == before


def test_without_a_recipe_every_rule_is_on_and_can_be_switched_off(transduce: Transduce, tmp_path: Path) -> None:
    given = files(tmp_path)
    assert transduce("prepare", *given, *SMALL, "--out", tmp_path / "all").status == 0
    assert load_recipe(tmp_path / "all" / "recipe.toml").cleaning == EVERY_RULE
    off = ("--set", "cleaning.duplicate=false", "--set", "cleaning.ratio=false")
    said = transduce("prepare", *given, *SMALL, *off, "--out", tmp_path / "some")
    assert "rules that are off: ratio, duplicate" in said.err
    manifests = [
        json.loads((tmp_path / name / "data" / "manifest.json").read_text(encoding="utf-8"))["train"]
        for name in ("all", "some")
    ]
    assert [manifest["kept"] + manifest["duplicate"] for manifest in manifests] == [101, 101]
    assert [manifest["duplicate"] > 0 for manifest in manifests] == [True, False]


def test_a_recipe_has_its_own_rules_and_none_unless_it_says_so(transduce: Transduce, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    recipe = write_recipe(tmp_path)
    assert transduce("prepare", recipe, "--out", tmp_path / "a").status == 0
    said = transduce("prepare", recipe, "--set", "cleaning.in_dev=true", "--out", tmp_path / "b")
    assert load_recipe(tmp_path / "a" / "recipe.toml").cleaning == CleaningConfig()
    assert load_recipe(tmp_path / "b" / "recipe.toml").cleaning == CleaningConfig(in_dev=True)
    assert "left out of training: " in said.err
    assert " in_dev (a pair of the dev or test set)" in said.err


def test_the_list_of_what_is_left_out(transduce: Transduce, tmp_path: Path) -> None:
    given, run = files(tmp_path), tmp_path / "run"
    said = transduce("prepare", *given, *SMALL, *QUICK, "--out", run, "--list-dropped", tmp_path / "dropped.tsv")
    assert said.status == 0, said.err
    dropped = (tmp_path / "dropped.tsv").read_text(encoding="utf-8")
    assert dropped == (run / "data" / "dropped.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in dropped.splitlines()]
    assert ["3", "empty", sentences(100, 0)[2], ""] in rows
    assert rows[-1][:2] == ["102", "duplicate"]
    said = transduce("train", *given, *SMALL, *QUICK, "--out", run, "--list-dropped", tmp_path / "again.tsv")
    assert said.status == 0, said.err
    assert (tmp_path / "again.tsv").read_text(encoding="utf-8") == dropped


def test_data_that_is_prepared_takes_other_limits(transduce: Transduce, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    options = (write_recipe(tmp_path), "--out", tmp_path / "run", "--set")
    assert transduce("prepare", *options, "training.max_steps=9").status == 0
    said = transduce("prepare", *options, "training.max_steps=7")
    assert "7 updates" in said.err
    assert "max_steps = 7" in (tmp_path / "run" / "recipe.toml").read_text()
    assert "updates" not in transduce("prepare", *options, "training.max_steps=7").err


def test_lists_and_reports_that_cannot_be(transduce: Transduce, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    options = (write_recipe(tmp_path), "--out", tmp_path / "run", "--list-dropped")
    transduce("prepare", *options, tmp_path / "no" / "such" / "folder").refused("no/such is no folder. Make it first")
    assert not (tmp_path / "run").exists()
    assert transduce("prepare", *options, tmp_path / "dropped.tsv").status == 0
    for name in ("dropped.tsv", "preflight.json"):  # an earlier version made neither
        (tmp_path / "run" / "data" / name).unlink()
    transduce("prepare", *options, tmp_path / "list.tsv").refused("data/dropped.tsv: not there", "with --fresh.")
    assert not (tmp_path / "list.tsv").exists()
    transduce("prepare", *options[:-1], "--json").refused("data/preflight.json: not there", "with --fresh.")
    (tmp_path / "run" / "data" / "preflight.json").write_text("{", encoding="utf-8")
    transduce("prepare", *options[:-1], "--json").refused("data/preflight.json: broken (", "with --fresh.")


def test_what_is_read_is_not_written_over(transduce: Transduce, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    before = contents(tmp_path)
    options = ("--source", tmp_path / "train.aa", "--target", tmp_path / "train.bb", "--out", tmp_path / "run")
    said = transduce("prepare", *options, "--list-dropped", tmp_path / "sub" / ".." / "train.aa")
    said.refused("is no folder")
    transduce("prepare", *options, "--list-dropped", tmp_path / "train.aa").refused("the data is read from this file")
    transduce("prepare", *options, "--list-dropped", "-", "--json").refused("both go to standard output")
    assert contents(tmp_path) == before
    said = transduce("prepare", *options, "--list-dropped", "-")
    assert said.out == (tmp_path / "run" / "data" / "dropped.tsv").read_text(encoding="utf-8")
    assert said.out.startswith("line\t")


def test_what_cannot_be_scored_is_known_before_anything_is_read(
    transduce: Transduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path)
    monkeypatch.setitem(sys.modules, "MeCab", None)
    options = (write_recipe(tmp_path), "--out", tmp_path / "run")
    told = ("--set", "evaluation.metric=bleu", "--set", "evaluation.tokenize=ja-mecab")
    transduce("train", *options, *told).refused("tokenize = 'ja-mecab'")
    assert not (tmp_path / "run").exists()


def test_a_pipe_is_refused(transduce: Transduce, tmp_path: Path) -> None:
    read, write = os.pipe()
    try:
        os.write(write, b"the dog\tgod eht\n" * 30)
        os.close(write)
        said = transduce("prepare", "--pairs", f"/dev/fd/{read}", "--out", tmp_path / "run")
        said.refused("this is a pipe or a device, and data is read several times")
    finally:
        os.close(read)


def test_an_unknown_tag_is_named_with_its_pair(transduce: Transduce, tmp_path: Path) -> None:
    given = files(tmp_path)
    lines = (tmp_path / "a.aa").read_text().splitlines()
    write_lines(tmp_path / "a.aa", [*lines[:49], f">>fr<< {lines[49]}", *lines[50:]])
    said = transduce("prepare", *given, "--set", "data.tags=['de']", "--out", tmp_path / "run")
    assert said.status == 2
    assert "Training pair 50 begins with the tag >>fr<<, but the tags of this model are >>de<<." in said.err
    assert not (tmp_path / "run" / "data").exists()


def test_a_run_of_other_data_is_refused(transduce: Transduce, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    recipe, run = write_recipe(tmp_path), tmp_path / "run"
    assert transduce("prepare", recipe, "--out", run).status == 0
    before = contents(run)
    said = transduce("prepare", recipe, "--set", "cleaning.ratio=true", "--out", run)
    said.refused("this run was begun with cleaning.ratio = False, now it is True. Use another --out, the old value")
    write_lines(tmp_path / "train.aa", ["other text"] * 300)
    transduce("prepare", recipe, "--out", run).refused("train.aa: changed since this run was started")
    assert contents(run) == before
    assert transduce("prepare", recipe, "--out", run, "--fresh").status == 0
    assert contents(run) != before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "Give a recipe, or --source and --target, or --pairs."),
        ("RECIPE --pairs RECIPE", "--pairs and a recipe: the recipe says that itself."),
        ("RECIPE --set data.root=nothing", "cannot open it (No such file or directory). Check the path."),
        ("scan_simple --set data.root=no", "To download the public original: transduce fetch scan_simple"),
        ("RECIPE --set cleaning.copies=true", "cleaning.copies: no such field. Did you mean `copied`?"),
        ("RECIPE --set cleaning.ratio=3", "cleaning.ratio = 3: Input should be a valid boolean."),
    ],
)
def test_what_cannot_be_prepared_leaves_nothing(
    transduce: Transduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path)
    recipe = write_recipe(tmp_path)
    before = contents(tmp_path)
    words = [recipe if word == "RECIPE" else word for word in options.split()]
    transduce("prepare", *words, "--out", "run").refused(message)
    assert contents(tmp_path) == before
    assert not Path("run").exists()


def test_what_is_shown_of_odd_data(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [("a\u200b", "B [bold]"), ("", "x"), ("я漢", "y")]
    report = Preflight(
        survey=survey(pairs, dev=pairs[:1], test=pairs),
        cleaning=CleaningConfig(),
        left_out={"empty": 1},
        kept=2,
        made=0,
        held_out=0,
        dev_pairs=1,
        dev_empty=3,
    )
    display.show(report)
    shown = capsys.readouterr().err
    for part in (
        "warning: 1 of 1 dev pairs are training pairs too.",
        "source: 1 lines with marks without a width, 0 with marks of the direction of writing",
        "dev: 3 pairs with an empty side are left out",
        "test: 1 of 3 pairs and 1 of 3 sources are in the dev set",
        "left out of training: 1 empty (a side without text)",
        "Cyrillic 33.3%",
    ):
        assert part in shown
