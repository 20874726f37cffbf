"""`transduce evaluate` and `transduce compare`."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import pytest
import sacrebleu

from tests.cli.conftest import Transduce
from tests.tiny import mirror, sentences, write_lines
from transduce.cli.testset import Lines
from transduce.decoding import Translator
from transduce.errors import DataError

pytestmark = pytest.mark.unit

RIGHT = [mirror(line) for line in sentences(20, seed=5)]
WORSE = [line if i % 3 else " ".join(reversed(line.split())) for i, line in enumerate(RIGHT)]
WORST = ["TAC"] * len(RIGHT)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Reference, a worse output, and the worst."""
    return (
        write_lines(tmp_path / "right.bb", RIGHT),
        write_lines(tmp_path / "worse.bb", WORSE),
        write_lines(tmp_path / "worst.bb", WORST),
    )


# ---- evaluate


def test_a_run_is_measured_on_its_own_test_set(transduce: Transduce, run: Path, corpus: Path) -> None:
    own = transduce("evaluate", run)
    assert own.status == 0
    assert own.out.startswith("accuracy ")
    files = ("--source", corpus / "test.aa", "--reference", corpus / "test.bb")
    assert transduce("evaluate", run, *files).out == own.out
    assert transduce("evaluate", run / "model", *files).out == own.out


def test_it_is_what_translating_and_comparing_give(
    transduce: Transduce, run: Path, corpus: Path, tmp_path: Path
) -> None:
    files = ("--source", corpus / "test.aa", "--reference", corpus / "test.bb")
    options = ("--metric", "bleu,chrf,ter,wer,per,accuracy", "--tokenize", "none", "--json")
    said = transduce("evaluate", run, *files, *options, "--output", tmp_path / "out.bb")
    assert said.err == ""
    scores = json.loads(said.out)
    assert list(scores) == ["bleu", "chrf", "ter", "wer", "per", "accuracy"]
    assert all(set(score) == {"score", "signature"} for score in scores.values())
    assert scores["accuracy"]["score"] == pytest.approx(100 - scores["wer"]["score"])

    outputs = (tmp_path / "out.bb").read_text().splitlines()
    assert outputs == transduce("translate", run, "--input", corpus / "test.aa").out.splitlines()
    again = transduce("evaluate", "--hypothesis", tmp_path / "out.bb", *files, *options)
    assert json.loads(again.out) == scores


def test_scores_of_a_file_are_sacrebleu_s(transduce: Transduce, files: tuple[Path, Path, Path]) -> None:
    right, worse, _ = files
    said = transduce("evaluate", "--hypothesis", worse, "--reference", right, "--json", "--tokenize", "none")
    expected = sacrebleu.corpus_bleu(WORSE, [RIGHT], tokenize="none", force=True)
    assert json.loads(said.out)["bleu"]["score"] == pytest.approx(expected.score)
    assert "tok:none" in json.loads(said.out)["bleu"]["signature"]


def test_people_get_a_line_a_metric_with_its_signature(transduce: Transduce, files: tuple[Path, Path, Path]) -> None:
    right, worse, _ = files
    lines = transduce("evaluate", "--hypothesis", worse, "--reference", right, "--metric", "bleu, wer").out.splitlines()
    assert re.fullmatch(r"bleu +\d+\.\d\d   nrefs:1\|.*tok:13a.*", lines[0])
    assert lines[1].startswith("wer ")
    assert len(lines) == 2


def test_lines_with_the_same_source_are_several_references(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "s.aa", ["dog", "cat", "dog"])
    outputs = write_lines(tmp_path / "h.bb", ["X", "TAC", "X"])
    right = write_lines(tmp_path / "r.bb", ["GOD", "TAC", "X"])
    options = ("--hypothesis", outputs, "--reference", right, "--metric", "accuracy", "--json")
    assert json.loads(transduce("evaluate", *options).out)["accuracy"]["score"] == pytest.approx(200 / 3)
    assert json.loads(transduce("evaluate", *options, "--source", source).out)["accuracy"]["score"] == 100

    pairs = write_lines(tmp_path / "p.tsv", ["dog\tGOD", "dog\tX"])
    said = transduce("evaluate", run, "--pairs", pairs, "--output", tmp_path / "out.bb")
    assert said.status == 0
    written = (tmp_path / "out.bb").read_text().splitlines()
    assert len(written) == 2  # as many as lines came in, so that they fit the references
    assert written[0] == written[1]


def test_outputs_for_the_same_source_have_to_be_the_same_but_by_line(transduce: Transduce, tmp_path: Path) -> None:
    lines = Lines(tmp_path / "r.bb", ["dog", "cat", "dog"], ["GOD", "TAC", "X"])
    assert lines.read_outputs(write_lines(tmp_path / "h.bb", ["first", "TAC", "first"])) == ["first", "TAC"]
    outputs = write_lines(tmp_path / "h.bb", ["GOD", "TAC", "second"])
    with pytest.raises(DataError, match=r"h\.bb: lines 1 and 3 have the same source and different outputs"):
        lines.read_outputs(outputs)
    right = write_lines(tmp_path / "r.bb", ["GOD", "TAC", "X"])
    source = write_lines(tmp_path / "s.aa", ["dog", "cat", "dog"])
    given = ("--hypothesis", outputs, "--source", source, "--reference", right, "--metric", "accuracy", "--json")
    transduce("evaluate", *given).refused("lines 1 and 3")
    assert json.loads(transduce("evaluate", *given, "--by-line").out)["accuracy"]["score"] == pytest.approx(200 / 3)


def test_a_recipe_may_score_by_line(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    """As SIGMORPHON's scorer: of two forms of one input at most one can be right."""
    other = shutil.copytree(run, tmp_path / "run")
    write_lines(tmp_path / "twice.tsv", ["dog\tGOD", "dog\tX", "dog\tY"])
    recipe = (other / "recipe.toml").read_text()
    test = "[data.test]\npairs = " + json.dumps(str(tmp_path / "twice.tsv"))
    recipe = re.sub(r"\[data\.test\]\n(?:\w.*\n)+", test + "\n", recipe)
    recipe = recipe.replace("by_line = false", "by_line = true")
    (other / "recipe.toml").write_text(recipe)
    by_line = transduce("evaluate", other, "--output", tmp_path / "out.bb", "--json")
    assert by_line.status == 0, by_line.err
    assert "nrefs:1|" in by_line.out
    assert len(set((tmp_path / "out.bb").read_text().splitlines())) == 1
    (other / "recipe.toml").write_text(recipe.replace("by_line = true", "by_line = false"))
    assert "nrefs:3|" in transduce("evaluate", other, "--json").out
    config = json.loads((other / "model" / "config.json").read_text())
    assert config["by_line"] is False
    (other / "model" / "config.json").write_text(json.dumps(config | {"by_line": True}))
    given = ("--pairs", tmp_path / "twice.tsv", "--json")  # a model that has left its run knows it too
    for model in (other, other / "model"):
        assert "nrefs:1|" in transduce("evaluate", model, *given).out
    assert "nrefs:3|" in transduce("evaluate", other / "model", *given, "--no-by-line").out


@pytest.mark.parametrize("options", [(), ("--by-line",)])
def test_pairs_with_an_empty_side_are_no_inputs(
    transduce: Transduce, run: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """As in training: an empty output for an empty line would be right."""
    rows = [f"{line}\t{mirror(line)}" for line in sentences(5, seed=6)]
    holes = write_lines(tmp_path / "holes.tsv", [*rows[:2], "\t", rows[2], "\tX", "x\t", *rows[3:], "\t"])
    whole = write_lines(tmp_path / "whole.tsv", rows)
    given = ("--metric", "accuracy,bleu", "--json", *options)
    said = transduce("evaluate", run, "--pairs", holes, *given, "--output", tmp_path / "out.bb")
    assert "4 pairs with an empty side are left out" in said.err
    assert said.out == transduce("evaluate", run, "--pairs", whole, *given).out
    outputs = (tmp_path / "out.bb").read_text().split("\n")
    assert [i for i, line in enumerate(outputs[:-1]) if not line] == [2, 4, 5, 8]
    sides = [line.split("\t") for line in holes.read_text().split("\n")[:-1]]
    source = write_lines(tmp_path / "s", [s for s, _ in sides])
    right = write_lines(tmp_path / "r", [t for _, t in sides])
    files = ("--hypothesis", tmp_path / "out.bb", "--source", source, "--reference", right, "--tokenize", "none")
    assert (
        transduce("evaluate", *files, *given).out
        == transduce("evaluate", run, "--pairs", whole, "--tokenize", "none", *given).out
    )
    transduce("evaluate", run, "--pairs", write_lines(tmp_path / "none.tsv", ["\t", "x\t"])).refused(
        "no pair with text"
    )


def test_a_run_s_own_columns_are_those_of_its_test_sets(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "run")
    rows = [f"{mirror(line)}\t{line}" for line in sentences(5, seed=6)]
    turned, lines = write_lines(tmp_path / "turned.tsv", rows), write_lines(tmp_path / "lines.txt", rows)
    recipe = (other / "recipe.toml").read_text()
    train = "[data.train]\npairs = " + json.dumps(str(turned)) + "\n"
    recipe = re.sub(r"\[data\.train\]\n(?:\w.*\n)+", train, recipe)
    (other / "recipe.toml").write_text(re.sub(r"columns = \[[^\]]*\]", "columns = [2, 1]", recipe, count=1))
    found = transduce("evaluate", other, "--pairs", turned, "--json")
    assert found.status == 0, found.err
    assert found.out == transduce("evaluate", run, "--pairs", lines, "--columns", "2,1", "--json").out
    assert found.out != transduce("evaluate", other, "--pairs", turned, "--columns", "1,2", "--json").out


def test_outputs_come_from_standard_input(transduce: Transduce, files: tuple[Path, Path, Path]) -> None:
    right, worse, _ = files
    piped = transduce("evaluate", "--hypothesis", "-", "--reference", right, stdin=worse.read_text())
    assert piped.out == transduce("evaluate", "--hypothesis", worse, "--reference", right).out


def test_columns_of_a_pairs_file(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    rows = [(line.split()[0], mirror(line), line) for line in sentences(5, seed=6)]
    wide = write_lines(tmp_path / "wide.tsv", ["\t".join(row) for row in rows])
    narrow = write_lines(tmp_path / "narrow.tsv", [f"{line}\t{right}" for _, right, line in rows])
    found = transduce("evaluate", run, "--pairs", wide, "--columns", "3,2", "--metric", "chrf").out
    assert found == transduce("evaluate", run, "--pairs", narrow, "--metric", "chrf").out


def test_references_are_brought_into_the_model_s_normal_form(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(run / "model", tmp_path / "model")
    config = json.loads((bundle / "config.json").read_text())
    (bundle / "config.json").write_text(json.dumps(config | {"normalise": "nfkc"}))
    source = write_lines(tmp_path / "s.aa", ["dog", "cat"])
    outputs = transduce("translate", bundle, "--input", source).out.splitlines()
    wide = ["".join(chr(ord(c) + 0xFEE0) if c.isupper() else c for c in line) for line in outputs]  # full width
    assert wide != outputs
    right = write_lines(tmp_path / "r.bb", wide)
    pairs = write_lines(tmp_path / "p.tsv", [f"{s}\t{t}" for s, t in zip(["dog", "cat"], wide, strict=True)])
    for given in (("--source", source, "--reference", right), ("--pairs", pairs)):
        found = transduce("evaluate", bundle, *given, "--metric", "accuracy", "--json")
        assert json.loads(found.out)["accuracy"]["score"] == 100
    said = transduce("evaluate", bundle, "--pairs", pairs, "--against", right, "--metric", "accuracy", "--json")
    assert json.loads(said.out)["accuracy"]["against"]["b"]["score"] == 100


BUNDLE_OR_FILES = "Give a BUNDLE, or --hypothesis and --reference (and then no BUNDLE)."
TOGETHER = "--source and --reference belong together: one of them is missing."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", BUNDLE_OR_FILES),
        ("--reference REF", BUNDLE_OR_FILES),
        ("--hypothesis REF", BUNDLE_OR_FILES),
        ("RUN --hypothesis REF --reference REF", BUNDLE_OR_FILES),
        ("--hypothesis REF --reference REF --beam 2", "--beam and --hypothesis: the outputs are there already."),
        ("--hypothesis REF --reference REF --engine auto", "--engine and --hypothesis: the outputs are there already."),
        ("--hypothesis REF --reference REF --against REF --precision int8", "--precision and --hypothesis: "),
        ("RUN --source SRC", TOGETHER),
        ("RUN --reference REF", TOGETHER),
        ("RUN --pairs REF --source SRC", "--pairs holds both sides"),
        ("RUN --source SRC --reference REF --columns 2,1", "--columns: there is no --pairs to take columns from."),
        ("RUN --output -", "--output -: the scores go to standard output. Name a file for the outputs."),
        ("RUN --report -", "-: this does not go to standard output. Name a file."),
        ("RUN --source SRC --reference REF --output SRC", "this file is read, or is written too. Give another name."),
        ("RUN --source SRC --reference REF --report REF", "this file is read, or is written too. Give another name."),
        ("RUN --output x.html --report x.html", "--output x.html: this file is read, or is written too."),
        (
            "RUN --grid beam=1 --precision int8",
            "--precision and --grid: it measures many searches of its own",
        ),
        ("RUN --metric blue", "metric 'blue': no such metric. Did you mean 'bleu'?"),
        ("RUN --metric ,", "--metric ',': name at least one"),
        ("RUN --metric bleu --tokenize 14a", "tokenize = '14a'"),
        ("RUN --beam 0", "beam = 0"),
        ("RUN --pairs REF --columns one,two", "names are for JSON lines; here they are numbers."),
        ("RUN --pairs REF --columns 1", "--columns 1: write source,target, for instance"),
        ("RUN --pairs REF --columns 0,1", "the first column is number 1"),
        ("RUN --pairs REF", "right.bb:1: 1 tab-separated columns, but column 2 is needed"),
        ("RUN/model", "a model without a recipe. Give a test set: --source and --reference, or --pairs."),
        ("nowhere", "nowhere: no such folder."),
        ("RUN --report nowhere/x.html", "nowhere/x.html: nowhere is no folder. Make it first"),
        ("RUN --output nowhere/x.bb", "nowhere/x.bb: nowhere is no folder."),
        ("RUN --against nowhere", "nowhere: no such folder."),
        ("RUN --against SHORT", "short.aa has 1 lines, "),
        ("RUN alpha=1", "alpha=1: it is for --grid, for instance --grid beam=1,2,4 alpha=0,0.6,1."),
        ("RUN --grid beam=1 --metric bleu,wer", "--metric bleu,wer and --grid: one metric has to choose."),
        ("RUN RUN --grid beam=1", "one BUNDLE is enough; a comma between several"),
        ("RUN --grid beam=1 beam=2", "--grid beam=2: beam is there already. Write all of its values in one"),
        ("RUN --grid beam", "--grid beam: write beam=... and alpha=..., for instance --grid beam=1,2,4"),
        ("RUN --grid temperature=1", "--grid temperature=1: write beam=... and alpha=..."),
        ("RUN --grid beam=1,x", "--grid beam=1,x: numbers between commas"),
        ("RUN --grid beam=1.5", "--grid beam=1.5: numbers between commas"),
        ("RUN --grid beam=1,0", "beam = 0: must be at least 1"),
        ("RUN --grid alpha=0,11", "alpha = 11.0"),
        ("RUN --grid beam=1 --alpha 1", "--alpha and --grid: it measures many searches"),
        ("RUN --grid beam=1 --report x.html", "--report and --grid: it measures many searches"),
        ("RUN/model --grid beam=1", "a model without its run. Give a dev set"),
        ("--hypothesis REF --reference REF --grid beam=1", "--grid and --hypothesis: the outputs are there"),
        ("--hypothesis REF --reference REF --against SHORT", "short.aa has 1 lines, "),
        ("RUN --source nothing --reference REF", "nothing: cannot open it (No such file or directory)."),
        ("RUN --source SHORT --reference REF", "short.aa has 1 lines, "),
        ("--hypothesis SHORT --reference REF", "short.aa has 1 lines, "),
        ("--hypothesis REF --reference REF --source SHORT", "short.aa has 1 lines, "),
    ],
)
def test_what_cannot_be_measured(
    transduce: Transduce, run: Path, tmp_path: Path, files: tuple[Path, Path, Path], options: str, message: str
) -> None:
    short = write_lines(tmp_path / "short.aa", ["the dog"])
    names = {"RUN/model": run / "model", "RUN": run, "REF": files[0], "SRC": files[1], "SHORT": short}
    transduce("evaluate", *(names.get(word, word) for word in options.split())).refused(message)


def test_a_recipe_without_a_test_set(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    text = (run / "recipe.toml").read_text()
    for name in ("recipe.toml", "model"):
        (tmp_path / name).symlink_to(run / name)
    (tmp_path / "recipe.toml").unlink()
    (tmp_path / "recipe.toml").write_text(re.sub(r"\[data.test\]\n.*\n.*\n", "", text))
    transduce("evaluate", tmp_path).refused("its recipe names no test set. Give --source and --reference, or --pairs.")


# ---- evaluate --report, --against, --grid; ensembles


def test_a_report_says_how_many_training_pairs_were_made_from_others(
    transduce: Transduce, run: Path, tmp_path: Path
) -> None:
    copy, page = shutil.copytree(run, tmp_path / "run"), tmp_path / "report.html"
    manifest = copy / "data" / "manifest.json"
    values = json.loads(manifest.read_text())
    said = []
    for made in (0, 1234):
        values["train"]["made"] = made
        manifest.write_text(json.dumps(values))
        transduce("evaluate", copy, "--report", page)
        said.append(", of whose pairs 1,234 were made from others." in page.read_text())
    assert said == [False, True]


def test_a_report_of_a_run_knows_its_training_data(
    transduce: Transduce, run: Path, corpus: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    said = transduce("evaluate", run, "--report", page)
    assert said.out == transduce("evaluate", run).out
    assert "report.html: the report" in said.err
    assert "By rarity" in page.read_text()
    files = ("--source", corpus / "test.aa", "--reference", corpus / "test.bb", "--report", page, "--json")
    assert set(json.loads(transduce("evaluate", run / "model", *files).out)) == {"accuracy"}
    assert "By rarity" not in page.read_text()


def test_against_outputs_is_what_compare_says(transduce: Transduce, files: tuple[Path, Path, Path]) -> None:
    right, worse, worst = files
    options = ("--reference", right, "--metric", "bleu,accuracy")
    said = transduce("evaluate", "--hypothesis", worse, "--against", worst, *options)
    assert said.out == transduce("compare", worse, worst, *options).out
    found = json.loads(transduce("evaluate", "--hypothesis", worse, "--against", worst, *options, "--json").out)
    lines = transduce("compare", worse, worst, *options, "--json").out.splitlines()
    assert [found["bleu"]["against"], found["accuracy"]["against"]] == [json.loads(line) for line in lines]


def test_against_standard_input(transduce: Transduce, files: tuple[Path, Path, Path]) -> None:
    right, worse, worst = files
    options = ("--hypothesis", worse, "--reference", right, "--metric", "bleu")
    said = transduce("evaluate", *options, "--against", "-", stdin=worst.read_text(encoding="utf-8"))
    assert said.out.splitlines()[1:] == transduce("evaluate", *options, "--against", worst).out.splitlines()[1:]


def test_against_a_model(transduce: Transduce, run: Path, corpus: Path, tmp_path: Path) -> None:
    outputs, page = tmp_path / "out.bb", tmp_path / "page.html"
    transduce("evaluate", run, "--output", outputs)
    by_model = transduce("evaluate", run, "--against", run / "model", "--report", page)
    assert by_model.out == transduce("evaluate", run, "--against", outputs).out
    assert re.search(r"B - A +\+0\.00", by_model.out)
    assert "B is better on 0 inputs" in page.read_text()
    files = ("--hypothesis", outputs, "--reference", corpus / "test.bb")
    transduce("evaluate", *files, "--against", run).refused("a model needs inputs. Give --source")
    for searching in ((), ("--beam", "2", "--alpha", "1")):
        said = transduce("evaluate", *files, "--source", corpus / "test.aa", "--against", run, *searching)
        assert said.status == 0


def test_scores_are_printed_before_outputs_are_written(
    transduce: Transduce, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, kind: str) -> TextIO:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transduce.cli.files._opened", denied)
    said = transduce("evaluate", run, "--output", tmp_path / "out.bb", "--json")
    assert said.status == 1
    assert "accuracy" in json.loads(said.out)


def test_a_grid_is_what_each_search_gives(transduce: Transduce, run: Path, corpus: Path) -> None:
    options = ("--metric", "chrf", "--precision", "fp32", "--json")
    files = ("--source", corpus / "dev.aa", "--reference", corpus / "dev.bb", *options)
    found = json.loads(transduce("evaluate", run, "--grid", "beam=1,3", "alpha=0,2", *options).out)
    assert [(cell["beam"], cell["alpha"]) for cell in found["grid"]] == [(1, 0.0), (1, 2.0), (3, 0.0), (3, 2.0)]
    for cell in (found["grid"][0], found["grid"][-1]):
        search = ("--beam", cell["beam"], "--alpha", cell["alpha"])
        alone = json.loads(transduce("evaluate", run, *files, *search).out)["chrf"]
        assert cell["score"] == pytest.approx(alone["score"])
        assert found["signature"] == alone["signature"]
    assert found["best"]["score"] == max(cell["score"] for cell in found["grid"])
    assert found["inputs"] == len(set((corpus / "dev.aa").read_text().splitlines()))


@pytest.mark.parametrize(("metric", "best"), [("wer", 0.0), ("accuracy", 100.0)])
def test_of_error_rates_a_grid_takes_the_lowest(
    transduce: Transduce, run: Path, monkeypatch: pytest.MonkeyPatch, metric: str, best: float
) -> None:
    def search(self: Translator, texts: list[str], alphas: list[float], **options: object) -> list[list[str]]:
        return [[mirror(text) if alpha == 1 else "wrong" for text in texts] for alpha in alphas]

    monkeypatch.setattr(Translator, "translate_alphas", search)
    found = json.loads(transduce("evaluate", run, "--grid", "alpha=0,1,2", "--metric", metric, "--json").out)
    assert (found["best"]["alpha"], found["best"]["score"]) == (1, best)


def test_a_grid_has_its_own_engine(transduce: Transduce, run: Path) -> None:
    transduce("evaluate", run, "--grid", "beam=1", "--engine", "auto").refused("--engine and --grid: it measures many")


def test_a_grid_for_people_marks_the_best(transduce: Transduce, run: Path, corpus: Path) -> None:
    files = ("--source", corpus / "test.aa", "--reference", corpus / "test.bb")
    said = transduce("evaluate", "--grid", "beam=1,4", *files, "--grid", "alpha=0.6", run)
    assert said.out.count("*") == 1
    assert [line.split()[:2] for line in said.out.splitlines()[1:3]] == [["beam", "1"], ["beam", "4"]]
    assert re.search(r"best: --beam \d --alpha 0.6, \d+.\d\d; .* with its own, beam 4 and alpha 0.6", said.err)


def test_an_ensemble_of_a_model_with_itself_is_that_model(transduce: Transduce, run: Path) -> None:
    twice = f"{run},{run / 'model'}"
    assert transduce("evaluate", twice).out == transduce("evaluate", run).out
    assert transduce("translate", twice, "the dog").out == transduce("translate", run, "the dog").out
    assert json.loads(transduce("evaluate", twice, "--grid", "beam=2", "--json").out)["best"]["beam"] == 2


def test_models_that_cannot_vote(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    import torch

    from transduce.bundle import load_bundle, save_bundle, unique_weights

    found = load_bundle(run, torch.device("cpu"))
    other = replace(found.config, normalise="nfc")
    save_bundle(tmp_path / "other", other, unique_weights(found.model), found.tokenizers, "")
    both = f"{run},{tmp_path / 'other'}"
    transduce("evaluate", f"{run},nowhere").refused("nowhere: no such folder.")
    transduce("evaluate", both).refused("other: not the vocabulary of", "each with a training.seed.")
    transduce("translate", both, "the dog").refused("so they cannot be an ensemble")
    transduce("translate", f"{run},{run}", "the dog", "--attention", tmp_path / "a.html").refused("--attention: of one")
    transduce("score", f"{run},{run}", "--source", run, "--target", run).refused(
        "score: this is for one model, and here are 2."
    )


# ---- compare


def test_the_better_system_wins(transduce: Transduce, files: tuple[Path, Path, Path]) -> None:
    right, worse, worst = files
    options = ("--reference", right, worst, worse, "--metric", "bleu,accuracy", "--samples", 200)
    people = transduce("compare", *options)
    assert (people.status, people.err) == (0, "")
    assert people.out.count("p = ") == 2
    first, second = (json.loads(line) for line in transduce("compare", *options, "--json").out.splitlines())
    assert (first["metric"], second["metric"]) == ("bleu", "accuracy")
    assert second["b"]["score"] > second["a"]["score"]
    assert second["wins_b"] == 1.0
    assert second["p_value"] < 0.05
    assert second["delta"]["low"] > 0


def test_a_system_is_no_better_than_itself(transduce: Transduce, files: tuple[Path, Path, Path]) -> None:
    right, worse, _ = files
    found = json.loads(transduce("compare", "--reference", right, worse, worse, "--samples", 50, "--json").out)
    assert found["delta"] == {"score": 0, "low": 0, "high": 0}
    assert found["wins_a"] == found["wins_b"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("REF SHORT", "short.bb has 1 lines, "),
        ("REF nothing", "nothing: cannot open it"),
        ("REF", "Missing argument 'HYP_B'"),
        ("REF REF --samples 0", "samples = 0: resampling needs at least one"),
        ("REF REF --seed -1", "seed = -1: must not be negative."),
        ("REF REF --metric bleu,blue", "Did you mean 'bleu'?"),
        ("REF REF --metric ,", "--metric ',': name at least one"),
        ("REF REF --tokenize 14a", "tokenize = '14a'"),
    ],
)
def test_what_cannot_be_compared(
    transduce: Transduce, tmp_path: Path, files: tuple[Path, Path, Path], options: str, message: str
) -> None:
    names = {"REF": files[0], "SHORT": write_lines(tmp_path / "short.bb", ["GOD"])}
    words = [names.get(word, word) for word in options.split()]
    transduce("compare", "--reference", files[0], *words).refused(message)
