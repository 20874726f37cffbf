"""Which engine decodes: ours, or CTranslate2 with a conversion of the same weights."""

import importlib.util
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, assert_never, get_args

import torch

from transduce.bundle import bundle_folder, load_config
from transduce.decoding.engines import DecodingPrecision, choose_form
from transduce.decoding.translator import Translator
from transduce.device import DeviceName, choose_device, has_amx
from transduce.errors import ConfigError, SaveError
from transduce.interop.ctranslate2 import CTranslate2Engine, cached_conversion, has_form, library, refusal
from transduce.nn import TransformerConfig
from transduce.nn.packed import Format, has_int8

EngineName = Literal["auto", "torch", "ctranslate2"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)

_SMALL = 256  # d_model below which a step is calls of operations rather than products


def choose_engine(
    asked: EngineName, precision: DecodingPrecision, device: torch.device, config: TransformerConfig
) -> tuple[Literal["torch", "ctranslate2"], str]:
    """The engine and why, as a sentence. What `auto` knows was measured: docs/performance.md.

    Raises:
        ConfigError: CTranslate2 was asked for, and is missing, cannot run the model or is not for this device.
    """
    match asked:
        case "torch":
            return "torch", "as asked"
        case "ctranslate2":
            library()
            if device.type != "cpu":
                raise ConfigError(f"--engine ctranslate2 is for the processor, not {device.type}. Use --device cpu.")
            if why := refusal(config):
                raise ConfigError(f"CTranslate2 cannot run this model: {why}. Use --engine torch.")
            return "ctranslate2", "as asked"
        case "auto":
            if device.type != "cpu":
                return "torch", f"CTranslate2 is used on the processor, not on {device.type}"
            if why := refusal(config):
                return "torch", f"CTranslate2 cannot run this model: {why}"
            if importlib.util.find_spec("ctranslate2") is None:
                return "torch", "CTranslate2 is not installed"
            if precision == "int8" and not has_int8():
                return "ctranslate2", "PyTorch has no fast 8-bit products for this processor"
            if config.d_model < _SMALL and precision != "bf16" and not has_amx():
                return "ctranslate2", f"faster for models as narrow as this one (d_model = {config.d_model})"
            if config.d_model < _SMALL and precision == "bf16":
                return "torch", "bf16 was asked for"
            many = "as fast as CTranslate2 on many sentences of a model of this width"
            if precision == "int8" and not has_amx():
                return "torch", f"{many}; for one at a time it depends on the processor (docs/performance.md)"
            return "torch", f"{many}, faster on one"
        case _:
            assert_never(asked)


def load_translator(
    paths: Sequence[Path],
    *,
    engine: EngineName,
    device: DeviceName,
    precision: DecodingPrecision,
    beam: int | None,
    alpha: float | None,
    shortlist: bool,
    cache: Callable[[], Path],
) -> tuple[Translator, str]:
    """The translator of a bundle, a run or several (an ensemble) with the engine that `choose_engine` names.

    Also gives which engine it is, and why. Conversions for CTranslate2 are kept in `cache()`.

    Raises:
        BundleError: one of `paths` is not a whole model of ours.
        ConfigError: as `choose_engine`, `Translator.load` and `CTranslate2Engine`.
        DataError: as `Translator.load`.
        SaveError: the conversion cannot be written.
    """
    place = choose_device(device)
    folder = bundle_folder(paths[0])
    name, why = choose_engine(engine, precision, place, load_config(folder).model)
    if len(paths) > 1:
        if engine == "ctranslate2":
            raise ConfigError("--engine ctranslate2 runs one model, not an ensemble. Use --engine torch.")
        name, why = "torch", "CTranslate2 runs no ensembles"
    other = None
    if name == "ctranslate2":
        form, _ = choose_form(precision, place)
        if precision == "auto" and not has_form(form):
            form = "fp32"
        try:
            other = _converted(folder, cache(), form, shortlist)
        except SaveError as error:
            if engine != "auto":
                raise SaveError(f"{error} XDG_CACHE_HOME says where; --engine torch needs none.") from error
            name, why = "torch", f"a model for CTranslate2 cannot be kept ({error})"
    translator = Translator.load(
        paths,
        device=device,
        precision=precision,
        beam=beam,
        alpha=alpha,
        engine=other,
        shortlist=shortlist and other is None,
    )
    return translator, f"{name}: {why}"


def _converted(folder: Path, cache: Path, form: Format, shortlist: bool) -> CTranslate2Engine:
    """CTranslate2 with the conversion of a bundle; where the one in `cache` is damaged, with a new one."""
    path = cached_conversion(folder, cache, shortlist)
    try:
        return CTranslate2Engine(path, form, torch.get_num_threads(), shortlist)
    except (RuntimeError, OSError, ValueError):
        shutil.rmtree(path, ignore_errors=True)
        return CTranslate2Engine(cached_conversion(folder, cache, shortlist), form, torch.get_num_threads(), shortlist)
