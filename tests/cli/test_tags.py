"""`--to TAG`: every command that reads sources puts the tag in front of them."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Transduce
from tests.tiny import mirror, sentences, write_lines

pytestmark = pytest.mark.unit


@pytest.fixture
def tagged(run: Path, tmp_path: Path) -> Path:
    """A model that knows the tags `aa` and `bb`. It has learned neither, so outputs are not what they are without."""
    bundle = shutil.copytree(run / "model", tmp_path / "model")
    config = json.loads((bundle / "config.json").read_text())
    (bundle / "config.json").write_text(json.dumps(config | {"tags": ["aa", "bb"]}))
    return bundle


def test_it_is_as_if_the_files_had_the_tag(transduce: Transduce, tagged: Path, tmp_path: Path) -> None:
    lines = sentences(20, seed=8)
    right = write_lines(tmp_path / "r.bb", [mirror(line) for line in lines])
    plain, written = write_lines(tmp_path / "s.aa", lines), [f">>bb<< {line}" for line in lines]
    source = write_lines(tmp_path / "s.tagged", written)
    pairs = write_lines(tmp_path / "p.tsv", [f"{s}\t{mirror(s)}" for s in lines])

    scores = [
        transduce("score", tagged, "--source", given, "--target", right, *to).out
        for given, to in ((plain, ("--to", "bb")), (source, ()), (plain, ()))
    ]
    assert scores[0] == scores[1] != scores[2]

    outputs = transduce("translate", tagged, "--input", source).out
    assert outputs == transduce("translate", tagged, "--input", plain, "--to", "bb").out
    assert outputs != transduce("translate", tagged, "--input", plain).out
    for given in (("--source", plain, "--reference", right), ("--pairs", pairs)):
        out = tmp_path / "out.bb"
        said = transduce("evaluate", tagged, *given, "--to", "bb", "--metric", "chrf", "--output", out)
        assert (said.status, out.read_text()) == (0, outputs)
    said = transduce(
        "evaluate", "--hypothesis", out, "--reference", right, "--source", plain, "--to", "bb", "--against", tagged,
        "--metric", "chrf", "--json",
    )  # fmt: skip
    found = json.loads(said.out)["chrf"]["against"]
    assert found["a"]["score"] == found["b"]["score"]

    made = tmp_path / "made.tsv"
    assert transduce("backtranslate", tagged, plain, "--to", "bb", "--out", made).status == 0
    assert made.read_text() == "".join(f"{o}\t{s}\n" for o, s in zip(outputs.splitlines(), lines, strict=True))
    again = transduce("backtranslate", tagged, plain, "--to", "aa", "--out", made)
    again.failed("begun with to = 'bb', now it is 'aa'")


def test_one_tag_is_enough(transduce: Transduce, tagged: Path, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "s.aa", ["the dog", ">>aa<< the dog", ">>fr<< the dog"])
    twice = "line {} begins with two tags, >>bb<< and >>aa<<. Leave one out."
    transduce("translate", tagged, ">>aa<< the dog", "--to", "bb").refused(twice.format(1))
    assert transduce("translate", tagged, ">>fr<< the dog", "--to", "bb").status == 0  # it is text then
    transduce("score", tagged, "--source", lines, "--target", lines, "--to", "bb").refused(twice.format(2))
    said = transduce("score", tagged, "--source", lines, "--target", lines)
    said.refused(
        f"{lines} and {lines}, line 3 begins with the tag >>fr<<, but the tags of this model are >>aa<<, >>bb<<."
    )


def test_what_has_no_such_tag(transduce: Transduce, run: Path, tagged: Path, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "s.aa", ["the dog"])
    unknown = "--to fr: the tags of this model are: aa, bb."
    given = ("--source", lines, "--reference", lines, "--to", "fr")
    transduce("evaluate", tagged, *given).refused(unknown)
    transduce("score", tagged, "--source", lines, "--target", lines, "--to", "fr").refused(unknown)
    transduce("backtranslate", tagged, lines, "--to", "fr", "--out", tmp_path / "x.tsv").refused(unknown)
    transduce("evaluate", run, "--to", "bb").refused(
        "--to bb: for --source or --pairs; a run's sources have their tags."
    )
    said = transduce("evaluate", "--hypothesis", lines, "--reference", lines, "--to", "bb")
    said.refused("--to and --hypothesis: the outputs are there already.")
