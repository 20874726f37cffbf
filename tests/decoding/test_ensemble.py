"""Ensembles: the mean of probabilities, by hand; an ensemble of one model is that model."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from transduce.bundle import BundleConfig, save_bundle, unique_weights
from transduce.data.collate import pad_rows
from transduce.decoding import DecodingConfig, Ensemble, Translator
from transduce.errors import ConfigError, DataError
from transduce.nn import Transformer, TransformerConfig, build
from transduce.text.pieces import IDS
from transduce.text.tokenizer import Tokenizer, TokenizerPair

pytestmark = pytest.mark.unit

SIZE = 11
SMALL = TransformerConfig(n_layers=1, d_model=16, d_ff=32, n_heads=2, d_k=8, d_v=8, share_embeddings="none")
SOURCE = pad_rows([[5, 6, 7, IDS.eos], [8, IDS.eos]])


def tiny(seed: int, size: int = SIZE, **changes: object) -> Transformer:
    torch.manual_seed(seed)
    built = build(replace(SMALL, **changes), size, size, IDS.pad)  # type: ignore[arg-type]
    assert built.output is not None
    built.output.weight.data *= 4
    return built.eval()


@torch.no_grad()
def test_a_step_is_the_mean_of_the_probabilities_of_unlike_models() -> None:
    models = [tiny(1), tiny(2, n_layers=2), tiny(3, d_ff=8)]
    both, alone = Ensemble(models), [m.start(SOURCE, 3) for m in models]
    state = both.start(SOURCE, 3)
    for piece in (IDS.bos, 5, 9):
        previous = torch.full((6,), piece)
        steps = [m.step(previous, before) for m, before in zip(models, alone, strict=True)]
        log_probs, state = both.step(previous, state)
        expected = torch.stack([logits.double().softmax(-1) for logits, _ in steps]).mean(0)
        torch.testing.assert_close(log_probs.double().exp(), expected, atol=1e-6, rtol=0)
        rows = torch.tensor([0, 0, 1, 5, 4, 4])
        state, alone = state.select(rows), [after.select(rows) for _, after in steps]


def test_models_of_other_sizes_cannot_vote() -> None:
    with pytest.raises(ConfigError, match=r"vocabularies of \[\(11, 11\), \(12, 12\)\] pieces"):
        Ensemble([tiny(1), tiny(1, size=12)])
    with pytest.raises(ConfigError, match="at least one"):
        Ensemble([])
    with pytest.raises(ConfigError, match="an empty list. Give at least one model"):
        Translator.load([])


def test_strings_through_an_ensemble() -> None:
    chosen = random.Random(0)
    lines = [" ".join(chosen.choices(["the", "dog", "cat", "runs", "sees", "big"], k=6)) + "." for _ in range(300)]
    tokenizer = Tokenizer.train(lines, "bpe", 300, pretokenised=False)
    pair, search = TokenizerPair(tokenizer, tokenizer), DecodingConfig(beam=3, extra_length=4)
    one, other = (tiny(seed, tokenizer.size) for seed in (1, 2))
    alone, twice, both = (Translator(m, pair, search) for m in (one, Ensemble([one, one]), Ensemble([one, other])))
    texts = lines[:4]
    for expected, found in zip(alone.translate_n_best(texts, 2), twice.translate_n_best(texts, 2), strict=True):
        assert [t.text for t in found] == [t.text for t in expected]
        assert [t.score for t in found] == pytest.approx([t.score for t in expected], abs=1e-5)
    assert both.translate(texts) != alone.translate(texts)
    for verb in (lambda: both.score(["a"], ["b"]), lambda: both.attention("a", "b")):
        with pytest.raises(ConfigError, match="this is for one model, and here are 2"):
            verb()


def test_the_shortest_learned_positions_decide() -> None:
    tokenizer = Tokenizer.train(["the dog runs"] * 3, "characters", 300, pretokenised=False)
    long, short = (tiny(1, tokenizer.size, positions="learned", max_positions=n) for n in (30, 9))
    warned: list[str] = []
    pair = TokenizerPair(tokenizer, tokenizer)
    Translator(Ensemble([long, short]), pair, DecodingConfig(beam=1)).translate(["the dog runs"], warn=warned.append)
    assert "this model takes 8 at once" in warned[0]


@pytest.mark.parametrize("lengths", [(30, 9), (9, 30)])
def test_of_two_bundles_the_shortest_length_decides(tmp_path: Path, lengths: tuple[int, int]) -> None:
    tokenizer = Tokenizer.train(["the dog runs"] * 3, "characters", 300, pretokenised=False)
    pair, size = TokenizerPair(tokenizer, tokenizer), tokenizer.size
    for length in lengths:
        config = BundleConfig(model=SMALL, source_size=size, target_size=size, max_length=length, extra_length=7)
        save_bundle(tmp_path / str(length), config, unique_weights(tiny(length, size)), pair, "")
    both = Translator.load([tmp_path / str(length) for length in lengths], device="cpu", precision="fp32", beam=1)
    warned: list[str] = []
    both.translate(["the dog runs"], warn=warned.append)
    assert "this model takes 9 at once" in warned[0]
    assert both.config.extra_length == 7
    with pytest.raises(DataError, match=r"a prefix of \d+ pieces, but this model writes 16"):
        both.translate(["dog"], prefixes=["the dog runs the dog"])
