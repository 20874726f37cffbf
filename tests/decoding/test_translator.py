import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.conftest import run_time_checks
from transduce.data.collate import collate
from transduce.decoding import DecodingConfig, Translation, Translator, score_pairs
from transduce.decoding.engines import PlainEngine
from transduce.decoding.lines import cut
from transduce.decoding.search import Hypothesis
from transduce.errors import ConfigError, DataError
from transduce.nn import Transformer, TransformerConfig, build
from transduce.nn.transformer import TransformerState
from transduce.text.pieces import TAGS
from transduce.text.tokenizer import Tokenizer, TokenizerPair

pytestmark = pytest.mark.unit

WORDS = ["a", "the", "dog", "cat", "bird", "man", "tree", "runs", "sleeps", "sees", "green", "big", "small", "house"]
SHORT = DecodingConfig(beam=3, extra_length=4)


def sentence(words: int) -> str:
    return " ".join(random.choices(WORDS, k=words)) + "."


@pytest.fixture(scope="module")
def tokenizers() -> TokenizerPair:
    chosen = random.Random(0)
    lines = [" ".join(chosen.choices(WORDS, k=6)) + "." for _ in range(300)]
    tokenizer = Tokenizer.train(lines, "bpe", 340, pretokenised=False)
    return TokenizerPair(tokenizer, tokenizer)


@pytest.fixture
def model(tokenizers: TokenizerPair) -> Transformer:
    return tiny(tokenizers)


def tiny(tokenizers: TokenizerPair, **changes: object) -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(n_layers=1, d_model=16, d_ff=32, n_heads=2, d_k=8, d_v=8, share_embeddings="none")
    size = tokenizers.source.size
    built = build(replace(config, **changes), size, size, 0)  # type: ignore[arg-type]
    assert built.output is not None
    built.output.weight.data *= 4  # distributions as peaked as a trained model's, so outputs follow the sources
    return built


@pytest.fixture
def translator(model: Transformer, tokenizers: TokenizerPair) -> Translator:
    return Translator(model, tokenizers, SHORT)


def no_warning(message: str) -> None:
    raise AssertionError(message)


def assert_close(found: Sequence[Translation], expected: Sequence[Translation]) -> None:
    assert [t.text for t in found] == [t.text for t in expected]
    assert [t.score for t in found] == pytest.approx([t.score for t in expected], abs=1e-4)
    assert [t.log_prob for t in found] == pytest.approx([t.log_prob for t in expected], abs=1e-4)


def test_every_line_gets_its_own_translation_in_order(translator: Translator) -> None:
    texts = [sentence(n) for n in (3, 9, 1, 5, 5, 2, 8)]
    together = translator.translate_n_best(texts, 2, warn=no_warning)
    assert len({outputs[0].text for outputs in together}) > 3
    for text, outputs in zip(texts, together, strict=True):
        assert_close(outputs, translator.translate_n_best([text], 2)[0])
    assert translator.translate(texts) == [outputs[0].text for outputs in together]


def test_a_better_output_of_usual_length_is_waited_for(
    tokenizers: TokenizerPair, model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[int]] = []
    search = PlainEngine.search

    def spy(self: PlainEngine, *arguments: Any, **options: Any) -> list[list[Hypothesis]]:
        asked.append(options["usual"])
        return search(self, *arguments, **options)

    monkeypatch.setattr(PlainEngine, "search", spy)
    texts = [sentence(3), "dog", sentence(9)]
    lengths = list(map(len, tokenizers.encode_sources(texts)))
    for extra, expected in [(2, [n + 2 for n in lengths]), (-2, [n - 2 for n in lengths]), (None, [])]:
        Translator(model, tokenizers, SHORT, usual_extra=extra).translate(texts)
        assert asked.pop() == expected
    Translator(model, tokenizers, SHORT, usual_extra=0).translate(["dog"], prefixes=["the big dog runs."])
    assert asked.pop() == [len(tokenizers.target.encode("the big dog runs."))]


def test_every_alpha_in_one_search(model: Transformer, tokenizers: TokenizerPair) -> None:
    texts = [sentence(3), "", sentence(9), sentence(40), "  ", sentence(5)]
    alphas, warned = (0.0, 0.6, 3.0), list[str]()
    with_limit = Translator(model, tokenizers, SHORT, max_source_length=20)
    together = with_limit.translate_alphas(texts, alphas, warn=warned.append)
    assert len(warned) == 1  # the long line was cut
    for alpha, found in zip(alphas, together, strict=True):
        config = replace(SHORT, alpha=alpha)
        alone = Translator(model, tokenizers, config, max_source_length=20).translate(texts, warn=warned.append)
        assert found == alone


def test_batch_sizes_do_not_matter(model: Transformer, tokenizers: TokenizerPair, translator: Translator) -> None:
    texts = [sentence(n) for n in (3, 9, 1, 5, 5, 2)]
    small = Translator(model, tokenizers, SHORT, batch_tokens=60, batch_rows=6)
    for one, other in zip(small.translate_n_best(texts, 1), translator.translate_n_best(texts, 1), strict=True):
        assert_close(one, other)


def test_blank_lines_give_empty_lines(translator: Translator) -> None:
    texts = ["", sentence(2), "   ", "\u3000", "\n", "\t"]
    found = translator.translate(texts, warn=no_warning)
    assert [bool(text) for text in found] == [False, True, False, False, False, False]
    assert translator.translate_n_best([""], 3) == [[Translation(text="", score=0.0, log_prob=0.0)]]
    assert translator.translate([]) == []


def test_line_breaks_are_not_text(translator: Translator) -> None:
    line = sentence(4)
    assert len({*translator.translate([line, line + "\n", line + "\r\n"])}) == 1
    assert translator.translate([line + "\n" + line]) == translator.translate([line + " " + line])


def test_outputs_are_one_line(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tokenizer, "decode", lambda self, ids: "one\r\ntwo\nthree\n")
    assert translator.translate([sentence(3)]) == ["one two three"]


def test_n_best_texts_are_distinct_and_sorted(translator: Translator) -> None:
    for outputs in translator.translate_n_best([sentence(n) for n in (2, 4, 6)], 3):
        assert len({t.text for t in outputs}) == len(outputs) <= 3
        assert [t.score for t in outputs] == sorted((t.score for t in outputs), reverse=True)


def test_outputs_of_the_same_text_are_given_once(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    line = sentence(4)
    best = translator.translate_n_best([line], 3)[0][0]
    monkeypatch.setattr(Tokenizer, "decode", lambda self, ids: "the same")
    assert translator.translate_n_best([line], 3) == [[replace(best, text="the same")]]


def test_long_lines_are_translated_in_parts(model: Transformer, tokenizers: TokenizerPair) -> None:
    translator = Translator(model, tokenizers, SHORT, max_source_length=16)
    before, after = sentence(3), sentence(2)
    texts = [before, " ".join(sentence(n) for n in (5, 6, 4, 7)), after]
    parts = cut(texts[1], lambda part: len(tokenizers.source.encode(part)) <= 16)
    warned: list[str] = []
    found = translator.translate_n_best(texts, 2, warn=warned.append)
    expected = translator.translate_n_best(parts, 2, warn=no_warning)
    assert found[1][0].text == " ".join(outputs[0].text for outputs in expected)
    assert found[1][0].log_prob == pytest.approx(sum(outputs[0].log_prob for outputs in expected), abs=1e-4)
    assert found[1][0].score == pytest.approx(sum(outputs[0].score for outputs in expected), abs=1e-4)
    assert_close(found[0], translator.translate_n_best([before], 2)[0])
    assert_close(found[2], translator.translate_n_best([after], 2)[0])
    [message] = warned
    pieces = len(tokenizers.source.encode(texts[1]))
    assert message.startswith(f"line 2: {pieces} pieces, and this model takes 16 at once.")
    assert f"in {len(parts)} parts" in message


def test_a_line_of_as_many_pieces_as_the_model_takes_is_not_cut(model: Transformer, tokenizers: TokenizerPair) -> None:
    line, warned = sentence(4), list[str]()
    n = len(tokenizers.source.encode(line))
    Translator(model, tokenizers, SHORT, max_source_length=n).translate([line], warn=no_warning)
    Translator(model, tokenizers, SHORT, max_source_length=n - 1).translate([line], warn=warned.append)
    assert len(warned) == 1


def test_the_default_warning_is_pythons(model: Transformer, tokenizers: TokenizerPair) -> None:
    translator = Translator(model, tokenizers, SHORT, max_source_length=10)
    with pytest.warns(UserWarning, match="line 1: "):
        translator.translate([sentence(20)])


@pytest.mark.parametrize("text", ["ab" * 300, "语" * 50, "\U0001f600" * 20, ". " * 100, "a\u0301" * 40])
def test_whatever_the_line_there_is_a_translation(text: str, tokenizers: TokenizerPair) -> None:
    model = tiny(tokenizers, positions="learned", max_positions=9)
    translator = Translator(model, tokenizers, SHORT)
    warned: list[str] = []
    [found] = translator.translate([text], warn=warned.append)
    assert found
    assert len(warned) == 1


def test_learned_positions_bound_outputs_too(tokenizers: TokenizerPair) -> None:
    model = tiny(tokenizers, positions="learned", max_positions=9)
    assert model.output is not None
    model.output.weight.data.zero_()  # uniform: the longest output is always the best under a large alpha
    translator = Translator(model, tokenizers, DecodingConfig(beam=2, alpha=5.0))
    [found] = translator.translate_n_best(["a dog"], 1)
    assert found[0].log_prob / found[0].score == pytest.approx(((5 + 9) / 6) ** 5.0)


def test_a_stream_is_read_lazily_and_a_window_at_a_time(translator: Translator) -> None:
    texts = [sentence(n % 4 + 1) for n in range(10)]
    read = 0

    def lines() -> Iterator[str]:
        nonlocal read
        for text in texts:
            read += 1
            yield text

    stream = translator.translate_stream(lines(), window=3)
    assert read == 0
    found = []
    for i, outputs in enumerate(stream):
        assert read <= 3 * (i // 3 + 1)
        found.append(outputs[0].text)
        assert torch.is_grad_enabled()  # nothing of the decoding leaks into the caller between two lines
    assert found == translator.translate(texts)


def test_line_numbers_go_on_from_window_to_window(model: Transformer, tokenizers: TokenizerPair) -> None:
    translator = Translator(model, tokenizers, SHORT, max_source_length=10)
    warned: list[str] = []
    lines = [sentence(2), sentence(2), sentence(2), sentence(15)]
    assert len(list(translator.translate_stream(lines, window=2, warn=warned.append))) == 4
    assert warned[0].startswith("line 4: ")


def test_the_model_is_left_as_it_was(model: Transformer, tokenizers: TokenizerPair) -> None:
    translator = Translator(model, tokenizers, SHORT)
    line = sentence(5)
    model.eval()
    expected = translator.translate([line])
    model.train()
    assert translator.translate([line, line])[1:] == expected  # dropout is off
    assert model.training
    assert model.encoder.training
    translator.score([line], [line])
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_tags_are_never_produced(model: Transformer, tokenizers: TokenizerPair) -> None:
    assert model.output is not None
    tags = [i for i in range(tokenizers.target.size) if tokenizers.target.id_to_piece(i) in TAGS]
    assert len(tags) == len(TAGS)
    weight = model.output.weight.data
    weight[tags] = weight[20] * 3  # in some contexts far more likely than anything else
    seen: list[int] = []
    decode = Tokenizer.decode

    def spy(self: Tokenizer, ids: Sequence[int]) -> str:
        seen.extend(ids)
        return decode(self, ids)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tokenizer, "decode", spy)
        translator = Translator(model, tokenizers, SHORT)
        translator.translate([sentence(n) for n in range(1, 8)])
        translator.sample([sentence(n) for n in range(1, 8)], torch.Generator().manual_seed(0))
    assert seen
    assert not {*tags, 0, 1, 2, 3} & set(seen)


def test_a_tag_goes_with_every_part_of_a_line_that_is_cut(model: Transformer, tokenizers: TokenizerPair) -> None:
    tagged = TokenizerPair(tokenizers.source, tokenizers.target, ("de",))
    translator = Translator(model, tagged, SHORT, max_source_length=8)
    sources: list[list[int]] = []
    start = model.start
    warnings: list[str] = []

    def spy(batch: torch.Tensor, copies: int) -> TransformerState:
        sources.extend(batch.tolist())
        return start(batch, copies)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "start", spy)
        translator.translate([f">>de<< {sentence(12)}", ">>de<<  "], warn=warnings.append)
    assert len(sources) > 1
    assert {source[0] for source in sources} == {tokenizers.source.piece_to_id(TAGS[0])}
    assert warnings[0].startswith("line 1: ")
    with pytest.raises(DataError, match="the tags of this model are >>de<<"):
        translator.score([">>fr<< a"], ["b"])


def test_texts_are_brought_into_the_model_s_normal_form(model: Transformer, tokenizers: TokenizerPair) -> None:
    plain, nfc = Translator(model, tokenizers, SHORT), Translator(model, tokenizers, SHORT, normal="nfc")
    assert nfc.score(["e\u0301"], ["o\u0308"]) == plain.score(["\u00e9"], ["\u00f6"])
    assert plain.score(["e\u0301"], ["o\u0308"]) != plain.score(["\u00e9"], ["\u00f6"])


def test_bfloat16_is_close_to_float32(model: Transformer, tokenizers: TokenizerPair) -> None:
    texts = [sentence(3), sentence(5)]
    exact = Translator(model, tokenizers, SHORT).score(texts, texts)
    translator = Translator(model, tokenizers, SHORT, precision="bf16")
    rough = translator.score(texts, texts)
    assert rough != exact
    assert rough == pytest.approx(exact, rel=0.02)
    assert all(translator.translate(texts))


def test_scores_are_teacher_forced_whatever_the_batch(translator: Translator, model: Transformer) -> None:
    sources = [sentence(n) for n in (2, 7, 4, 1, 3)]
    targets = [sentence(n) for n in (5, 1, 4, 2, 2)]
    found = translator.score(sources, targets)
    model.eval()
    encode = translator.tokenizers.source.encode
    for source, target, score in zip(sources, targets, found, strict=True):
        with torch.no_grad():
            assert score_pairs(model, collate([(encode(source), encode(target))])) == pytest.approx([score], abs=1e-4)
    assert list(translator.score_stream(zip(sources, targets, strict=True), window=2)) == pytest.approx(found, abs=1e-4)
    assert translator.score([], []) == []


def test_blank_sides_have_scores(translator: Translator) -> None:
    assert all(score < 0 for score in translator.score(["", "a dog", ""], ["a cat", "", ""]))


def test_scores_that_cannot_be_given(model: Transformer, tokenizers: TokenizerPair) -> None:
    translator = Translator(model, tokenizers, SHORT, max_source_length=10, max_target_length=12)
    with pytest.raises(DataError, match="2 sources, but 1 targets"):
        translator.score(["a", "b"], ["a"])
    long, short = sentence(20), sentence(1)
    with pytest.raises(DataError, match=r"line 2: \d+ source pieces, but this model takes 10"):
        translator.score([short, long], [short, short])
    with pytest.raises(DataError, match=r"line 3: \d+ target pieces, but this model takes 12"):
        list(translator.score_stream([(short, short), (short, short), (short, long)], window=2))


def test_a_text_for_a_list_is_refused(translator: Translator) -> None:
    """It would be read letter by letter."""
    with run_time_checks(False):
        for ask in (
            lambda: translator.translate("a dog"),
            lambda: translator.translate_n_best("a dog", 2),
            lambda: translator.translate(["a"], prefixes="b"),
            lambda: translator.score("ab", "cd"),
            lambda: translator.translate_alphas("ab", [0.6]),
            lambda: translator.sample("ab", torch.Generator()),
            lambda: translator.sample_stream("ab", torch.Generator()),
        ):
            with pytest.raises(ConfigError, match="Write \\[text\\]"):
                ask()


@pytest.mark.parametrize("missing", [None, float("nan"), 3, b"a", ["a"]])
def test_what_is_not_text_is_said_with_its_line(translator: Translator, missing: Any) -> None:
    """Tables have gaps."""
    said = "line 2: not text but "
    for call in (
        lambda: translator.translate(["a dog", missing]),
        lambda: translator.translate(["a", "a"], prefixes=["", missing]),
        lambda: translator.score(["a", "a"], ["a", missing]),
        lambda: translator.score(["a", missing], ["a", "a"]),
    ):
        with run_time_checks(False), pytest.raises(DataError, match=said):
            call()


def test_what_the_model_has_no_pieces_for_is_said() -> None:
    known = Tokenizer.train(["a b c d"], "words", 100, pretokenised=False)
    pair = TokenizerPair(known, known)
    said: list[str] = []
    lines = ["a b", "a x b y", *["c", "?"] * 12]
    Translator(tiny(pair), pair, SHORT).translate(lines, warn=said.append)
    numbers = "2, 4, 6, 8, 10, 12, 14, 16, 18, 20 and 3 more"
    assert said == [f"lines {numbers}: text that this model has no pieces for; it reads all such text alike."]


def test_attention_that_cannot_be_shown(model: Transformer, tokenizers: TokenizerPair) -> None:
    translator = Translator(model, tokenizers, SHORT, max_source_length=10, max_target_length=12)
    long, short = sentence(20), sentence(1)
    for source, target, message in (
        (long, short, r"\d+ source pieces: attention is shown for 1 to 10\."),
        (short, long, r"\d+ target pieces: attention is shown for 1 to 12\."),
        ("", short, r"0 source pieces: attention is shown for 1 to 10\."),
    ):
        with pytest.raises(DataError, match=message):
            translator.attention(source, target)


def test_samples_are_reproducible_and_scored(translator: Translator) -> None:
    texts = [sentence(3), "", sentence(12), sentence(5)]

    def once(seed: int, temperature: float = 1.0) -> list[Translation]:
        return translator.sample(texts, torch.Generator().manual_seed(seed), temperature, warn=no_warning)

    assert once(1) == once(1)
    assert once(1) != once(2)
    assert once(1)[1] == Translation(text="", score=0.0, log_prob=0.0)
    greedy = Translator(translator.model, translator.tokenizers, replace(SHORT, beam=1)).translate(texts)
    assert [t.text for t in once(3, temperature=1e-9)] == greedy
    for window in (1, 3):
        stream = translator.sample_stream(iter(texts), torch.Generator().manual_seed(1), window=window)
        assert [t.text for t in stream] == [t.text for t in once(1)]
    stream = translator.sample_stream(iter(texts), torch.Generator().manual_seed(1), top_k=5, window=2)
    assert len(list(stream)) == 4


def test_impossible_settings(model: Transformer, tokenizers: TokenizerPair, translator: Translator) -> None:
    with pytest.raises(ConfigError, match="beam = 0"):
        DecodingConfig(beam=0)
    with pytest.raises(ConfigError, match="alpha"):
        DecodingConfig(alpha=-1.0)
    with pytest.raises(ConfigError, match="extra_length = -1"):
        DecodingConfig(extra_length=-1)
    with pytest.raises(ConfigError, match="at least 1"):
        Translator(model, tokenizers, SHORT, max_source_length=0)
    for n in (0, 4):
        with pytest.raises(ConfigError, match=f"n_best = {n}"):
            translator.translate_n_best(["a dog"], n)
        with pytest.raises(ConfigError, match=f"n_best = {n}"):
            translator.translate_stream(["a dog"], n_best=n)  # at once, not when the first line is asked for
    with pytest.raises(ConfigError, match="window = 0"):
        translator.translate_stream(["a dog"], window=0)
    with pytest.raises(ConfigError, match="window = 0"):
        translator.score_stream([("a dog", "a cat")], window=0)


def test_outputs_begin_with_their_prefixes(translator: Translator) -> None:
    texts = [sentence(3), sentence(9), "", sentence(1), sentence(4)]
    prefixes = ["the", "", " ", "a green dog sees the big tree and the small house.", "bi"]
    found = translator.translate_n_best(texts, 3, prefixes=prefixes)
    assert translator.translate(texts, prefixes=prefixes) == [outputs[0].text for outputs in found]
    free = translator.translate_n_best(texts, 3)
    for i in (1, 2):
        assert_close(found[i], free[i])
    for prefix, outputs in zip(prefixes, found, strict=True):
        assert all(output.text.startswith(prefix.strip()) for output in outputs)
    stream = translator.translate_stream(iter(texts), n_best=3, prefixes=iter(prefixes), window=2)
    for one, other in zip(stream, found, strict=True):
        assert_close(one, other)


def test_diverse_outputs_begin_with_their_prefixes(translator: Translator) -> None:
    texts, prefixes = [sentence(3), sentence(9), "", sentence(1)], ["the", "", "", "bi"]
    found = list(translator.diverse_stream(texts, n=3, prefixes=prefixes))
    assert [len(outputs) > 1 for outputs in found] == [True, True, False, True]
    for prefix, outputs in zip(prefixes, found, strict=True):
        assert all(output.text.startswith(prefix) for output in outputs)


def test_scores_count_the_prefix() -> None:
    words = Tokenizer.train([" ".join(WORDS)] * 3, "words", 100, pretokenised=False)
    translator = Translator(tiny(TokenizerPair(words, words)), TokenizerPair(words, words), SHORT)
    texts = [" ".join(WORDS[: 2 * n]) for n in (1, 2, 3, 1, 2, 3)]
    found = translator.translate_n_best(texts, 3, prefixes=["the dog", "a", "big", "small small", "green", ""])
    spelt = [
        (text, o) for text, each in zip(texts, found, strict=True) for o in each if set(o.text.split()) <= {*WORDS}
    ]
    assert len(spelt) > 6
    expected = translator.score([text for text, _ in spelt], [o.text for _, o in spelt])
    assert [o.log_prob for _, o in spelt] == pytest.approx(expected, abs=1e-4)


def test_a_prefix_begins_the_first_part_of_a_line_that_is_cut(model: Transformer, tokenizers: TokenizerPair) -> None:
    translator = Translator(model, tokenizers, SHORT, max_source_length=10)
    long = sentence(8) + " " + sentence(8)
    free = translator.translate([long], warn=lambda message: None)[0]
    begun = translator.translate([long], prefixes=["green"], warn=lambda message: None)[0]
    assert begun.startswith("green")
    assert begun.count("green") <= free.count("green") + 1


def test_prefixes_that_no_output_can_begin_with(model: Transformer, tokenizers: TokenizerPair) -> None:
    translator = Translator(model, tokenizers, SHORT, max_target_length=12)
    with pytest.raises(DataError, match="line 2: no prefix. Give one for every line"):
        translator.translate(["a dog", "a cat"], prefixes=["the"])
    with pytest.raises(DataError, match="line 2: a prefix, but no line"):
        translator.translate(["a dog"], prefixes=["the", "a"])
    with pytest.raises(DataError, match="line 3: a prefix for a blank line"):
        list(translator.translate_stream(["a dog", "a cat", " "], prefixes=["", "", "the"], window=2))
    with pytest.raises(DataError, match=r"line 1: a prefix of \d+ pieces, but this model writes 12. Shorten it"):
        translator.translate(["a dog"], prefixes=[sentence(20)])
    words = Tokenizer.train(["the dog runs"] * 3, "words", 100, pretokenised=False)
    torch.manual_seed(0)
    config = TransformerConfig(n_layers=1, d_model=16, d_ff=32, n_heads=2, d_k=8, d_v=8)
    unknowing = Translator(build(config, words.size, words.size, 0), TokenizerPair(words, words), SHORT)
    with pytest.raises(DataError, match="line 7: the prefix 'the wolf' has characters that this model never writes"):
        list(unknowing.translate_stream(["the dog"], prefixes=["the wolf"], first=7))
