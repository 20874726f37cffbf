"""`transduce evaluate` and `transduce compare`."""

import json
import re
from pathlib import Path

import pytest
import sacrebleu

from tests.cli.conftest import Transduce
from tests.tiny import mirror, sentences, write_lines

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


def test_columns_of_a_pairs_file(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    rows = [(line.split()[0], mirror(line), line) for line in sentences(5, seed=6)]
    wide = write_lines(tmp_path / "wide.tsv", ["\t".join(row) for row in rows])
    narrow = write_lines(tmp_path / "narrow.tsv", [f"{line}\t{right}" for _, right, line in rows])
    found = transduce("evaluate", run, "--pairs", wide, "--columns", "3,2", "--metric", "chrf").out
    assert found == transduce("evaluate", run, "--pairs", narrow, "--metric", "chrf").out


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
        ("RUN --source SRC", TOGETHER),
        ("RUN --reference REF", TOGETHER),
        ("RUN --pairs REF --source SRC", "--pairs holds both sides"),
        ("RUN --source SRC --reference REF --columns 2,1", "--columns: there is no --pairs to take columns from."),
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
        ("REF REF --metric blue", "Did you mean 'bleu'?"),
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
