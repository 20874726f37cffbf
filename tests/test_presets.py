"""Settings for people without a recipe follow from what their data is like."""

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any, get_args

import pytest

from tests.tiny import mirror, sentences
from transduce.config import RunConfig, build_config, derive
from transduce.data.survey import SYMBOLS, survey
from transduce.errors import ConfigError
from transduce.presets import FEW_PAIRS, RATES, SIZES, Origin, Preset, choose, languages, sections
from transduce.text.tokenizer import Tokenizer

pytestmark = pytest.mark.unit

Pairs = list[tuple[str, str]]


def prose(n: int, words: int = 10, letters: str = "abcdefgh") -> list[str]:
    """Sentences of made-up words, of which there are many."""
    chance = random.Random(n)
    return [" ".join("".join(chance.choices(letters, k=5)) for _ in range(words)) + "." for _ in range(n)]


def built(pairs: Pairs, name: str = "auto", minutes: float = 3.0) -> RunConfig:
    values: dict[str, Any] = {"data": {"train": {"pairs": "a.tsv"}}}
    for section, chosen in sections(choose(name, survey(pairs), minutes)).items():
        values[section] = values.get(section, {}) | chosen
    if not values["tokenizer"]["joint"]:
        values["model"]["share_embeddings"] = "target"
    return build_config(derive(values), "here")


def captions(n: int = 300) -> Pairs:
    return list(zip(prose(n), prose(n)[::-1], strict=True))


def dictionary(n: int = 300) -> Pairs:
    words = [
        f"{a}{b}{c}x{i}"
        for i, (a, b, c) in enumerate(zip(*(random.Random(k).choices("abcdef", k=n) for k in range(3)), strict=True))
    ]
    return [(word, " ".join(word.upper())) for word in words]


def phrases() -> Pairs:
    """Two words a line, pronounced."""
    words = dictionary(600)
    return [(f"{a} {b}", f"{c} {d}") for (a, c), (b, d) in zip(words[::2], words[1::2], strict=True)]


def commands() -> Pairs:
    """Sentences that become symbols."""
    return [(line, f"GO {'LEFT' if i % 3 else 'RIGHT'}") for i, line in enumerate(prose(300))]


def inflections() -> Pairs:
    return [(f"{word} V;{tag};PL", f"{word}{tag.lower()}") for word in prose(40, 1, "klmno") for tag in ("PST", "PRS")]


def symbols() -> Pairs:
    return [(f"the {line} dog", mirror(f"the {line} dog")) for line in sentences(100, 0)]


@pytest.mark.parametrize(
    ("pairs", "kinds", "joint", "metric"),
    [
        (captions, ("bpe", "bpe"), True, "bleu"),
        (dictionary, ("characters", "words"), False, "wer"),
        (inflections, ("tagged", "characters"), False, "accuracy"),
        (symbols, ("words", "words"), False, "wer"),
        (phrases, ("characters", "words"), False, "wer"),
        (commands, ("bpe", "words"), False, "wer"),
    ],
)
def test_what_each_side_is_made_of(
    pairs: Callable[[], Pairs], kinds: tuple[str, str], joint: bool, metric: str
) -> None:
    config = built(pairs())
    assert (config.tokenizer.source, config.tokenizer.target) == kinds
    assert config.tokenizer.joint == joint
    assert config.evaluation.metric == metric
    assert bool(config.evaluation.alphas) == (kinds[1] == "bpe")


def test_two_alphabets_are_two_vocabularies_and_no_spaces_are_text_too() -> None:
    greek = list(zip(prose(300), prose(300, letters="αβγδεζηθ"), strict=True))
    assert not built(greek).tokenizer.joint
    japanese = [
        (s, t.replace(" ", "").replace(".", "。"))
        for s, t in zip(prose(300), prose(300, letters="あいうえおかき"), strict=True)
    ]
    config = built(japanese)
    assert (config.tokenizer.target, config.evaluation.metric) == ("bpe", "chrf")


def test_short_chinese_sentences_are_text_and_words_are_spelled() -> None:
    sentences = prose(600, 1, "".join(map(chr, range(0x4E00, 0x4E00 + 900))))
    chinese = [s + t for s, t in pairwise(sentences)]  # 12 characters
    config = built(list(zip(prose(len(chinese)), chinese, strict=True)))
    assert (config.tokenizer.target, config.evaluation.metric) == ("bpe", "chrf")
    assert config.tokenizer.size > 1700  # each character has a piece
    spelled = [(line[:3], " ".join("abc" + str(i % 50) for i in range(n % 3 + 2))) for n, line in enumerate(chinese)]
    assert built(spelled).tokenizer.source == "characters"


@pytest.mark.parametrize(("written", "share"), [("7", 0.1), ("\u06f7", 0.0), ("seven", 0.1)])
def test_numbers_are_kept_unless_the_other_side_writes_them_otherwise(written: str, share: float) -> None:
    pairs = [(f"{source} 7", f"{target} {written}") for source, target in captions()]
    assert built(pairs).data.placeholders == share


def test_a_vocabulary_grows_with_the_text_up_to_a_limit() -> None:
    sizes = [built(captions(n)).tokenizer.size for n in (100, 10_000, 60_000)]
    assert sizes == [1000, 2600, 10_000]  # 10 words a line on either side: 2,600 for 200,000 words


@pytest.mark.parametrize(
    ("n", "minutes", "size", "p_drop"),
    [(1000, 30, "tiny", 0.3), (30_000, 30, "tiny", 0.2), (100_000, 30, "tiny", 0.1), (100_000, 0, "small", 0.1)],
)
def test_the_model_grows_with_the_pairs_and_the_time(n: int, minutes: float, size: str, p_drop: float) -> None:
    data = replace(survey(captions()), pairs=n)
    data = replace(data, target=replace(data.target, words=13 * n))
    chosen = sections(choose("auto", data, minutes))
    assert chosen["model"]["d_model"] == SIZES[size]["d_model"]
    assert chosen["model"]["p_drop"] == p_drop


def test_copies_do_not_count() -> None:
    data = survey(captions(200) * 200)
    assert sections(choose("auto", data, 0.0))["model"]["p_drop"] == 0.3


def test_certain_symbols_want_no_noise_and_mixed_lengths() -> None:
    config = built(symbols())
    assert (config.model.p_drop, config.training.label_smoothing, config.batching.accumulate) == (0.0, 0.0, 8)
    both = symbols() + [(s, f"{t} OTHER") for s, t in symbols()]
    assert built(both).training.label_smoothing == 0.1


def test_long_lines_get_room() -> None:
    assert built(captions()).data.max_length == 256
    long = [(s, " ".join(prose(20 + i, 10)[:20])) for i, s in enumerate(prose(100))]
    config = built(long)
    assert config.data.max_length > 256
    assert config.decoding.extra_length > 256


@pytest.mark.parametrize("name", get_args(Preset))
def test_every_size_is_a_whole_recipe(name: str) -> None:
    config = built(captions(), name)
    size = SIZES["tiny" if name == "auto" else name]
    assert config.model.d_model == size["d_model"]
    assert config.model.d_k * config.model.n_heads == config.model.d_model
    assert config.training.minutes == 3.0
    assert config.training.patience > 0


def test_text_with_spaces_gets_pairs_made_from_pairs() -> None:
    data = built(captions()).data
    assert (data.augment, data.placeholders) == (0.25, 0.1)
    data = built(dictionary()).data
    assert (data.augment, data.placeholders) == (0.0, 0.0)


@pytest.mark.parametrize(("minutes", "schedule"), [(3.0, "linear"), (0.0, "inverse_sqrt")])
def test_the_rate_comes_down_to_nothing_where_the_end_is_known(minutes: float, schedule: str) -> None:
    assert built(captions(), minutes=minutes).training.schedule == schedule


@pytest.mark.parametrize(
    ("pairs", "name", "batching"),
    [
        (captions(), "auto", (1024, 2)),
        (captions(), "small", (4096, 1)),
        (dictionary(), "auto", (512, 2)),
        (symbols(), "auto", (512, 8)),
    ],
)
def test_what_is_small_learns_from_small_updates(
    pairs: list[tuple[str, str]], name: str, batching: tuple[int, int]
) -> None:
    config = built(pairs, name)
    assert (config.batching.max_tokens, config.batching.accumulate) == batching


def test_many_words_to_spell_are_learned_from_larger_updates() -> None:
    many = replace(survey(dictionary()), pairs=FEW_PAIRS)
    assert sections(choose("tiny", many, 0.0))["batching"] == {"max_tokens": 1024, "accumulate": 2}


@pytest.mark.parametrize(
    ("pairs", "n", "name", "expected"),
    [
        (captions(), FEW_PAIRS, "tiny", "muon"),
        (captions(), FEW_PAIRS - 1, "tiny", None),
        (captions(), FEW_PAIRS, "small", None),
        (dictionary(), FEW_PAIRS, "tiny", "muon"),
        (symbols(), FEW_PAIRS, "tiny", None),
    ],
)
def test_muon_where_it_was_measured(pairs: list[tuple[str, str]], n: int, name: str, expected: str | None) -> None:
    choices = choose(name, replace(survey(pairs), pairs=n, duplicates=0, empty=0), 3.0)
    assert sections(choices)["training"].get("optimizer") == expected
    assert (
        sections(choose(name, replace(survey(pairs), pairs=n, duplicates=0, empty=0), 3.0, origin=of_width(128)))[
            "training"
        ]["optimizer"]
        == "adam"
    )


@pytest.mark.parametrize(
    ("pairs", "n", "minutes", "expected"),
    [
        (captions(), FEW_PAIRS, 60.0, 3.0),
        (captions(), FEW_PAIRS, 30.0, None),  # some 13 passes with every batch read twice
        (captions(), FEW_PAIRS, 0.0, None),
        (captions(), FEW_PAIRS - 1, 60.0, None),
        (dictionary(), FEW_PAIRS, 600.0, None),
    ],
)
def test_r_drop_where_there_is_time_to_read_twice(
    pairs: list[tuple[str, str]], n: int, minutes: float, expected: float | None
) -> None:
    data = replace(survey(pairs), pairs=n, duplicates=0, empty=0)
    choices = choose("tiny", replace(data, target=replace(data.target, words=16 * n)), minutes)
    assert sections(choices)["training"].get("r_drop") == expected
    assert (
        sections(
            choose("tiny", replace(data, target=replace(data.target, words=16 * n)), minutes, origin=of_width(128))
        )["training"]["r_drop"]
        == 0.0
    )


@pytest.mark.parametrize(
    ("pairs", "n", "expected"),
    [
        (dictionary(), FEW_PAIRS - 1, 0.5),
        (dictionary(), FEW_PAIRS, None),
        (captions(), FEW_PAIRS - 1, None),
        (symbols(), FEW_PAIRS - 1, None),
    ],
)
def test_weight_decay_where_it_was_measured(pairs: list[tuple[str, str]], n: int, expected: float | None) -> None:
    data = replace(survey(pairs), pairs=n, duplicates=0, empty=0)
    assert sections(choose("tiny", data, 3.0))["training"].get("weight_decay") == expected
    assert sections(choose("tiny", data, 3.0, origin=of_width(128)))["training"]["weight_decay"] == 0.0


def test_the_time_of_one_thread_is_half_as_long_as_that_of_two() -> None:
    data = replace(survey(captions()), pairs=FEW_PAIRS, duplicates=0, empty=0)
    data = replace(data, target=replace(data.target, words=16 * FEW_PAIRS))
    assert "r_drop" in sections(choose("tiny", data, 60.0, threads=2))["training"]
    assert "r_drop" not in sections(choose("tiny", data, 60.0, threads=1))["training"]
    assert "r_drop" in sections(choose("tiny", data, 120.0, threads=1))["training"]


def test_muon_s_rate_for_text() -> None:
    rates = [
        sections(choose("tiny", replace(survey(pairs), pairs=n), 3.0))["training"]["learning_rate"]
        for pairs, n in ((captions(), FEW_PAIRS), (captions(), FEW_PAIRS // 2), (dictionary(), FEW_PAIRS))
    ]
    assert rates == [0.006, 0.004, 0.003]


@pytest.mark.parametrize("minutes", [3.0, 600.0])
def test_every_choice_says_why(minutes: float) -> None:
    choices = choose("auto", replace(survey(captions()), pairs=FEW_PAIRS), minutes)
    assert all(choice.why for choice in choices)
    assert len({choice.key for choice in choices}) == len(choices)


def of_width(d_model: int) -> Origin:
    return Origin(kinds=lambda source, target: (source, target), d_model=d_model, placeholders=True)


@pytest.mark.parametrize(
    ("name", "width", "expected"),
    [("auto", 32, "tiny"), ("auto", 512, "base"), ("auto", 9999, "big"), ("base", 1, "base")],
)
def test_fine_tuning_takes_a_fifth_of_the_rate_for_the_model_s_width(name: str, width: int, expected: str) -> None:
    peak, warmup, *_ = RATES[expected]
    tuned = sections(choose(name, survey(captions()), 3.0, origin=of_width(width)))["training"]
    assert tuned["learning_rate"] == pytest.approx(peak / 5)
    assert tuned["warmup"] < warmup
    assert tuned["minutes"] == 3.0


@pytest.mark.parametrize(
    ("asked", "gone"),
    [
        ({"data.pretokenised": True}, {"data.augment", "data.placeholders"}),
        ({"tokenizer.target": "words"}, {"data.augment", "data.placeholders"}),
        ({"model.p_drop": 0.0}, {"training.r_drop"}),
        ({"training.optimizer": "adam"}, {"training.optimizer", "training.r_drop"}),
        ({}, set()),
    ],
)
def test_what_was_asked_for_decides_other_settings(asked: dict[str, Any], gone: set[str]) -> None:
    data = replace(survey(captions()), pairs=FEW_PAIRS, duplicates=0, empty=0)
    every = {"data.augment", "data.placeholders", "training.optimizer", "training.r_drop"}
    found = {choice.key for choice in choose("tiny", data, 600.0, asked=asked)}
    assert every - found == gone


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"training.max_steps": 9}, "linear"),
        ({"training.max_steps": 9, "training.minutes": 0}, "linear"),
        ({}, "inverse_sqrt"),
    ],
)
def test_who_counts_steps_has_the_rate_come_down_at_their_end(asked: dict[str, Any], expected: str) -> None:
    assert sections(choose("tiny", survey(captions()), 0.0, asked=asked))["training"]["schedule"] == expected


def test_what_a_training_starts_from_keeps_things_or_not() -> None:
    for knows in (False, True):
        origin = replace(of_width(128), placeholders=knows)
        found = {choice.key for choice in choose("auto", survey(captions()), 3.0, origin=origin)}
        assert ("data.placeholders" in found) == knows
        assert "data.augment" not in found


def test_unknown_sizes() -> None:
    with pytest.raises(ConfigError, match="--preset huge: choose one of auto, tiny, small, base, big."):
        choose("huge", survey(captions()), 3.0)


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


def test_values_behind_semicolons_are_no_tags() -> None:
    rows = [(f"Anna Smith;{i};Town{i}", f"Town{i} {i} Anna Smith") for i in range(300)]
    chosen = sections(choose("auto", survey(rows), 3.0))
    assert chosen["tokenizer"]["source"] != "tagged"


def test_a_phrase_book_is_no_alphabet_of_symbols() -> None:
    few = captions(12)
    assert survey(few).source.distinct_words <= SYMBOLS
    chosen = sections(choose("auto", survey(few), 3.0))["tokenizer"]
    assert (chosen["source"], chosen["target"]) == ("bpe", "bpe")


def test_every_character_that_is_spelled_has_a_piece() -> None:
    letters = [chr(0x4E00 + i) for i in range(3000)]
    words = ["".join(letters[i : i + 2]) for i in range(0, 2998, 2)]
    to_text = list(zip(words, prose(len(words)), strict=True))
    for pairs in ([(word, word[::-1]) for word in words], to_text):
        chosen = built(pairs).tokenizer
        assert chosen.source == "characters"
        learned = Tokenizer.train(words, "characters", chosen.size, False)
        assert len(learned.encode("".join(letters[:2998]))) == 2998


@pytest.mark.parametrize(("steps", "warmup", "every"), [(500, 100, 25), (3, 1, 1), (30_000, 1000, None)])
def test_so_many_steps_have_a_warm_up_and_validations_among_them(steps: int, warmup: int, every: int | None) -> None:
    training = sections(choose("tiny", survey(captions()), 0.0, asked={"training.max_steps": steps}))["training"]
    assert (training["warmup"], training.get("checkpoint_every")) == (warmup, every)


def test_a_short_warm_up_is_not_made_longer_by_steps() -> None:
    for steps, warmup in ((3_000, 300), (1_000, 200)):
        training = sections(choose("auto", survey(symbols()), 0.0, asked={"training.max_steps": steps}))["training"]
        assert training["warmup"] == warmup


def test_fine_tuning_warms_up_for_no_more_than_a_fifth_of_the_steps() -> None:
    origin = Origin(kinds=lambda source, target: (source, target), d_model=128, placeholders=True)
    for asked, warmup in (({}, 200), ({"training.max_steps": 3_000}, 200), ({"training.max_steps": 500}, 100)):
        training = sections(choose("auto", survey(captions()), 0.0, asked=asked, origin=origin))["training"]
        assert training["warmup"] == warmup


@pytest.mark.parametrize(("steps", "size"), [(100, "tiny"), (1_000_000, "base")])
def test_the_model_grows_with_the_steps_too(steps: int, size: str) -> None:
    data = replace(survey(captions()), pairs=1_200_000, duplicates=0, empty=0)
    data = replace(data, target=replace(data.target, words=12_000_000))
    chosen = sections(choose("auto", data, 0.0, asked={"training.max_steps": steps}))
    assert {key: chosen["model"][key] for key in SIZES[size]} == SIZES[size]


def test_kinds_that_were_asked_for_have_a_vocabulary_and_room_of_their_own() -> None:
    long = list(zip(prose(200, words=60), prose(200, words=60)[::-1], strict=True))
    plain = sections(choose("auto", survey(long), 3.0))
    one = sections(choose("auto", survey(long), 3.0, asked={"tokenizer.source": "characters"}))
    assert (plain["tokenizer"]["joint"], one["tokenizer"]["joint"]) == (True, False)
    assert one["data"]["max_length"] > 360
    assert one["evaluation"]["metric"] == "bleu"


def test_no_number_of_steps_is_in_the_way_of_the_minutes() -> None:
    assert built(captions(), minutes=600.0).training.max_steps > 600 * 60 / 0.001
