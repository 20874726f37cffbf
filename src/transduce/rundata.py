"""What a run is asked, once the files and the model to start from had their say; and its data."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from transduce.bundle import BundleConfig, bundle_folder, load_bundle, load_config
from transduce.checkpoint import saved_steps
from transduce.config import DataConfig, RunConfig
from transduce.data.corpus import Files, Mixed, check_formats, languages_of, paths
from transduce.data.preflight import reasons
from transduce.data.prepare import Prepared, Sources, check_inputs, load_prepared, prepare, with_drawn_pieces
from transduce.errors import CheckpointError, ConfigError, DataError
from transduce.evaluation.metrics import evaluate
from transduce.files import copy_atomically, is_special, sha256, write_json
from transduce.nn.transformer import TransformerConfig
from transduce.plan import Plan, to_values
from transduce.presets import PLACEHOLDERS
from transduce.reporter import Reporter
from transduce.rundir import check_same, is_begun, load_asked, load_chosen, new_data
from transduce.text.tokenizer import Kind, Tokenizer, TokenizerConfig, TokenizerPair

DROPOUTS = ("p_drop", "attention_dropout", "activation_dropout")  # what fine-tuning may change of a model
_REPORT = "data/preflight.json"


def load_report(run: Path) -> dict[str, Any]:
    """The preflight report of `run` as it was saved. Raises `DataError` when there is none, or it is damaged."""
    path = _saved(run, _REPORT)
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: broken ({error}). Start over with --fresh.") from error
    return values


def load_plan(run: Path) -> dict[str, Any] | None:
    """The plan of `run` as it was saved; None before it is made, and where an earlier version made none. Raises
    `DataError` when it is damaged."""
    plan: dict[str, Any] | None = load_report(run).get("plan") if (run / _REPORT).is_file() else None
    return plan


def save_plan(run: Path, plan: Plan) -> None:
    """Keep `plan` with the preflight report (which an earlier version did not write)."""
    if (run / _REPORT).is_file():
        write_json(run / _REPORT, load_report(run) | {"plan": to_values(plan)})


def check_asked(config: RunConfig, list_dropped: Path | None) -> None:
    """What would otherwise be known only when data is prepared, or after the first steps.

    Raises:
        ConfigError: outputs cannot be scored here, for BLEU's tokenizer is not installed; a file is a pipe or a device,
            and can be read once only; the list of what is left out would replace a file that is read.
    """
    evaluate(["a"], [["a"]], [config.evaluation.metric], config.evaluation.tokenize)
    d = config.data
    read = [path for part in (d.train, d.dev, d.test, d.mix) if part is not None for path in paths(d.files(part))]
    for path in read:
        with suppress(OSError):  # reading it will say what is wrong
            check_is_file(path)
            if list_dropped is not None and list_dropped.exists() and list_dropped.samefile(path):
                raise ConfigError(f"{list_dropped}: the data is read from this file. Give the list another name.")


def check_is_file(path: Path) -> None:
    """Raise `ConfigError` for a pipe or a device."""
    if is_special(path):
        raise ConfigError(
            f"{path}: this is a pipe or a device, and data is read several times. Write it to a file first."
        )


def copy_dropped(run: Path, to: Path) -> None:
    """The list of the pairs of `run` that are not trained on, as a file at `to`.

    Raises:
        DataError: there is none.
        SaveError: `to` cannot be written.
    """
    copy_atomically(dropped_list(run), to)


def dropped_list(run: Path) -> Path:
    """Where the list of the pairs of `run` that are not trained on is. Raises `DataError` where there is none."""
    return _saved(run, "data/dropped.tsv")


def _saved(run: Path, name: str) -> Path:
    path = run / name
    if not path.is_file():
        raise DataError(f"{path}: not there; the data was prepared by an earlier version. Start over with --fresh.")
    return path


def begin(
    config: RunConfig, run: Path, fresh: bool, start_from: str | Path | None, say: Callable[[str], None]
) -> tuple[RunConfig, Path | None, bool]:
    """The settings that `run` will have; the model that it starts from, if any; whether it goes on.

    Raises:
        BundleError: `start_from` is not a model.
        CheckpointError: `run` can neither go on nor start.
        ConfigError: `start_from` is in the folder of a run that starts (over).
        DataError: the files do not say what languages they are in.
    """
    continued = continues(run, fresh)
    before = load_chosen(run) if continued else None
    if before is not None and before.start_from and saved_steps(run):  # its checkpoints have all that it began with
        origin = _named(before.start_from, start_from)
        config = _as_begun(config, load_asked(run))
    else:
        origin = None if start_from is None else bundle_folder(Path(start_from))
        config = config if origin is None else _take_over(config, origin)
    if origin is not None and not continued and origin.resolve().is_relative_to(run.resolve()):
        raise ConfigError(f"{run}: the model to start from is in it, and would be deleted. Choose another --out.")
    return _with_languages(config, run if continued else None, say), origin, continued


def _named(origin: str, start_from: str | Path | None) -> Path | None:
    """The model that `start_from` names; as it was named before where it is `origin`, which may be gone."""
    if start_from is None:
        return None
    named = Path(start_from)
    if Path(origin).resolve() in (named.resolve(), (named / "model").resolve()):
        return Path(origin)
    return bundle_folder(named)


def _as_begun(config: RunConfig, begun: RunConfig) -> RunConfig:
    """`config`, with what a run that began from a model has of it (`_take_over`)."""
    asked, data = config.tokenizer, begun.data
    pieces = replace(begun.tokenizer, dropout=asked.dropout, sampling=asked.sampling)
    return _keeping(config, begun.model, pieces, data, data.placeholders, data.tags)


def continues(run: Path, fresh: bool) -> bool:
    """Whether `run` goes on, or starts (over). Raises `CheckpointError` when neither is possible."""
    if is_begun(run) and not fresh:
        return True
    if not fresh and (saved_steps(run) or (run / "model").exists()):
        what = "checkpoints" if saved_steps(run) else "a model"
        raise CheckpointError(
            f"{run}: has {what}, but no recipe.toml. Put it back, choose another --out, or delete all with --fresh."
        )
    return False


def make_data(run: Path, config: RunConfig, origin: Path | None, continued: bool, reporter: Reporter) -> None:
    """The data of `run`, prepared; or, for one that goes on, checked to be of this recipe and these files.

    Raises:
        ConfigError: `run` was begun with other settings.
        DataError: a file cannot be read, or has changed; no pair is left.
        SaveError: the data cannot be written; an earlier run is as it was.
    """
    if continued:
        manifest = load_prepared(run / "data").manifest
        check_inputs(manifest)
        began = manifest.get("start_from", "")
        if began and origin is None and load_chosen(run) is None:
            raise ConfigError(
                f"{run}: its data was prepared to start from {began}. Give --from {began}, or start over with --fresh."
            )
        check_same(run, config)
    else:
        if config.data.test is not None:  # which is read when all is done
            check_formats(config.data.files(config.data.test))
        tokenizer = config.tokenizer if origin is None else _tokenizers(config, origin)
        with new_data(run) as data:  # bad input is known before anything that stood here is gone
            preflight = prepare(data, sources(config), tokenizer, reporter.say, reporter.tokenised)
            if origin is not None:
                manifest = json.loads((data / "manifest.json").read_text(encoding="utf-8"))
                began = {"start_from": str(origin), "start_from_sha256": sha256(origin / "model.safetensors")}
                write_json(data / "manifest.json", manifest | began)
        reporter.surveyed(preflight)


def load_data(run: Path, config: RunConfig) -> Prepared:
    """The data of `run` as it is trained on."""
    prepared = load_prepared(run / "data")
    return with_drawn_pieces(prepared, config.tokenizer, max_length=config.data.max_length, seed=config.training.seed)


def sources(config: RunConfig) -> Sources:
    """The inputs of `prepare` that a recipe names."""
    d = config.data
    train: Files = d.files(d.train)
    if d.mix is not None:
        train = Mixed(new=train, old=d.files(d.mix), share=d.mix_share, seed=config.training.seed)
    return Sources(
        train=train,
        dev=None if d.dev is None else d.files(d.dev),
        test=None if d.test is None else d.files(d.test),
        pretokenised=d.pretokenised,
        max_length=d.max_length,
        seed=config.training.seed,
        cleaning=config.cleaning,
        tags=d.known_tags,
        augment=d.augment,
        augment_below=d.augment_below,
        placeholders=d.placeholders,
        inflected=config.tokenizer.source == "tagged",
    )


def describe(config: RunConfig, prepared: Prepared) -> str:
    """What is going to be trained on, and judged by."""
    train, dev = prepared.manifest["train"], prepared.manifest["dev"]
    held_out = ", held out of the training files (data/dev.jsonl)" if dev["held_out_of_train"] else ""
    left_out = reasons(train) or "none"
    made = f" and {train['made']:,} made from them" if train.get("made") else ""
    return (
        f"{train['kept']:,} training pairs{made} (left out: {left_out}), {dev['pairs']:,} dev pairs{held_out}; "
        f"judged by {config.evaluation.metric}"
    )


def _take_over(config: RunConfig, origin: Path) -> RunConfig:
    """`config`, with what fine-tuning keeps of the model before; its tags come first, for they keep their pieces."""
    before, asked = load_config(origin), config.tokenizer
    pieces = replace(asked, **own_pieces(origin, asked.source, asked.target))
    tags = tuple(dict.fromkeys([*before.tags, *config.data.known_tags]))
    return _keeping(config, before.model, pieces, before, PLACEHOLDERS if before.placeholders else 0.0, tags)


def _keeping(
    config: RunConfig,
    model: TransformerConfig,
    pieces: TokenizerConfig,
    before: DataConfig | BundleConfig,
    placeholders: float,
    tags: tuple[str, ...],
) -> RunConfig:
    """`config` with the architecture (but for dropout), vocabulary, tags and normal form of the model before, and its
    placeholders and languages where no others are given."""
    data = config.data
    return replace(
        config,
        model=replace(model, **{name: getattr(config.model, name) for name in DROPOUTS}),
        tokenizer=pieces,
        data=replace(
            data,
            pretokenised=before.pretokenised,
            normalise=before.normalise,
            source_lang=data.source_lang or before.source_lang,
            target_lang=data.target_lang or before.target_lang,
            placeholders=data.placeholders or placeholders,
            tags=tags,
        ),
    )


def own_pieces(origin: Path, source: Kind, target: Kind) -> dict[str, Any]:
    """Of which kinds the vocabulary of a model is, and whether both sides share it, as settings have it; of the kinds
    asked for where it cannot tell."""
    own = TokenizerPair.load(origin)
    source, target = kinds_of(own)(source, target)
    return {"source": source, "target": target, "joint": own.joint}


def kinds_of(own: TokenizerPair) -> Callable[[Kind, Kind], tuple[Kind, Kind]]:
    """What says of which kinds the pieces of a model are, for those asked for."""

    def kinds(source: Kind, target: Kind) -> tuple[Kind, Kind]:
        source = _kind(own.source, source)
        return source, source if own.joint else _kind(own.target, target)

    return kinds


def _kind(tokenizer: Tokenizer, asked: Kind) -> Kind:
    """The kind of a tokenizer: its own, where it can be told."""
    own = tokenizer.kind_of_draws
    if own != "none":
        return own
    return "characters" if asked in ("bpe", "unigram") else asked


def _tokenizers(config: RunConfig, origin: Path) -> TokenizerPair:
    """The vocabulary of the model to start from, with the tags of both."""
    before = load_bundle(origin, torch.device("cpu")).tokenizers
    return TokenizerPair(before.source, before.target, config.data.known_tags)


def _with_languages(config: RunConfig, begun: Path | None, say: Callable[[str], None]) -> RunConfig:
    """Where nobody says which languages a translation memory is read in: those that it has, or the run has had."""
    if config.data.source_lang or config.data.target_lang:
        return config
    if begun is not None:
        data = load_asked(begun).data
        source, target = data.source_lang, data.target_lang
    else:
        source, target = languages_of(config.data.files(config.data.train))
        if source:
            say(f"languages: from {source} to {target}, as the translation memory has them (--langs says otherwise)")
    return replace(config, data=replace(config.data, source_lang=source, target_lang=target))
