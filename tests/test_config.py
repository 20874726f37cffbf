"""Recipes: strict, with the nearest name; what goes in comes out; every one that ships is complete."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny import write_recipe
from transduce.config import (
    DataConfig,
    PairsSet,
    RunConfig,
    apply_settings,
    build_config,
    derive,
    differences,
    flat_values,
    load_recipe,
    parse_toml,
    recipe_names,
    recipe_text,
    to_toml,
    to_values,
)
from transduce.data.corpus import AlignedFiles, Joined, PairsFile, check_formats
from transduce.errors import ConfigError
from transduce.nn import Attention, Convolution

pytestmark = pytest.mark.unit

SHIPPED = [
    "cmudict",
    "multi30k_ende",
    "multi30k_ende_conv",
    "multi30k_ende_lstm",
    "multi30k_ende_raw",
    "multi30k_enfr",
    "scan_simple",
    "sigmorphon2020_g2p",
    "sigmorphon2020_inflection",
    "wmt14_ende_base",
    "wmt14_ende_big",
    "wmt14_enfr_base",
    "wmt14_enfr_big",
]
PAIRS: dict[str, Any] = {"data": {"train": {"pairs": "a.tsv"}}}


@pytest.fixture(autouse=True)
def no_data_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRANSDUCE_DATA", raising=False)


def built(*settings: str, values: dict[str, Any] = PAIRS) -> RunConfig:
    return build_config(derive(apply_settings(values, settings)), "here")


def problem(*settings: str, values: dict[str, Any] = PAIRS) -> str:
    with pytest.raises(ConfigError) as caught:
        built(*settings, values=values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- the recipes that ship


def test_these_recipes_ship() -> None:
    assert recipe_names() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_is_complete(name: str) -> None:
    config = load_recipe(name)
    assert config.name == name
    assert config.data.root == "data"
    for part in (config.data.train, config.data.dev, config.data.test):
        if part is not None:
            config.data.files(part)
    assert config.data.test is not None
    explained = recipe_text(name)[1].splitlines()[0]
    assert explained.startswith("# ")


@pytest.mark.parametrize(("name", "d_model", "heads"), [("base", 512, 8), ("big", 1024, 16)])
@pytest.mark.parametrize("target", ["de", "fr"])
def test_the_paper_s_recipes_are_the_paper_s(name: str, d_model: int, heads: int, target: str) -> None:
    """Table 3, rows base and big; sections 5.1, 5.3 and 6.1, which has another P_drop for the big model of French."""
    config = load_recipe(f"wmt14_en{target}_{name}")
    p_drop = 0.3 if (name, target) == ("big", "de") else 0.1
    assert (config.data.source_lang, config.data.target_lang) == ("en", target)
    assert (config.tokenizer.joint, config.tokenizer.size) == (True, 37_000 if target == "de" else 32_000)
    m, t = config.model, config.training
    assert (m.n_layers, m.d_model, m.d_ff, m.n_heads) == (6, d_model, 4 * d_model, heads)
    assert (m.d_k, m.d_v, m.p_drop, m.norm, m.positions) == (64, 64, p_drop, "post", "sinusoidal")
    assert config.batching.max_tokens * config.batching.accumulate == pytest.approx(25_000, rel=0.001)
    assert (t.schedule, t.warmup, t.label_smoothing) == ("noam", 4000, 0.1)
    assert (config.decoding.beam, config.decoding.alpha) == (4, 0.6)
    assert (t.max_steps, t.average) == ((100_000, 5) if name == "base" else (300_000, 20))


@pytest.mark.parametrize("name", ["sigmorphon2020_g2p", "sigmorphon2020_inflection"])
def test_recipes_of_many_languages_take_one(name: str) -> None:
    files = [load_recipe(name, [f"data.lang={lang}", "data.root=r"]).data for lang in ("xx", "yy")]
    paths = [data.files(data.train).pairs for data in files]  # type: ignore[union-attr]
    assert paths[0].name.replace("xx", "yy") == paths[1].name
    assert paths[0].parent == Path("r") / name


def test_lemma_and_tags_are_one_side() -> None:
    config = load_recipe("sigmorphon2020_inflection")
    train = config.data.files(config.data.train)
    assert isinstance(train, PairsFile)
    assert (train.source_columns, train.target_columns) == ((1, 3), (2,))
    assert (config.tokenizer.source, config.tokenizer.target) == ("tagged", "characters")


# ---- there and back


@pytest.mark.parametrize("name", SHIPPED)
def test_what_goes_out_comes_back(name: str) -> None:
    config = load_recipe(name, ["data.columns=[[1, 2], 1]", 'data.lang="e\\"n"', "training.minutes=1e-3"])
    values = to_values(config)
    assert build_config(values, "here") == config
    assert build_config(tomllib.loads(to_toml(values)), "here") == config
    assert derive(values) == values


@given(
    numbers=st.tuples(st.integers(1, 2**40), st.floats(0, 1e300), st.floats(0, 1, exclude_max=True)),
    text=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_any_value_survives_a_file(numbers: tuple[int, float, float], text: str) -> None:
    values = {
        "name": text,
        "training": {"max_steps": numbers[0], "minutes": numbers[1]},
        "model": {"p_drop": numbers[2]},
    }
    config = build_config(PAIRS | values, "here")
    assert build_config(tomllib.loads(to_toml(to_values(config))), "here") == config


def test_values_are_complete_but_for_what_is_absent() -> None:
    values = to_values(built())
    assert set(values) == {
        "name", "data", "cleaning", "tokenizer", "model", "batching", "training", "decoding", "evaluation",
    }  # fmt: skip
    assert "dev" not in values["data"]
    assert values["training"]["seed"] == 1


def test_differences_are_named_by_section_and_key() -> None:
    one = built()
    other = built("training.seed=2", "data.lang=de", 'data.dev={pairs="d"}', "name=x")
    assert differences(one, one) == {}
    found = differences(one, other)
    assert list(found) == ["data.dev", "data.lang", "name", "training.seed"]
    assert (found["data.dev"], found["training.seed"]) == ((None, {"pairs": "d"}), (1, 2))
    assert flat_values(other)["data.dev"] == {"pairs": "d"}


# ---- settings


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("training.max_steps=7", "training.max_steps", 7),
        (" training.max_steps = 7 ", "training.max_steps", 7),
        ("training.minutes=2", "training.minutes", 2.0),
        ("training.minutes=1e-2", "training.minutes", 0.01),
        ("data.pretokenised=true", "data.pretokenised", True),
        ("model.norm=pre", "model.norm", "pre"),
        ('model.norm="pre"', "model.norm", "pre"),
        ("data.root=../some/where", "data.root", "../some/where"),
        ("data.root=C:\\data", "data.root", "C:\\data"),
        ("data.root=", "data.root", ""),
        ("data.pattern=IN: (.*) OUT: (.*)", "data.pattern", "IN: (.*) OUT: (.*)"),
        ("data.pattern=a=(b)(c)", "data.pattern", "a=(b)(c)"),
        ('data.dev={ pairs = "x.tsv" }', "data.dev", {"pairs": "x.tsv"}),
        ("data.columns=[[1,3],2]", "data.columns", [[1, 3], 2]),
        ("name=mine", "name", "mine"),
    ],
)
def test_a_setting_is_toml_or_else_a_string(setting: str, key: str, value: object) -> None:
    assert flat_values(built(setting))[key] == value


def test_the_last_setting_wins_and_the_values_stay() -> None:
    values = {"data": {"train": {"pairs": "a"}}, "training": {"seed": 3}}
    before = json.dumps(values)
    assert built("training.seed=4", "training.seed=5", values=values).training.seed == 5
    assert json.dumps(values) == before


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.max_steps", "--set training.max_steps: write it as section.key=value"),
        ("=3", "write it as section.key=value"),
        ("data.train.source=x", "write it as section.key=value"),
        ("max_steps=3", "--set max_steps=3: which section? For instance training.max_steps=..."),
        ("model.d_modle=8", "here: model.d_modle: no such field. Did you mean `d_model`?"),
        ("modle.d_model=8", "here: modle: no such field. Did you mean `model`?"),
        ("training.xyzzy=8", "here: training.xyzzy: no such field."),
        ("model.d_model=8.0", "here: model.d_model = 8.0: Input should be a valid integer."),
        ("model.d_model=true", "here: model.d_model = true: Input should be a valid integer."),
        ('model.d_model="8"', 'here: model.d_model = "8": Input should be a valid integer.'),
        ("training.seed=2020-01-01", 'training.seed = "2020-01-01": Input should be a valid integer.'),
        ("training.seed=-1", "here: training.seed = -1: must be at least 0."),
        ("training.seed=9223372036854775808", "must be below 2^63."),
        ("training.minutes=abc", 'here: training.minutes = "abc": Input should be a valid number.'),
        ("training.minutes=inf", "here: training.minutes = inf: must be finite"),
        ("training.learning_rate=nan", "training.learning_rate = nan: must be above 0"),
        ("training.patience=-1", "training.patience = -1: must be finite and not negative"),
        (
            "training.schedule=cosine",
            "training.schedule = \"cosine\": Input should be 'noam', 'inverse_sqrt' or 'linear'.",
        ),
        ("training.label_smoothing=1.0", "training.label_smoothing = 1.0: at least 0 and below 1."),
        ("batching.max_tokens=0", "batching.max_tokens = 0: must be at least 1."),
        ("model.p_drop=1.5", "model.p_drop = 1.5: a probability"),
        ("training.ema=1", "training.ema = 1.0: at least 0 (off) and below 1"),
        ("training.weight_decay=-1", "training.weight_decay = -1.0: must be finite and not negative"),
        ("training.weight_decay=1429", "training.weight_decay = 1429.0: times the rate (0.0007) it must be below 1"),
        ("training.r_drop=-1", "training.r_drop = -1.0: must be finite and not negative"),
        ("model.n_heads=7", "model.d_model = 512 does not divide into 7 heads. Set model.d_k."),
        ("model.n_heads=0", "model.n_heads = 0: must be at least 1."),
        ("model.norm=sandwich", "model.norm = \"sandwich\": Input should be 'post' or 'pre'."),
        ("tokenizer.size=5", "tokenizer.size = 5: "),
        ("tokenizer.source=words", "One vocabulary has one kind"),
        ("decoding.beam=0", "beam = 0"),
        ("decoding.alpha=nan", "alpha = nan"),
        ("evaluation.metric=blue", "evaluation.metric = 'blue': choose one of bleu,"),
        ("evaluation.tokenize=14a", "tokenize = '14a': no such tokenizer for BLEU. Did you mean '13a'?"),
        ("evaluation.alphas=[1,11]", "evaluation.alphas: alpha = 11.0: must be from 0 (no length penalty) to 10"),
        ("evaluation.sentences=0", "evaluation.sentences = 0: must be at least 1."),
        ("data.max_length=0", "data.max_length = 0: must be at least 1."),
        ("data.augment=101", "data.augment = 101.0: how many to make of a pair"),
        ("data.augment_below=-1", "data.augment_below = -1: a number of training pairs"),
        ("data.placeholders=-1", "data.placeholders = -1.0: how many to make of a pair"),
        ("data.columns=[0,1]", "the first column is number 1"),
        ("data.columns=[1,2,3]", "data.columns = [1, 2, 3]: "),
        ("data.pattern=(", "pattern '(' is not a regular expression"),
        ("data.train=3", "data.train = 3: Input should be an object."),
        ("data.train={}", "data.train.source: missing; every recipe needs it."),
        ("data.train={source='x'}", "data.train.target: missing; every recipe needs it."),
        ("data.train={sorce='x',target='y'}", "data.train.sorce: no such field. Did you mean `source`?"),
        ("data.train={paris='x'}", "data.train.paris: no such field. Did you mean `pairs`?"),
        ("data.train={pairs='x',target='y'}", "data.train.pairs: no such field."),
        ("data.train={source=3,target='y'}", "data.train.source = 3: Input should be a valid string."),
        ("data.train={pairs=3}", "data.train.pairs = 3: Input should be a valid string."),
        (
            "data.train={pairs='{lang}.tsv'}",
            "the path '{lang}.tsv' needs a language. Give one with --set data.lang=...",
        ),
        ("data.train=[]", "data: a set is an empty list. Name files, or leave it out."),
        ("data.train=[{source='x',taget='y'}]", "data.train.0.taget: no such field. Did you mean `target`?"),
        ("data.train=[{pairs='x'},{}]", "data.train.1.source: missing; every recipe needs it."),
        ("data.train=[['s','t']]", "data.train"),
        ("data.train=[3]", "data.train.0 = 3: Input should be an object."),
        ("data.train={pairs='x',tag='d e'}", "tag 'd e': letters, digits, - and _ only"),
        ("data.tags=['1','2','3','4','5','6','7','8','9']", "9 tags (1, 2, 3"),
        ("data.mix_share=0", "data.mix_share = 0.0: must be above 0 and below 1."),
        ("data.normalise=nfd", "data.normalise = \"nfd\": Input should be 'none', 'nfc' or 'nfkc'."),
        ("data.columns=['en','de']", "names are for JSON lines"),
        ("name=3", "here: name = 3: Input should be a valid string."),
        ("name.key=3", 'here: name = {"key": 3}: Input should be a valid string.'),
    ],
)
def test_what_cannot_be_is_one_line_that_names_it(setting: str, message: str) -> None:
    assert message in problem(setting)


def test_a_value_is_no_section() -> None:
    assert problem("name=x", "name.key=3") == "--set name.key=3: name is a value, not a section with keys."


@pytest.mark.parametrize("section", ["data", "tokenizer", "model", "training"])
def test_sections_that_are_values(section: str) -> None:
    assert f"here: {section} = 5: Input should be an object." in problem(values=PAIRS | {section: 5})


def test_a_recipe_needs_its_training_data() -> None:
    assert problem(values={}) == "here: data: missing; every recipe needs it."
    assert problem(values={"data": {}}) == "here: data.train: missing; every recipe needs it."


def test_embeddings_can_only_be_shared_in_one_vocabulary() -> None:
    apart = "tokenizer.joint=false"
    assert "needs one vocabulary. Set tokenizer.joint = true" in problem(apart, "model.share_embeddings=all")
    assert built(apart).model.share_embeddings == "target"
    assert built(apart, "model.share_embeddings=none").model.share_embeddings == "none"
    assert built().model.share_embeddings == "all"


def test_r_drop_compares_what_dropout_makes_different() -> None:
    r_drop = "training.r_drop=5"
    assert "training.r_drop = 5.0: it compares two passes with different dropout" in problem(r_drop, "model.p_drop=0")
    assert built(r_drop, "model.p_drop=0", "model.attention_dropout=0.1").training.r_drop == 5.0


@pytest.mark.parametrize("settings", [["data.pretokenised=true"], ["tokenizer.target=words", "tokenizer.joint=false"]])
def test_pairs_are_made_from_raw_text_only(settings: list[str]) -> None:
    assert "data.augment = 0.1: pairs are made from raw text" in problem("data.augment=0.1", *settings)
    assert built("data.augment=0.1").data.augment == 0.1
    inflected = ["tokenizer.source=tagged", "tokenizer.target=characters", "tokenizer.joint=false"]
    assert built("data.augment=4", *inflected).data.augment == 4
    for other in (settings, inflected):
        assert "data.placeholders = 0.1: they stand in raw text" in problem("data.placeholders=0.1", *other)


def test_learned_positions_must_be_enough() -> None:
    learned = ("model.positions=learned", "data.max_length=20")
    assert "model.max_positions = 20 is too few" in problem(*learned, "model.max_positions=20")
    built(*learned, "model.max_positions=21")


# ---- what follows from what is said


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], (64, 64)),
        (["model.d_model=128"], (16, 16)),
        (["model.n_heads=4"], (128, 128)),
        (["model.d_model=96", "model.n_heads=3"], (32, 32)),
        (["model.d_model=96", "model.n_heads=3", "model.d_k=5"], (5, 32)),
        (["model.d_model=96", "model.n_heads=5", "model.d_k=5", "model.d_v=7"], (5, 7)),
    ],
)
def test_d_k_and_d_v_follow_unless_they_are_said(settings: list[str], expected: tuple[int, int]) -> None:
    model = built(*settings).model
    assert (model.d_k, model.d_v) == expected


# ---- files


def test_paths_have_root_and_language_put_in() -> None:
    data = built('data.train={source="{lang}/a.{lang}", target="b"}', "data.lang=de", "data.root=r").data
    assert data.files(data.train) == AlignedFiles(source=Path("r/de/a.de"), target=Path("r/b"))


def test_columns_of_pairs() -> None:
    data = built("data.columns=[[1,3],2]").data
    expected = PairsFile(pairs=Path("data/a.tsv"), source_columns=(1, 3), target_columns=(2,))
    assert data.files(data.train) == expected


def test_sets_of_several_files_with_tags() -> None:
    sets = "[{ source = 'a', target = 'b', tag = 'de' }, { pairs = 'c.jsonl' }]"
    config = built(
        f"data.train={sets}", "data.dev={ pairs = 'd', tag = 'fr' }", "data.tags=['it']", "data.normalise=nfc"
    )
    assert config.data.files(config.data.train) == Joined(
        parts=(
            AlignedFiles(source=Path("data/a"), target=Path("data/b"), tag="de", normalise="nfc"),
            PairsFile(pairs=Path("data/c.jsonl"), normalise="nfc"),
        )
    )
    assert config.data.known_tags == ("it", "de", "fr")
    assert build_config(tomllib.loads(to_toml(to_values(config))), "here") == config


def test_names_of_fields_and_languages() -> None:
    data = built("data.train={pairs='a.jsonl'}", "data.columns=['t.en',['t.de',2]]", "data.source_lang=en").data
    expected = PairsFile(
        pairs=Path("data/a.jsonl"), source_columns=("t.en",), target_columns=("t.de", 2), languages=("en", "")
    )
    assert data.files(data.train) == expected


def test_an_absolute_path_needs_no_root() -> None:
    data = built("data.train={pairs='/x/a.tsv'}").data
    assert data.files(data.train).pairs == Path("/x/a.tsv")  # type: ignore[union-attr]


def test_a_recipe_file_is_named_after_itself(tmp_path: Path) -> None:
    assert load_recipe(write_recipe(tmp_path)).name == "tiny"
    assert load_recipe(write_recipe(tmp_path), ["name=mine"]).name == "mine"


def test_the_data_root_is_the_recipe_s_or_the_environment_s_or_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = write_recipe(tmp_path, root="mine")
    assert load_recipe("cmudict").data.root == "data"
    monkeypatch.setenv("TRANSDUCE_DATA", "/some where/2020")
    assert load_recipe("cmudict").data.root == "/some where/2020"
    assert load_recipe("cmudict", ["data.root=x"]).data.root == "x"
    assert load_recipe(own).data.root == "mine"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "multi30k_end",
            None,
            "no such recipe file, and none of this name ships with transduce. Did you mean `multi30",
        ),
        (".", None, ".: a folder. Give a recipe: a .toml file, or one of cmudict, "),
        (
            "xyzzy",
            None,
            "There are: cmudict, multi30k_ende, multi30k_ende_conv, multi30k_ende_lstm, multi30k_ende_raw,",
        ),
        ("x.toml", None, "cannot read this recipe ("),
        ("x.toml", b"", "x.toml: data: missing; every recipe needs it."),
        ("x.toml", b"\xff", "cannot read this recipe ("),
        ("x.toml", b"[data\n", "x.toml: not valid TOML: "),
        ("x.toml", b"[data]\ntrain = {pairs = 'a'}\n[data]\n", "x.toml: not valid TOML: "),
        ("x.toml", b"tokenizer = 5\n", "x.toml: "),
    ],
)
def test_recipes_that_are_none(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    recipe = str(path) if name.endswith(".toml") else name
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe)
    assert message in str(caught.value)
    assert str(caught.value).startswith(recipe)
    assert "\n" not in str(caught.value)


def test_toml_says_where() -> None:
    with pytest.raises(ConfigError, match=r"here: not valid TOML: .*line 2"):
        parse_toml("a = 1\nb = \n", "here")


# ---- layer types


def test_a_layer_type_is_named_by_its_kind() -> None:
    config = built("model.layer={ kind = 'convolutional', kernel = 5 }")
    assert config.model.layer == Convolution(kernel=5)
    assert build_config(to_values(config), "here") == config
    assert list(differences(config, built("model.layer={ kind = 'convolutional' }"))) == ["model.layer"]
    assert built().model.layer == Attention()


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (
            "lstm",
            'model.layer = "lstm": write { kind = K }, where K is one of self-attention, recurrent, convolutional, r',
        ),
        ("{ kind = 'lstm' }", 'model.layer = {"kind": "lstm"}: write { kind = K }'),
        ("{ cell = 'lstm' }", 'model.layer = {"cell": "lstm"}: write { kind = K }'),
        ("{ kind = 'recurrent', cel = 'gru' }", "model.layer.cel: no such field. Did you mean `cell`?"),
        ("{ kind = 'recurrent', cell = 'rnn' }", "model.layer.cell = \"rnn\": Input should be 'lstm' or 'gru'"),
        ("{ kind = 'convolutional', kernel = 0 }", "model.layer.kernel = 0: must be at least 1."),
    ],
)
def test_layers_that_cannot_be(layer: str, expected: str) -> None:
    assert expected in problem(f"model.layer={layer}")


def test_columns_for_other_files_are_not_of_a_translation_memory() -> None:
    def columns(train: PairsSet, dev: PairsSet) -> list[tuple[object, object]]:
        data = DataConfig(columns=(2, 1), train=train, dev=dev)
        files = [data.files(part) for part in (train, dev)]
        return [(one.source_columns, one.target_columns) for one in files if isinstance(one, PairsFile)]

    text, memory = PairsSet(pairs="t.tsv"), PairsSet(pairs="m.tmx")
    assert columns(text, memory) == [((2,), (1,)), ((1,), (2,))]
    assert columns(memory, memory) == [((2,), (1,))] * 2, "an error where it is read"
    with pytest.raises(ConfigError, match="--langs"):
        check_formats(DataConfig(columns=(2, 1), train=memory).files(memory))
