"""Settings for people without a recipe follow from the size and the kind of their data."""

from pathlib import Path
from typing import Any, get_args

import pytest

from tests.tiny import mirror, sentences, write_lines
from transduce.config import build_config, derive
from transduce.data.corpus import AlignedFiles, PairsFile
from transduce.errors import ConfigError, DataError
from transduce.presets import RATES, SIZES, Preset, fine_tuning, languages, preset

pytestmark = pytest.mark.unit

PROSE = [f"word{i} likes word{i + 1} more than word{2 * i} does." for i in range(300)]


def pairs(path: Path, sources: list[str], targets: list[str]) -> PairsFile:
    write_lines(path, [f"{s}\t{t}" for s, t in zip(sources, targets, strict=True)])
    return PairsFile(pairs=path)


def built(files: PairsFile, name: str = "auto") -> Any:
    values = {"data": {"train": {"pairs": str(files.pairs)}}, **preset(name, files, 3.0)}
    return build_config(derive(values), "here")


def test_sentences_are_text_in_one_vocabulary_and_bleu(tmp_path: Path) -> None:
    config = built(pairs(tmp_path / "a.tsv", PROSE, PROSE[::-1]))
    assert (config.tokenizer.source, config.tokenizer.target, config.tokenizer.joint) == ("bpe", "bpe", True)
    assert config.model.share_embeddings == "all"
    assert config.evaluation.metric == "bleu"
    assert config.training.minutes == 3.0
    assert config.training.patience > 0


def test_a_dictionary_is_letters_and_phones_and_wer(tmp_path: Path) -> None:
    words = [f"w{i}x{i * 7}" for i in range(300)]
    config = built(pairs(tmp_path / "a.tsv", words, [" ".join(word.upper()) for word in words]))
    assert (config.tokenizer.source, config.tokenizer.target, config.tokenizer.joint) == ("characters", "words", False)
    assert config.model.share_embeddings == "target"
    assert config.evaluation.metric == "wer"


def test_a_small_closed_language_is_symbols(tmp_path: Path) -> None:
    sources = [line + " the dog" for line in sentences(100, 0)]
    config = built(pairs(tmp_path / "a.tsv", sources, [mirror(line) for line in sources]))
    assert (config.tokenizer.source, config.tokenizer.target) == ("words", "words")


@pytest.mark.parametrize("name", get_args(Preset))
def test_every_size_is_a_whole_recipe(tmp_path: Path, name: str) -> None:
    config = built(pairs(tmp_path / "a.tsv", PROSE, PROSE), name)
    size = SIZES["tiny" if name == "auto" else name]
    assert config.model.d_model == size["d_model"]
    assert config.model.d_k * config.model.n_heads == config.model.d_model


@pytest.mark.parametrize(
    ("name", "width", "expected"),
    [("auto", 32, "tiny"), ("auto", 512, "base"), ("auto", 9999, "big"), ("base", 1, "base")],
)
def test_fine_tuning_takes_a_fifth_of_the_rate_for_the_model_s_width(name: str, width: int, expected: str) -> None:
    peak, warmup, _ = RATES[expected]
    tuned = fine_tuning(name, width)
    assert tuned["learning_rate"] == pytest.approx(peak / 5)
    assert tuned["warmup"] < warmup


def test_tags_are_no_words(tmp_path: Path) -> None:
    words = [f">>de<< word{i}" for i in range(300)]
    assert built(pairs(tmp_path / "a.tsv", words, words)).tokenizer.source == "characters"


def test_unknown_sizes_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--preset huge: choose one of auto, tiny, small, base, big."):
        preset("huge", PairsFile(pairs=tmp_path / "a"), 3.0)
    with pytest.raises(DataError, match="a: cannot open it"):
        preset("auto", AlignedFiles(source=tmp_path / "a", target=tmp_path / "b"), 3.0)


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("a.en", "a.de", ("en", "de")),
        ("x/train.lc.en.gz", "x/train.lc.de.xz", ("en", "de")),
        ("a", "b", ("", "")),
        ("../some.where/a", "b.de", ("", "de")),
    ],
)
def test_languages_are_the_suffixes(source: str, target: str, expected: tuple[str, str]) -> None:
    assert languages(source, target) == expected
