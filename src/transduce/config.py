"""A run's settings: one flat TOML file, checked strictly, every value in one frozen record."""

import difflib
import json
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import TypeAdapter, ValidationError

from transduce.data.cleaning import CleaningConfig
from transduce.data.corpus import AlignedFiles, Files, Joined, PairsFile
from transduce.data.formats import format_of
from transduce.decoding.beam import BeamConfig
from transduce.decoding.translator import DecodingConfig
from transduce.errors import ConfigError
from transduce.evaluation.metrics import METRICS
from transduce.evaluation.statistics import check_tokenizer
from transduce.nn.transformer import LAYERS, TransformerConfig
from transduce.text.form import Normal, check_tags
from transduce.text.tokenizer import TokenizerConfig
from transduce.training.trainer import BatchingConfig, TrainingConfig
from transduce.training.world import environment

Column = int | str | tuple[int | str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignedSet:
    """Two files, line by line translations of each other; paths relative to `data.root`. `tag` goes before sources."""

    source: str
    target: str
    tag: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairsSet:
    """One file of pairs; path relative to `data.root`. `tag` goes before sources. `columns` are its own, where they are
    not those of `data`."""

    pairs: str
    tag: str = ""
    columns: tuple[Column, Column] | None = None  # None: those of `data`, which are for all sets


OneSet = AlignedSet | PairsSet
DataSet = AlignedSet | PairsSet | tuple[OneSet, ...]
Tags = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Where the data is. A set is one source of pairs or a list of them; one left out is absent: without `dev`, part of
    `train` is held out.

    `{lang}` in a path stands for `lang`. `columns` are source and target in pairs files, counted from 1 (or names, in
    JSON lines), each one or several to be joined; `pattern` is a regular expression whose groups are the columns,
    instead of tabs. Pairs with a side over `max_length` pieces are left out of training. For a share `augment` of the
    training pairs one more is made: of raw text, so that the model also takes single words, capitals, addresses; of
    lemmas with tags, with other stems. If `augment_below` is above 0, only where there are fewer pairs than that in the
    training files, copies not counted. For a share `placeholders` one is made in which words are placeholders; where it
    is above 0, the model translates addresses, numbers and the like by them, so that they are kept.
    `mix` is older data, which `mix_share` of the training pairs are taken from. `tags` are those that stand in front
    of sources in the files, beside those that sets put there.
    """

    root: str = "data"
    lang: str = ""
    train: DataSet
    dev: DataSet | None = None
    test: DataSet | None = None
    mix: DataSet | None = None
    mix_share: float = 0.2
    columns: tuple[Column, Column] = (1, 2)
    pattern: str = ""
    tags: Tags = ()
    pretokenised: bool = False
    normalise: Normal = "none"
    max_length: int = 256
    augment: float = 0.0
    augment_below: int = 0
    placeholders: float = 0.0
    source_lang: str = ""
    target_lang: str = ""

    def __post_init__(self) -> None:
        if self.max_length < 1:
            raise ConfigError(f"data.max_length = {self.max_length}: must be at least 1.")
        for key, made in (("augment", self.augment), ("placeholders", self.placeholders)):
            if not 0.0 <= made <= 100.0:
                raise ConfigError(f"data.{key} = {made}: how many to make of a pair on average, from 0 to 100.")
        if self.augment_below < 0:
            raise ConfigError(f"data.augment_below = {self.augment_below}: a number of training pairs, or 0 for any.")
        if not 0 < self.mix_share < 1:
            raise ConfigError(f"data.mix_share = {self.mix_share}: must be above 0 and below 1.")
        check_tags(self.known_tags)
        for part in (self.train, self.dev, self.test, self.mix):
            if part is not None:
                self.files(part)

    @property
    def known_tags(self) -> Tags:
        """`tags`, then those of the sets, each once: in this order they have their pieces."""
        return tuple(dict.fromkeys([*self.tags, *(one.tag for one in self._sets if one.tag)]))

    @property
    def _sets(self) -> list[OneSet]:
        given = [part for part in (self.train, self.dev, self.test, self.mix) if part is not None]
        return [one for part in given for one in (part if isinstance(part, tuple) else (part,))]

    def files(self, part: DataSet) -> Files:
        """The files of one set, with `root` and `lang` filled in. Raises `ConfigError` on what cannot be."""
        if isinstance(part, tuple):
            if not part:
                raise ConfigError("data: a set is an empty list. Name files, or leave it out.")
            return Joined(parts=tuple(self._files(one) for one in part))
        return self._files(part)

    def _files(self, part: OneSet) -> AlignedFiles | PairsFile:
        match part:
            case AlignedSet():
                source, target = self._path(part.source), self._path(part.target)
                return AlignedFiles(source=source, target=target, tag=part.tag, normalise=self.normalise)
            case PairsSet():
                columns = part.columns or ((1, 2) if self._has_sides_of_its_own(part) else self.columns)
                sides = [column if isinstance(column, tuple) else (column,) for column in columns]
                return PairsFile(
                    pairs=self._path(part.pairs),
                    source_columns=sides[0],
                    target_columns=sides[1],
                    pattern=self.pattern,
                    languages=(self.source_lang, self.target_lang),
                    tag=part.tag,
                    normalise=self.normalise,
                )

    def _has_sides_of_its_own(self, part: PairsSet) -> bool:
        """Whether `part` is a translation memory, whose languages have names, and `columns` are for other files."""

        def is_memory(one: PairsSet) -> bool:
            return format_of(Path(one.pairs)) == "tmx"

        return is_memory(part) and not all(is_memory(one) for one in self._sets if isinstance(one, PairsSet))

    def _path(self, path: str) -> Path:
        if "{lang}" in path and not self.lang:
            raise ConfigError(f"data: the path {path!r} needs a language. Give one with --set data.lang=...")
        return Path(self.root) / path.replace("{lang}", self.lang)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """How quality is measured while training: `metric`, by decoding `sentences` inputs of the dev set. In the end the
    model is tried with the length penalties `alphas` too, and keeps the best of them as its own. Lines with the same
    source are references of one input, any of which is right; `by_line`, each is an input with one reference.
    """

    metric: str = "bleu"
    tokenize: str = "13a"
    sentences: int = 500
    by_line: bool = False
    alphas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        try:
            for alpha in self.alphas:
                BeamConfig(alpha=alpha)
        except ConfigError as error:
            raise ConfigError(f"evaluation.alphas: {error}") from error
        if self.metric not in METRICS:
            raise ConfigError(f"evaluation.metric = {self.metric!r}: choose one of {', '.join(METRICS)}.")
        check_tokenizer(self.tokenize)
        if self.sentences < 1:
            raise ConfigError(f"evaluation.sentences = {self.sentences}: must be at least 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Everything that decides what a run computes. `name` is the recipe's, and names the run directory."""

    name: str = ""
    data: DataConfig
    cleaning: CleaningConfig = field(default_factory=CleaningConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: TransformerConfig = field(default_factory=TransformerConfig)
    batching: BatchingConfig = field(default_factory=BatchingConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        if self.model.share_embeddings == "all" and not self.tokenizer.joint:
            raise ConfigError(
                "model.share_embeddings = 'all' needs one vocabulary. "
                "Set tokenizer.joint = true, or model.share_embeddings = 'target' (or 'none')."
            )
        text = {self.tokenizer.source, self.tokenizer.target} <= {"bpe", "unigram"} and not self.data.pretokenised
        inflected = (self.tokenizer.source, self.tokenizer.target) == ("tagged", "characters")
        if self.data.augment > 0 and not (text or inflected):
            raise ConfigError(
                f"data.augment = {self.data.augment}: pairs are made from raw text, in bpe or unigram pieces on both "
                "sides, or from tagged words to forms in characters. Set data.augment = 0."
            )
        if self.data.placeholders > 0 and not text:
            raise ConfigError(
                f"data.placeholders = {self.data.placeholders}: they stand in raw text, in bpe or unigram pieces on "
                "both sides. Set data.placeholders = 0."
            )
        m = self.model
        if self.training.r_drop > 0 and m.p_drop == m.attention_dropout == m.activation_dropout == 0:
            raise ConfigError(
                f"training.r_drop = {self.training.r_drop}: it compares two passes with different dropout, but there "
                "is none. Set model.p_drop above 0, or training.r_drop = 0."
            )
        if self.model.positions == "learned" and self.model.max_positions < self.data.max_length + 1:
            raise ConfigError(
                f"model.max_positions = {self.model.max_positions} is too few for sentences of data.max_length = "
                f"{self.data.max_length} pieces and their end symbol."
            )


def recipe_names() -> list[str]:
    """Names of the recipes that ship with the package."""
    folder = resources.files("transduce") / "recipes"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def recipe_text(recipe: str) -> tuple[str, str]:
    """Name and TOML text of `recipe`: a file, or the name of one that ships with the package.

    Raises:
        ConfigError: neither; names the nearest.
    """
    path = Path(recipe)
    if recipe.endswith(".toml") or path.is_file():
        try:
            return path.stem, path.read_text(encoding="utf-8-sig")  # some editors put a mark in front
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot read this recipe ({error}).") from error
    names = recipe_names()
    if recipe in names:
        return recipe, (resources.files("transduce") / "recipes" / f"{recipe}.toml").read_text(encoding="utf-8")
    if path.is_dir():
        raise ConfigError(f"{recipe}: a folder. Give a recipe: a .toml file, or one of {', '.join(names)}.")
    raise ConfigError(
        f"{recipe}: no such recipe file, and none of this name ships with transduce.{_nearest(recipe, names)} "
        f"There are: {', '.join(names)}."
    )


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """TOML to plain values. Raises `ConfigError` with the line."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        hint = (
            ""
            if Path(where).suffix in (".toml", "")
            else " Data without a recipe: --pairs F, or --source F --target F."
        )
        raise ConfigError(f"{where}: not valid TOML: {error}.{hint}") from error


def apply_settings(values: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """`values` with `section.key=value` settings put in. A value is TOML; what is not TOML is taken as a string.

    Raises:
        ConfigError: a setting without a section, a key or a value; one alone, which would be read letter by letter.
    """
    if isinstance(settings, str):
        raise ConfigError(f"A setting, where a list of settings is wanted. Write [{settings!r}].")
    out = json.loads(_json(values))
    for setting in settings:
        key, equals, text = setting.partition("=")
        match = re.fullmatch(r"\s*(?:(\w+)\.)?(\w+)\s*", key)
        if not equals or match is None:
            raise ConfigError(f"--set {setting}: write it as section.key=value, for instance training.max_steps=1000.")
        section, name = match[1], match[2]
        if section is None and name != "name":
            raise ConfigError(f"--set {setting}: which section? For instance training.{name}=... or model.{name}=...")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        if section is None:
            out[name] = value
        elif isinstance(out.setdefault(section, {}), dict):
            out[section][name] = value
        else:
            raise ConfigError(f"--set {setting}: {section} is a value, not a section with keys.")
    return out  # type: ignore[no-any-return]


def derive(values: dict[str, Any]) -> dict[str, Any]:
    """Fill in what follows from what was said: d_k = d_v = d_model / h (section 3.2.2), and the sharing of embeddings
    that the vocabularies allow. What is said stays."""
    model, tokenizer = values.get("model", {}), values.get("tokenizer", {})
    if not (isinstance(model, dict) and isinstance(tokenizer, dict)):
        return values  # `build_config` says what is wrong with them
    model = dict(model)
    if "d_model" in model or "n_heads" in model:
        d_model, heads = model.get("d_model", 512), model.get("n_heads", 8)
        if type(d_model) is int and type(heads) is int and heads > 0:
            for key in ("d_k", "d_v"):
                if key not in model and d_model % heads:
                    raise ConfigError(f"model.d_model = {d_model} does not divide into {heads} heads. Set model.{key}.")
                model.setdefault(key, d_model // heads)
    if tokenizer.get("joint") is False:
        model.setdefault("share_embeddings", "target")
    return values | {"model": model}


def check_types(asked: Mapping[str, Any], where: str) -> None:
    """Raise `ConfigError` for a value of another type than its setting has, whatever else its section lacks. What is
    unknown, and what a section says as a whole, is left to `build_config`."""
    kinds = typing.get_type_hints(RunConfig)
    values: dict[str, Any] = {}
    for key, value in asked.items():
        if isinstance(value, dict) and is_dataclass(kinds.get(key)):
            kinds |= {f"{key}.{name}": kind for name, kind in typing.get_type_hints(kinds[key]).items()}
            values |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            values[key] = value
    for key, value in values.items():
        if key in kinds and key != "model.layer":
            try:
                TypeAdapter(kinds[key]).validate_json(_json(value), strict=True)
            except ValidationError as error:
                raise ConfigError(f"{where}: {_first_problem(error, value, key)}") from error


def build_config(values: Mapping[str, Any], where: str) -> RunConfig:
    """A checked `RunConfig` from plain values.

    Raises:
        ConfigError: an unknown key (names the nearest), a missing one, a wrong type or an impossible value.
    """
    try:
        _check_layer(values)
        return _ADAPTER.validate_json(_json(values), strict=True, extra="forbid")
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first_problem(error, values)}") from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def load_recipe(recipe: str | Path, settings: Sequence[str] = ()) -> RunConfig:
    """The recipe `recipe` (a TOML file, or a name such as `multi30k_ende`) with `section.key=value` settings.

    Where nothing says what `data.root` is, it is `$TRANSDUCE_DATA`, or else `data`.

    Raises:
        ConfigError: not found, or not a valid recipe.
    """
    name, text = recipe_text(str(recipe))
    values = apply_settings(parse_toml(text, str(recipe)), settings)
    values.setdefault("name", name)
    root = environment().get("TRANSDUCE_DATA")
    if root and isinstance(values.get("data"), dict):
        values["data"].setdefault("root", root)
    return build_config(derive(values), str(recipe))


def to_values(config: RunConfig) -> dict[str, Any]:
    """`config` as plain values that TOML can hold: what `build_config` takes."""
    plain: dict[str, Any] = _said(json.loads(_ADAPTER.dump_json(config)))
    return plain


def to_toml(values: Mapping[str, Any]) -> str:
    """Plain values as TOML text."""
    return tomli_w.dumps(values)


def flat_values(config: RunConfig) -> dict[str, Any]:
    """Every value under its `section.key`."""
    flat: dict[str, Any] = {}
    for section, inner in to_values(config).items():
        if isinstance(inner, dict):
            flat |= {f"{section}.{key}": value for key, value in inner.items()}
        else:
            flat[section] = inner
    return flat


def differences(a: RunConfig, b: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Keys, as `section.key`, in which two configs differ, and both values, None for an absent one."""
    left, right = flat_values(a), flat_values(b)
    both = {key: (left.get(key), right.get(key)) for key in sorted(left.keys() | right.keys())}
    return {key: (old, new) for key, (old, new) in both.items() if old != new}


_ADAPTER = TypeAdapter(RunConfig)
_LAYER_KINDS = {layer.__name__: kind for kind, layer in LAYERS.items()}
_SET_KEYS = ("source", "target", "pairs")


def _json(values: Any) -> str:
    return json.dumps(values, default=str)  # TOML has dates, and no setting is one: a string gets the error it should


def _check_layer(values: Mapping[str, Any]) -> None:
    """A layer type is named by its kind. Raises `ConfigError` where it is not."""
    model = values.get("model")
    if not isinstance(model, dict) or "layer" not in model:
        return
    layer = model["layer"]
    kind = layer.get("kind") if isinstance(layer, dict) else None
    if kind not in LAYERS:
        given = json.dumps(layer, ensure_ascii=False, default=str)[:80]
        raise ConfigError(f"model.layer = {given}: write {{ kind = K }}, where K is one of {', '.join(LAYERS)}.")


def _said(value: Any) -> Any:
    """`value` without what TOML cannot say (`None`), and tags that are none."""
    if isinstance(value, dict):
        return {k: _said(v) for k, v in value.items() if v is not None and (k, v) != ("tag", "")}
    if isinstance(value, list):
        return [_said(v) for v in value]
    return value


def _first_problem(error: ValidationError, values: Any, inside: str = "") -> str:
    """One line about the first error, unknown keys before the trouble they cause elsewhere. `values` may be those
    `inside` a key."""
    problems = [p for p in error.errors(include_url=False) if _is_meant(p["loc"], values)]
    unknown = [p for p in problems if p["type"] in ("unexpected_keyword_argument", "extra_forbidden")]
    problem = (unknown or problems or error.errors(include_url=False))[0]
    place = [*filter(None, [inside]), *(str(part) for part in problem["loc"] if not _is_kind(part))]
    key = ".".join(place)
    if unknown:
        return f"{key}: no such field.{_nearest(place[-1], _known_keys(place[:-1]))}"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"] in ("missing", "missing_argument"):
        return f"{key}: missing; every recipe needs it."
    return f"{key} = {json.dumps(problem['input'], ensure_ascii=False)[:80]}: {problem['msg']}."


def _is_meant(place: Sequence[int | str], values: Any) -> bool:
    """Whether an error is about the kind of data set, or layer, that was given: pydantic tells what is wrong with it as
    any of them."""
    given: Any = values
    for part in place:
        if isinstance(part, str) and part.startswith("tuple[union["):
            if not isinstance(given, list):
                return False
            continue
        if part in ("AlignedSet", "PairsSet"):
            if isinstance(given, list):
                return False
            sides = [key for key in _SET_KEYS if isinstance(given, dict) and key in given]
            return part == ("PairsSet" if sides == ["pairs"] else "AlignedSet")
        if part in _LAYER_KINDS:
            return isinstance(given, dict) and given.get("kind") == _LAYER_KINDS[part]
        if isinstance(part, int):
            given = given[part] if isinstance(given, list) and part < len(given) else None
        else:
            given = given.get(part) if isinstance(given, dict) else None
    return True


def _is_kind(part: int | str) -> bool:
    """Whether a part of pydantic's places is its name for one of several kinds, and no key."""
    return str(part).endswith("Set") or str(part).startswith("tuple[") or part in _LAYER_KINDS


def _known_keys(place: Sequence[str]) -> list[str]:
    kind: Any = RunConfig
    for part in place:
        hints = typing.get_type_hints(kind) if is_dataclass(kind) else {}
        kind = hints.get(part)
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            return [f.name for arm in typing.get_args(kind) if is_dataclass(arm) for f in fields(arm)]
    return [f.name for f in fields(kind)] if is_dataclass(kind) else []


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, [k for k in known if k != name], n=1, cutoff=0.5)
    return f" Did you mean `{close[0]}`?" if close else ""
