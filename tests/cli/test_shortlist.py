"""`transduce shortlist` and `translate --shortlist`."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Transduce
from transduce.data.shortlist import FILE, Shortlist, load_shortlist
from transduce.decoding.translator import Translator
from transduce.errors import ConfigError
from transduce.text.tokenizer import TokenizerPair

pytestmark = pytest.mark.unit

LINES = "the dog runs\nthe green bird sees the cat\n\n"


@pytest.fixture
def model(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run / "model", tmp_path / "model"))


def test_it_travels_with_the_model(transduce: Transduce, run: Path, model: Path, tmp_path: Path) -> None:
    plain = transduce("translate", model, "--json", stdin=LINES)
    transduce("translate", model, "--shortlist", stdin=LINES).refused(f"{model / FILE}: this model has no shortlist.")
    said = transduce("shortlist", run, "--out", model, "--translations", 2, "--frequent", 1)
    assert (said.status, said.out) == (0, "")
    assert said.err.startswith(f"{model / FILE}: ")
    assert said.err.endswith("100.00% of the pieces of the development targets are on theirs\n")
    moved = model.rename(tmp_path / "moved")
    listed = transduce("translate", moved, "--shortlist", "--json", stdin=LINES)
    assert (listed.status, listed.err) == (0, "")
    answers = [[json.loads(line) for line in out.splitlines()] for out in (plain.out, listed.out)]
    assert [one["translation"] for one in answers[1]] == [one["translation"] for one in answers[0]]
    for one, other in zip(*answers, strict=True):  # the probability of what is not listed is shared out
        assert other["outputs"][0]["log_prob"] > one["outputs"][0]["log_prob"] or not one["source"]


@pytest.mark.parametrize("engine", ["auto", "ctranslate2"])
def test_ctranslate2_has_it_too(
    transduce: Transduce, run: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("transduce.interop.engines.has_amx", lambda: False)
    command = ("translate", model, "--shortlist", "--engine", engine)
    if engine == "ctranslate2":
        transduce(*command, stdin=LINES).refused(f"{model / FILE}: this model has no shortlist.")
    plain = transduce("translate", model, "--engine", engine, stdin=LINES)
    transduce("shortlist", run, "--out", model)
    listed = transduce(*command, stdin=LINES)
    assert (listed.status, listed.out, listed.err) == (0, plain.out, plain.err)
    transduce("shortlist", run, "--out", model, "--frequent", 1, "--translations", 1)
    assert transduce(*command, stdin=LINES).status == 0
    kept = [path.parent / "vmap.txt" for path in tmp_path.rglob("model.bin")]
    assert sorted(path.is_file() for path in kept) == [False, True, True]
    assert len({path.read_bytes() for path in kept if path.is_file()}) == 2


def test_a_list_that_is_replaced_while_the_model_is_converted(
    transduce: Transduce, run: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not kept under the name of the one before."""
    transduce("shortlist", run, "--out", model)

    def replaced(folder: Path, tokenizers: TokenizerPair) -> Shortlist:
        transduce("shortlist", run, "--out", model, "--frequent", 1)
        return load_shortlist(folder, tokenizers)

    monkeypatch.setattr("transduce.interop.ctranslate2.load_shortlist", replaced)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    said = transduce("translate", model, "the dog", "--shortlist", "--engine", "ctranslate2")
    said.refused(f"{model}: changed while it was converted for CTranslate2. Run the same command again.")
    assert not [*tmp_path.rglob("model.bin")]


def test_where_it_cannot_be_honoured(transduce: Transduce, run: Path, model: Path) -> None:
    transduce("shortlist", run, "--out", model)
    sampled = transduce("translate", model, "the dog", "--shortlist", "--sample")
    sampled.refused("--shortlist: it is for searching, and --sample draws. Leave one of them out.")
    transduce("translate", f"{model},{run}", "the dog", "--shortlist").refused("shortlist: it is for one Transformer")


def test_models_that_cannot_be_packed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transduce.decoding.translator.runs_packed", lambda model: False)
    with pytest.raises(ConfigError, match="shortlist: it is for one Transformer"):
        Translator.load(model, precision="fp32", shortlist=True)


def test_a_model_of_other_data(transduce: Transduce, run: Path, model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config["tokenizers"]["target"] = "0" * 64
    (model / "config.json").write_text(json.dumps(config))
    transduce("shortlist", run, "--out", model).refused(f"{model}: it has other pieces than the data of {run}.")


def test_a_model_without_its_pairs_is_told_from_its_run(transduce: Transduce, run: Path) -> None:
    transduce("shortlist", run / "model").refused("no training pairs here. Give the RUN that has them;")
