"""Numbers, addresses and the like come out as they went in, whatever the model does with their placeholders."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from tests.decoding.test_translator import SHORT, model, no_warning, sentence, tiny, tokenizers
from transduce.data.collate import collate
from transduce.decoding import BeamConfig, DecodingConfig, Hypothesis, Translator, score_pairs
from transduce.decoding import translator as translator_module
from transduce.decoding.engines import PackedEngine
from transduce.errors import DataError
from transduce.nn import Transformer
from transduce.text.pieces import PLACEHOLDERS
from transduce.text.tokenizer import Tokenizer, TokenizerPair

__all__ = ["model", "tokenizers"]  # fixtures

pytestmark = pytest.mark.unit

TEXTS = [
    "the 3 dogs see 4,000.5 birds.",
    "https://a.b/c",
    sentence(4),
    "",
    "{name} sees {name}, AB-12.",
    sentence(30) + " 7",
]
THINGS = [["3", "4,000.5"], ["https://a.b/c"], [], [], ["{name}", "{name}", "AB-12"], ["7"]]


@dataclass(frozen=True)
class Asked:
    """One search: the pieces of sources and prefixes, and what was asked for."""

    sources: list[str]
    prefixes: list[str]
    n_best: int
    forbidden: set[int]


@dataclass
class Says:
    """An engine that answers with the same outputs, the first the best, and writes down what it was asked."""

    tokenizers: TokenizerPair
    outputs: list[str]
    asked: list[Asked] = field(default_factory=list)

    def search(
        self,
        sources: Sequence[Sequence[int]],
        limits: Sequence[int],
        *,
        config: BeamConfig,
        n_best: int,
        forbidden: Sequence[int],
        prefixes: Sequence[Sequence[int]] = (),
        usual: Sequence[int] = (),
    ) -> list[list[Hypothesis]]:
        read = ["".join(self.tokenizers.source.pieces(ids)) for ids in sources]
        begun = ["".join(self.tokenizers.target.pieces(ids)) for ids in prefixes]
        self.asked.append(Asked(read, begun, n_best, {*forbidden}))
        rows = [self.tokenizers.target.encode(text) for text in self.outputs[:n_best]]
        found = [Hypothesis(ids=tuple(ids), log_prob=-i - 1.0, score=-i - 1.0) for i, ids in enumerate(rows)]
        return [found for _ in sources]


@pytest.mark.parametrize("packed", [False, True])
def test_nothing_is_lost_and_nothing_made_up(model: Transformer, tokenizers: TokenizerPair, packed: bool) -> None:
    engine = PackedEngine(model, "fp32") if packed else None
    translator = Translator(model, tokenizers, SHORT, max_source_length=20, placeholders=True, engine=engine)
    warned: list[str] = []
    together = list(translator.translate_stream(TEXTS, n_best=2, warn=warned.append))
    assert len(warned) == 1  # the last line was cut, and its number is in one of the parts
    for outputs, things in zip(together, THINGS, strict=True):
        for output in outputs:
            assert all(output.text.count(thing) >= things.count(thing) for thing in things)
            assert "｟" not in output.text
    [by_alpha] = translator.translate_alphas(TEXTS, [SHORT.alpha], warn=warned.append)
    assert by_alpha == [outputs[0].text for outputs in together]
    drawn = translator.sample(TEXTS, torch.Generator().manual_seed(1), warn=warned.append)
    for text, sample, things in zip(by_alpha, drawn, THINGS, strict=True):
        assert all(thing in text and thing in sample.text for thing in things)


def test_without_them_the_model_reads_what_it_is_given(model: Transformer, tokenizers: TokenizerPair) -> None:
    engine = Says(tokenizers, ["a dog"])
    Translator(model, tokenizers, SHORT, engine=engine).translate(["dog 3 ｟0｠"])
    assert engine.asked[0].sources == ["▁dog▁<0x33>▁｟0｠"]
    assert engine.asked[0].forbidden.isdisjoint(tokenizers.target.piece_to_id(piece) for piece in PLACEHOLDERS)


def test_of_the_beam_the_best_that_has_every_one_is_taken(model: Transformer, tokenizers: TokenizerPair) -> None:
    engine = Says(tokenizers, ["a dog ｟0｠", "｟0｠ ｟1｠ dog ｟0｠", "the ｟1｠ dog ｟0｠", "｟0｠ dog ｟1｠"])
    config = DecodingConfig(beam=4)
    translator = Translator(model, tokenizers, config, placeholders=True, engine=engine)
    assert translator.translate(["3 dogs and 4", "dog"], warn=no_warning)[0] == "the 4 dog 3"
    [n_best] = translator.translate_n_best(["3 dogs and 4"], 3)
    assert [output.text for output in n_best] == ["the 4 dog 3", "3 dog 4", "a dog 3 4"]
    assert [output.log_prob for output in n_best] == [-3.0, -4.0, -1.0]
    without, having = engine.asked[:2]
    assert (without.n_best, having.n_best) == (1, 4)
    ids = {tokenizers.target.piece_to_id(piece) for piece in PLACEHOLDERS}
    assert ids <= without.forbidden
    assert ids.isdisjoint(having.forbidden)


def test_where_none_has_the_one_with_the_fewest_faults_is_put_right(
    model: Transformer, tokenizers: TokenizerPair
) -> None:
    engine = Says(tokenizers, ["a dog", "a ｟0｠ dog", "｟5｠ a ｟0｠ dog"])
    translator = Translator(model, tokenizers, SHORT, placeholders=True, engine=engine)
    assert translator.translate(["3 dogs and 4"]) == ["a 3 dog 4"]


def test_a_text_that_an_output_keeps_whole_is_whole(model: Transformer, tokenizers: TokenizerPair) -> None:
    engine = Says(tokenizers, ["a dog", "a dog ｟0｠", "a ｟0｠ dog"])
    translator = Translator(model, tokenizers, DecodingConfig(beam=3), placeholders=True, engine=engine)
    [outputs] = translator.translate_n_best(["3 dogs"], 3)
    assert [(output.text, output.score) for output in outputs] == [("a dog 3", -1.0), ("a 3 dog", -3.0)]


@pytest.mark.parametrize("name", ["sample", "diverse_beam_search", "beam_search_alphas"])
def test_no_search_writes_one_where_there_is_nothing_to_keep(
    model: Transformer, tokenizers: TokenizerPair, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    asked: list[tuple[int, set[int]]] = []
    search = getattr(translator_module, name)

    def spy(step: object, state: object, limits: Sequence[int], *rest: object, **options: Any) -> object:
        asked.append((len(limits), set(options["forbidden"])))
        return search(step, state, limits, *rest, **options)

    monkeypatch.setattr(translator_module, name, spy)
    translator = Translator(model, tokenizers, SHORT, placeholders=True)
    texts = ["the dogs see birds.", "3 dogs", "dogs", "4 dogs"]
    match name:
        case "sample":
            outputs = [one.text for one in translator.sample(texts, torch.Generator().manual_seed(1))]
        case "diverse_beam_search":
            outputs = [several[0].text for several in translator.diverse_stream(texts, n=3)]
        case _:
            [outputs] = translator.translate_alphas(texts, [0.6])
    assert ["3" in outputs[1], "4" in outputs[3]] == [True, True]
    ids = {tokenizers.target.piece_to_id(piece) for piece in PLACEHOLDERS}
    assert [(rows, ids <= forbidden, ids & forbidden == set()) for rows, forbidden in asked] == [
        (2, True, False),
        (2, False, True),
    ]


def test_draws_are_the_same_in_every_window(model: Transformer, tokenizers: TokenizerPair) -> None:
    """Though lines with things to keep and lines without are drawn for apart."""
    translator = Translator(model, tokenizers, SHORT, placeholders=True)
    texts = [TEXTS[0], sentence(4), TEXTS[4], sentence(3)]

    def drawn(window: int) -> list[str]:
        stream = translator.sample_stream(texts, torch.Generator().manual_seed(1), window=window)
        return [one.text for one in stream]

    assert drawn(1) == drawn(2) == drawn(4)


def test_for_every_alpha_the_best_of_the_beam_that_has_every_one_is_taken(
    model: Transformer, tokenizers: TokenizerPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Says(tokenizers, ["a dog", "the dog", "the ｟0｠ dog"])

    def search(
        step: object, state: object, limits: Sequence[int], *, alphas: Sequence[float], n_best: int, **options: object
    ) -> list[list[list[Hypothesis]]]:
        none: list[list[int]] = [[] for _ in limits]
        found = engine.search(none, limits, config=BeamConfig(), n_best=n_best, forbidden=[])
        return [[outputs] * len(alphas) for outputs in found]

    monkeypatch.setattr(translator_module, "beam_search_alphas", search)
    translator = Translator(model, tokenizers, SHORT, placeholders=True)
    assert translator.translate_alphas(["3 dogs", "dogs"], [0.0, 1.0]) == [["the 3 dog", "a dog"]] * 2


@pytest.mark.parametrize("n", range(1, 9))
def test_where_placeholders_are_longer_than_numbers_no_word_is_cut_off(n: int) -> None:
    words = Tokenizer.train(["dogs 3 birds."] * 20, "bpe", 320, pretokenised=False)
    assert len(words.encode("dogs 3 birds.")) < len(words.encode("dogs ｟0｠ birds."))
    engine = Says(both := TokenizerPair(words, words), ["a"])
    translator = Translator(tiny(both), both, SHORT, max_source_length=8, placeholders=True, engine=engine)
    translator.translate(["dogs 3 " * n + "birds."], warn=lambda text: None)
    read = "".join("".join(one.sources) for one in engine.asked)
    assert read.count("dogs") == sum(read.count(piece) for piece in PLACEHOLDERS) == n
    assert read.count("birds.") == 1


def test_the_score_of_an_output_is_that_of_the_search(tokenizers: TokenizerPair) -> None:
    model = tiny(tokenizers).eval()
    source, output = "the ｟0｠ dogs see ｟1｠.", "a ｟1｠ dog runs ｟0｠"
    ids = tokenizers.source.encode(source), tokenizers.target.encode(output)
    [expected] = score_pairs(model, collate([ids]))
    translator = Translator(model, tokenizers, SHORT, placeholders=True)
    text = "the 3 dogs see x@y.org.", "a x@y.org dog runs 3"
    assert translator.score([text[0]], [text[1]]) == pytest.approx([expected], abs=1e-4)
    assert "｟1｠" in translator.attention(*text).target
    spelled = Translator(model, tokenizers, SHORT).score([text[0]], [text[1]])
    assert spelled != pytest.approx([expected], abs=1e-2)


def test_a_prefix_has_the_same_ones(model: Transformer, tokenizers: TokenizerPair) -> None:
    engine = Says(tokenizers, ["dog 4 runs ｟0｠"])
    translator = Translator(model, tokenizers, SHORT, placeholders=True, engine=engine)
    translator.translate_n_best(["3 dogs and 4"], 1, prefixes=["dog 4 runs"])
    assert engine.asked[0].prefixes == ["▁dog▁｟1｠▁runs"]
    with pytest.raises(DataError, match="line 2: the prefix '｟0｠ dog' has characters that this model never writes"):
        translator.translate_n_best(["3 dogs", "dogs"], 1, prefixes=["", "｟0｠ dog"])
    with pytest.raises(DataError, match="line 1: a prefix for a blank line"):
        translator.translate_n_best([" "], 1, prefixes=["dog"])


def test_a_tag_in_front_is_no_thing_to_keep(tokenizers: TokenizerPair) -> None:
    tagged = TokenizerPair(tokenizers.source, tokenizers.target, ("de",))
    engine = Says(tagged, ["a ｟0｠"])
    translator = Translator(tiny(tagged), tagged, SHORT, placeholders=True, engine=engine)
    assert translator.translate([">>de<< dog <b>"]) == ["a <b>"]
    assert engine.asked[0].sources == ["<tag0>▁dog▁｟0｠"]
