"""From options to a model that searches: the part of a command that other processes can do as well."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from transduce.errors import ConfigError, SaveError

if TYPE_CHECKING:
    from transduce.decoding.engines import DecodingPrecision
    from transduce.decoding.texts import Translation, Warn
    from transduce.decoding.translator import Translator
    from transduce.device import AskedPrecision, DeviceName

DEVICES: "tuple[DeviceName, ...]" = ("auto", "cpu", "cuda", "mps")
PRECISIONS: "tuple[AskedPrecision, ...]" = ("auto", "fp32", "bf16")
FORMS: "tuple[DecodingPrecision, ...]" = (*PRECISIONS, "int8")
Choice = TypeVar("Choice", bound=str)


class Chunk(NamedTuple):
    """Lines that are translated together: the number of the first, and what their outputs begin with, if anything."""

    first: int
    lines: list[str]
    prefixes: list[str] | None


class Answer(NamedTuple):
    """The outputs of every line of a chunk, and what there was to warn of."""

    outputs: "list[list[Translation]]"
    warnings: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What a command that searches was asked for.

    `draw` is temperature and seed, in the place of a search; `diverse` the strength of a diverse one. With a
    `shortlist` outputs are made of the pieces on the bundle's.
    """

    bundle: Path
    device: str
    precision: str
    engine: str
    beam: int | None
    alpha: float | None
    n_best: int = 1
    to: str | None = None
    draw: tuple[float, int] | None = None
    diverse: float | None = None
    workers: int = 1
    shortlist: bool = False

    def translator(self, threads: int, speak: bool = True) -> "Translator":
        """The model or ensemble, and the engine, with so many threads. `speak`: say which engine `auto` took, and why.

        Raises `ConfigError`, `BundleError`, `DataError` and `SaveError`.
        """
        from transduce.interop import engines

        place = _chosen("device", self.device, DEVICES)
        form = _chosen("precision", self.precision, FORMS)
        asked = _chosen("engine", self.engine, engines.ENGINES)
        from transduce.cli.console import say
        from transduce.device import tune_process

        tune_process(threads)
        translator, which = engines.load_translator(
            members(self.bundle),
            engine=asked,
            device=place,
            precision=form,
            beam=self.beam,
            alpha=self.alpha,
            shortlist=self.shortlist,
            cache=_cache,
        )
        if self.beam is None and self.n_best > translator.config.beam:
            translator.config = replace(translator.config, beam=self.n_best)
        self._check(translator)
        if self.engine == "auto" and speak:
            say(f"engine {which}")
        return translator

    def _check(self, translator: "Translator") -> None:
        """Raise `ConfigError` where this model cannot do what is asked for."""
        beam = translator.config.beam
        if self.n_best > beam:
            raise ConfigError(f"--n-best {self.n_best} needs a beam of at least {self.n_best}; it is {beam}.")
        _check_tag(translator, self.to)
        if self.diverse is not None:
            from transduce.decoding.diverse import check_diversity

            check_diversity(beam, self.n_best, self.diverse)
        if self.workers > 1 and translator.device.type != "cpu":
            raise ConfigError(
                f"--workers {self.workers}: they share processors, and the device is {translator.device.type}. "
                "Leave it out, or use --device cpu."
            )

    def load(self, worker: int) -> Callable[[Chunk], Answer]:
        """What one of the `workers`, numbered from 0, does with a chunk."""
        return self.on(self.translator(max(1, threads() // self.workers), speak=worker == 0))

    def on(self, translator: "Translator") -> Callable[[Chunk], Answer]:
        """The same with a model that is loaded."""
        stream = self._stream(translator)

        def work(chunk: Chunk) -> Answer:
            warnings: list[str] = []
            return Answer(list(stream(chunk, warnings.append)), warnings)

        return work

    def _stream(self, translator: "Translator") -> "Callable[[Chunk, Warn], Iterator[list[Translation]]]":
        if self.draw is not None:
            import torch

            temperature, seed = self.draw
            generator = torch.Generator(translator.device).manual_seed(seed)

            def draw(chunk: Chunk, warn: "Warn") -> "Iterator[list[Translation]]":
                drawn = translator.sample_stream(
                    chunk.lines, generator, temperature, window=len(chunk.lines), first=chunk.first, warn=warn
                )
                return ([one] for one in drawn)

            return draw
        if (strength := self.diverse) is not None:
            return lambda chunk, warn: translator.diverse_stream(
                chunk.lines,
                n=self.n_best,
                strength=strength,
                prefixes=chunk.prefixes,
                window=len(chunk.lines),
                first=chunk.first,
                warn=warn,
            )
        return lambda chunk, warn: translator.translate_stream(
            chunk.lines,
            n_best=self.n_best,
            prefixes=chunk.prefixes,
            window=len(chunk.lines),
            first=chunk.first,
            warn=warn,
        )


def threads() -> int:
    """How many this process computes with."""
    from transduce.training.world import default_threads, environment

    return default_threads(environment())


def refuse(options: Mapping[str, object], why: str, beside: str = "") -> None:
    """Raise `ConfigError` where one of `options` is given: `beside` the option of that name, or at all."""
    for name, value in options.items():
        if value is not None:
            taken = f"--{name} and --{beside}" if beside else f"--{name} {value}"
            raise ConfigError(f"{taken}: {why}. Leave one of them out.")


def members(bundle: Path) -> list[Path]:
    """The models that a BUNDLE argument names: one, or several between commas. Raises `ConfigError` on none."""
    if bundle.exists():
        return [bundle]
    found = [Path(name) for name in str(bundle).split(",") if name]
    if not found:
        raise ConfigError(f"{str(bundle)!r} names no model. Give a folder, or several with commas between.")
    return found


def plain_translator(
    bundle: Path,
    device: str,
    precision: str,
    beam: int | None = None,
    alpha: float | None = None,
    to: str | None = None,
) -> "Translator":
    """The model, or ensemble, behind a command without --engine. Raises `ConfigError`, also where it does not know the
    tag `to`, and `BundleError`."""
    place, form = _chosen("device", device, DEVICES), _chosen("precision", precision, PRECISIONS)
    from transduce.decoding.translator import Translator
    from transduce.device import tune_process

    tune_process(threads())
    translator = Translator.load(members(bundle), device=place, precision=form, beam=beam, alpha=alpha)
    _check_tag(translator, to)
    return translator


def _check_tag(translator: "Translator", to: str | None) -> None:
    """Raise `ConfigError` where `to` is a tag that the model does not know."""
    if to is not None and to not in translator.tokenizers.tags:
        known = ", ".join(translator.tokenizers.tags) or "none"
        raise ConfigError(f"--to {to}: the tags of this model are: {known}.")


def _chosen(name: str, value: str, known: Sequence[Choice]) -> Choice:
    """The one of `known` that `value` is. Raises `ConfigError` where it is none."""
    for choice in known:
        if choice == value:
            return choice
    raise ConfigError(f"--{name} {value}: choose one of {', '.join(known)}.")


def _cache() -> Path:
    """Where conversions are kept: $XDG_CACHE_HOME/transduce, by default ~/.cache/transduce. Raises `SaveError` where
    there is no home."""
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise SaveError("no home directory to keep a conversion in. Set XDG_CACHE_HOME to a folder.") from error
    return Path(home) / "transduce" / "ctranslate2"
