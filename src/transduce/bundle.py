"""The model directory that people ship: config.json, model.safetensors, tokenizer, model card. Never pickle."""

import dataclasses
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from transduce.errors import BundleError, ConfigError
from transduce.files import atomic_folder, for_others, write_json
from transduce.nn.transformer import Transformer, TransformerConfig, build, layer_from
from transduce.shapes import Tensor
from transduce.text.form import Normal
from transduce.text.pieces import IDS
from transduce.text.tokenizer import TokenizerPair

FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleConfig:
    """config.json: what is needed to use the model, and what to say about its outputs.

    `max_length` is the longest source the model was trained on, in pieces. At most one in a thousand targets that it
    was trained on has over `usual_extra` pieces more than the source (None: nobody counted). `metric` and `tokenize`
    are the ones its quality is quoted in, `by_line` whether each line of a test set is then an input of its own.
    `pretokenised` says that its text has spaces between tokens, `normalise` which normal form of Unicode it reads and
    writes. `tags` may stand in front of a source, as `>>de<<`.
    `placeholders` says that the model was shown them, so that numbers, addresses and the like can go through it as
    such. `tokenizers` are the SHA-256 of the tokenizer files of source and target, which `save_bundle` fills in: a
    truncated one may still look whole.
    """

    model: TransformerConfig
    source_size: int
    target_size: int
    max_length: int
    beam: int = 4
    alpha: float = 0.6
    extra_length: int = 50
    usual_extra: int | None = None
    source_lang: str = ""
    target_lang: str = ""
    pretokenised: bool = False
    normalise: Normal = "none"
    tags: Sequence[str] = ()
    placeholders: bool = False
    metric: str = "bleu"
    tokenize: str = "13a"
    by_line: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)
    tokenizers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model in memory with everything that travels with it."""

    config: BundleConfig
    model: Transformer
    tokenizers: TokenizerPair


def unique_weights(model: Transformer) -> dict[str, Tensor]:
    """Every weight once: shared embeddings are one tensor under their first name."""
    return {name: p.detach() for name, p in model.named_parameters()}  # leaves duplicates out


def load_weights_into(model: Transformer, weights: Mapping[str, Tensor], where: object) -> None:
    """Copy `weights` (as `unique_weights` gives them) into `model`. Raises `BundleError` naming what does not fit."""
    own = dict(model.named_parameters())
    for name in sorted(own.keys() ^ weights.keys()):
        verb = "lacks" if name in own else "has an unknown"
        raise BundleError(f"{where}: {verb} weight {name}. It was made for another architecture.")
    with torch.no_grad():
        for name, parameter in own.items():
            if parameter.shape != weights[name].shape:
                raise BundleError(
                    f"{where}: weight {name} is {tuple(weights[name].shape)}, the config asks for "
                    f"{tuple(parameter.shape)}. Weights and config do not belong together."
                )
            parameter.copy_(weights[name])


def save_bundle(
    path: Path, config: BundleConfig, weights: Mapping[str, Tensor], tokenizers: TokenizerPair, card: str
) -> None:
    """Write the folder whole or not at all; a bundle that stood there is replaced. `card` is its README.md.

    Raises:
        BundleError: `path` is something else, which is left alone.
        SaveError: the disk is full or not writable.
    """
    if path.exists() and not is_bundle(path) and not _is_empty_folder(path):
        raise BundleError(f"{path}: exists, and is not a model of transduce. Choose another place, or delete it first.")
    with atomic_folder(path) as folder:
        ids = {"pad": IDS.pad, "unk": IDS.unk, "bos": IDS.bos, "eos": IDS.eos}
        config = replace(config, tokenizers=tokenizers.hashes(), tags=tokenizers.tags)
        write_json(folder / "config.json", {"format": FORMAT, "special_ids": ids} | asdict(config))
        try:
            save_file({n: w.cpu().contiguous() for n, w in weights.items()}, folder / "model.safetensors")
            for_others(folder / "model.safetensors")
        except SafetensorError as error:  # its I/O errors (a full disk) are not OSErrors
            raise OSError(None, str(error)) from error
        tokenizers.save(folder)
        (folder / "README.md").write_text(card, encoding="utf-8")


def is_bundle(path: Path) -> bool:
    """Whether `path` is a folder that `save_bundle` wrote, of whatever version; others have a `config.json` too."""
    config = path / "config.json"
    return config.is_file() and b'"special_ids"' in config.read_bytes()


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and next(path.iterdir(), None) is None


def bundle_folder(path: Path) -> Path:
    """`path` if it is a BUNDLE, its `model/` if it is a RUN.

    Raises:
        BundleError: neither.
    """
    for folder in (path, path / "model"):
        if (folder / "config.json").is_file():
            return folder
    if not path.exists():
        raise BundleError(f"{path}: no such folder. Give a model directory, or the run directory that holds one.")
    if (path / "checkpoints").is_dir():
        average = f"transduce average {shlex.quote(str(path))} --last 1"
        raise BundleError(f"{path}: this run has no model yet. Continue it, or make one with `{average}`.")
    raise BundleError(f"{path}: no config.json here, nor in {path / 'model'}: not a model of transduce.")


def load_config(folder: Path) -> BundleConfig:
    """config.json of a bundle. Raises `BundleError` when it is broken or made by a newer version."""
    path = folder / "config.json"
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if fields.pop("format") != FORMAT:
            raise BundleError(f"{path}: format other than {FORMAT}. Use the version of transduce that made it.")
        fields.pop("special_ids")
        model: dict[str, Any] = fields.pop("model")
        layer = layer_from(model.pop("layer", {"kind": "self-attention"}))
        tags = tuple(fields.pop("tags", ()))
        if unknown := fields.keys() - {field.name for field in dataclasses.fields(BundleConfig)}:
            raise BundleError(
                f"{path}: made by a newer version of transduce, with {', '.join(sorted(unknown))}. Update this one."
            )
        _check_kinds(fields)
        return BundleConfig(model=TransformerConfig(**model, layer=layer), tags=tags, **fields)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise BundleError(f"{path}: truncated, or not a model of transduce ({error}).") from error


def _check_kinds(fields: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a value that is not of its setting's kind."""
    kinds: dict[str, tuple[type, ...]] = {"alpha": (int, float), "usual_extra": (int, NoneType)}
    kinds |= dict.fromkeys(("source_size", "target_size", "max_length", "beam", "extra_length"), (int,))
    kinds |= dict.fromkeys(("source_lang", "target_lang", "normalise", "metric", "tokenize"), (str,))
    kinds |= dict.fromkeys(("pretokenised", "placeholders", "by_line"), (bool,))
    kinds |= dict.fromkeys(("provenance", "tokenizers"), (dict,))
    for name, value in fields.items():
        is_other = not isinstance(value, kinds[name]) or (isinstance(value, bool) and bool not in kinds[name])
        if is_other or (name == "max_length" and value < 1) or (name == "normalise" and value not in get_args(Normal)):
            raise ValueError(f"{name} = {value!r}")


def load_bundle(path: Path, device: torch.device) -> Bundle:
    """The model at `path` (a BUNDLE or a RUN), ready for evaluation on `device`.

    Raises:
        BundleError: missing, truncated or foreign files; weights that do not fit the config.
    """
    folder = bundle_folder(path)
    config = load_config(folder)
    tokenizers = TokenizerPair.load(folder, config.tags)
    for side, found_hash in tokenizers.hashes().items():
        if config.tokenizers.get(side, found_hash) != found_hash:
            name = "tokenizer.model" if tokenizers.joint else f"{side}.model"
            raise BundleError(f"{folder / name}: not the file that this model was saved with. Copy the folder again.")
    sizes, found = (config.source_size, config.target_size), (tokenizers.source.size, tokenizers.target.size)
    if sizes != found:
        raise BundleError(
            f"{folder / 'config.json'}: says {sizes} pieces (source, target), the tokenizers beside it have {found}. "
            f"They do not belong together: copy the whole folder again."
        )
    file = folder / "model.safetensors"
    if file.is_file() and not os.access(file, os.R_OK):
        raise BundleError(f"{file}: you may not read it. Ask its owner to allow it (chmod a+r).")
    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{file}: missing or truncated ({error}).") from error
    try:
        model = build(config.model, config.source_size, config.target_size, IDS.pad)
    except (TypeError, ConfigError) as error:
        raise BundleError(f"{folder / 'config.json'}: {error}") from error
    load_weights_into(model, weights, file)
    return Bundle(config, model.to(device).eval(), tokenizers)
