"""Strings in, strings out: what a trained model is used through."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self, final

import torch

from transduce.bundle import Bundle, bundle_folder, load_bundle
from transduce.data.collate import collate, pad_rows
from transduce.data.shortlist import load_shortlist
from transduce.decoding.attention import AttentionMaps, attention_maps
from transduce.decoding.beam import BeamConfig, beam_search_alphas
from transduce.decoding.diverse import check_diversity, diverse_beam_search
from transduce.decoding.engines import DecodingPrecision, Engine, PackedEngine, PlainEngine, choose_form, in_batches
from transduce.decoding.ensemble import Ensemble
from transduce.decoding.lines import batches, windows
from transduce.decoding.sampling import sample
from transduce.decoding.scores import score_pairs
from transduce.decoding.search import CPU, Hypothesis, Step
from transduce.decoding.texts import Part, Texts, Translation, Warn, join
from transduce.device import DeviceName, Precision, autocast, choose_device
from transduce.errors import ConfigError, DataError
from transduce.nn import Transformer
from transduce.nn.inference import runs_packed
from transduce.nn.positions import LearnedPositions
from transduce.text.form import Normal
from transduce.text.pieces import IDS
from transduce.text.tokenizer import TokenizerPair

# parts of lines and what their outputs begin with -> outputs of each, best first
_Decode = Callable[[Sequence[Part], Sequence[list[int]]], list[list[Translation]]]
# numbers of parts in a window, their pieces, what their outputs begin with, whether there are things to keep
_Find = Callable[[Sequence[int], Sequence[list[int]], Sequence[list[int]], bool], list[list[Hypothesis]]]

_WINDOW_CHARACTERS = 2**22


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodingConfig:
    """How outputs are searched for (section 6.1); the defaults are the paper's for translation.

    Raises:
        ConfigError: as `BeamConfig`; a negative `extra_length`.
    """

    beam: int = 4
    alpha: float = 0.6
    extra_length: int = 50  # an output has at most this many pieces more than its input; 300 for parsing (section 6.3)

    def __post_init__(self) -> None:
        BeamConfig(beam=self.beam, alpha=self.alpha)
        if self.extra_length < 0:
            raise ConfigError(f"extra_length = {self.extra_length}: must be at least 0; the paper uses 50.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention:
    """Where a model looked: the pieces of both sides, without start and end symbols, and the weights of every head."""

    source: list[str]
    target: list[str]
    weights: AttentionMaps


def warn_python(message: str) -> None:
    """Give a warning the way libraries do."""
    warnings.warn(message, stacklevel=2)


@final
class Translator:
    """A model, its tokenizers and how to search, as one object.

    The model is used, not changed: its dropout is off while it decodes and as it was afterwards.

    Args:
        model: One, or several that vote. Moved to `device` if it is elsewhere.
        tokenizers: Those that the model was trained with.
        config: Beam, alpha and output length.
        device: Where to compute.
        precision: `bf16` computes matrix products in bfloat16, `fp32` everything in float32. Scores are float32.
        max_source_length: Most pieces of a source that go through the model at once; longer lines are cut.
        max_target_length: Most pieces of an output, whatever the length of its input.
        usual_extra: A better output is waited for (`beam_search`) if it has at most so many pieces more than its
            input; None waits up to the limit.
        batch_tokens: Padded source tokens times beam in a batch: memory and speed.
        batch_rows: Most sentences times beam in a batch, since every row needs a vocabulary of logits.
        normal: The normal form of Unicode that texts are brought into.
        placeholders: Whether numbers, addresses and the like go through the model as placeholders, and so are kept.
        engine: What searches in the place of the plain model, whose weights it must have. Batch sizes are then its own.

    A model with learned positions lowers the two lengths to what it has positions for.

    Raises:
        ConfigError: a length or size below 1.
    """

    def __init__(
        self,
        model: Transformer | Ensemble,
        tokenizers: TokenizerPair,
        config: DecodingConfig = DecodingConfig(),
        *,
        device: torch.device = CPU,
        precision: Precision = "fp32",
        max_source_length: int = 1024,
        max_target_length: int = 1024,
        usual_extra: int | None = None,
        batch_tokens: int = 8192,
        batch_rows: int = 512,
        normal: Normal = "none",
        placeholders: bool = False,
        engine: Engine | None = None,
    ) -> None:
        sizes = (max_source_length, max_target_length, batch_tokens, batch_rows)
        if min(sizes) < 1:
            raise ConfigError(f"Translator: lengths and batch sizes are {sizes}: all must be at least 1.")
        self.config = config
        self.tokenizers = tokenizers
        self.device = device
        self.precision = precision
        self.model = model.to(device)
        members = model.members if isinstance(model, Ensemble) else (model,)
        self._texts = Texts(
            tokenizers,
            normal,
            longest_source=min(_positions(m.source.positions, max_source_length) for m in members),
            longest_target=min(_positions(m.target.positions, max_target_length) for m in members),
            placeholders=placeholders,
        )
        self._usual_extra = usual_extra
        self._batch_tokens = batch_tokens
        self._batch_rows = batch_rows
        self._engine: Engine = engine or PlainEngine(self.model, device, self._computing, batch_tokens, batch_rows)

    @classmethod
    def load(
        cls,
        path: str | Path | Sequence[str | Path],
        *,
        device: DeviceName = "auto",
        precision: DecodingPrecision = "auto",
        beam: int | None = None,
        alpha: float | None = None,
        engine: Engine | None = None,
        shortlist: bool = False,
    ) -> Self:
        """The translator of a bundle, or of a run; of several, an ensemble. Beam and alpha are the (first) bundle's
        unless given.

        Unless there is an `engine`, outputs are searched for with packed weights where that is possible
        (`PackedEngine`). int8 and the bundle's `shortlist` are for these searches (another `engine` has its own list
        or none): what else is computed is then computed in float32, and over the whole vocabulary.

        Raises:
            BundleError: `path` is missing, truncated or not a model of transduce.
            ConfigError: the device or precision is not there; beam or alpha impossible; models of an ensemble that do
                not share their vocabulary; a shortlist for other searches than those.
            DataError: the bundle has no shortlist, or a broken one.
        """
        place = choose_device(device)
        form, _ = choose_form(precision, place)
        paths = [path] if isinstance(path, str | Path) else list(path)
        if not paths:
            raise ConfigError("Translator.load: an empty list. Give at least one model.")
        if form == "int8" and len(paths) > 1:
            raise ConfigError("precision = 'int8' is for one model, not for an ensemble. Use 'bf16' or 'fp32'.")
        bundles = [load_bundle(Path(one), place) for one in paths]
        bundle = bundles[0]
        for where, one in zip(paths, bundles, strict=True):
            _check_alike(where, one, paths[0], bundle)
        search = DecodingConfig(
            beam=bundle.config.beam if beam is None else beam,
            alpha=bundle.config.alpha if alpha is None else alpha,
            extra_length=bundle.config.extra_length,
        )
        limit = min(one.config.max_length for one in bundles)
        usual = [one.config.usual_extra for one in bundles if one.config.usual_extra is not None]
        packed = engine is None and len(bundles) == 1 and (form == "int8" or runs_packed(bundle.model))
        if shortlist and not packed:
            raise ConfigError(
                "shortlist: it is for one Transformer of self-attention layers on the processor, searched with packed "
                "weights or by CTranslate2. Leave it out."
            )
        if packed:
            listed = load_shortlist(bundle_folder(Path(paths[0])), bundle.tokenizers) if shortlist else None
            engine = PackedEngine(bundle.model, form, listed)
        return cls(
            bundle.model if len(bundles) == 1 else Ensemble([one.model for one in bundles]),
            bundle.tokenizers,
            search,
            device=place,
            precision="fp32" if form == "int8" else form,
            max_source_length=limit,
            max_target_length=limit + search.extra_length,
            usual_extra=max(usual) if len(usual) == len(bundles) else None,
            normal=bundle.config.normalise,
            placeholders=bundle.config.placeholders,
            engine=engine,
        )

    def translate(
        self, texts: Sequence[str], *, prefixes: Sequence[str] | None = None, warn: Warn = warn_python
    ) -> list[str]:
        """The best output of every text, in order; blank texts give empty ones. See `translate_stream`."""
        return [outputs[0].text for outputs in self.translate_stream(texts, prefixes=prefixes, warn=warn)]

    def translate_n_best(
        self, texts: Sequence[str], n: int, *, prefixes: Sequence[str] | None = None, warn: Warn = warn_python
    ) -> list[list[Translation]]:
        """At most `n` different outputs of every text, best first. See `translate_stream`."""
        return list(self.translate_stream(texts, n_best=n, prefixes=prefixes, warn=warn))

    def translate_stream(
        self,
        lines: Iterable[str],
        *,
        n_best: int = 1,
        prefixes: Iterable[str] | None = None,
        window: int = 2000,
        first: int = 1,
        warn: Warn = warn_python,
    ) -> Iterator[list[Translation]]:
        """Translate lines as they come, in order and in bounded memory: the outputs of each.

        Reads at most `window` lines ahead, because sentences of like length share a batch. A blank line gives one
        empty output. A line longer than the model takes at once is cut at sentence ends, else at spaces, else anywhere;
        its parts are translated apart and joined with a space, and `warn` is told. Outputs of different pieces but the
        same text are given once, so there may be fewer than `n_best`.

        `prefixes` has a text for every line that its outputs begin with (a blank one leaves the line free). It is cut
        into pieces by itself and the rest is searched for; scores count it as any other part of the output. Of a line
        that is cut, it begins the first part. `first` is the number of the first line in messages.

        Raises:
            ConfigError: n_best outside 1 to the beam, a window below 1.
            DataError: text that is not Unicode (lone surrogates); a tag in front that the model does not know; not as
                many prefixes as lines, or one that is too long, cannot be written or belongs to a blank line.
        """
        search = BeamConfig(beam=self.config.beam, alpha=self.config.alpha)
        if not 1 <= n_best <= search.beam:
            raise ConfigError(f"n_best = {n_best}: must be from 1 to the beam, {search.beam}. Raise the beam for more.")

        def find(
            numbers: Sequence[int], sources: Sequence[list[int]], begins: Sequence[list[int]], keeping: bool
        ) -> list[list[Hypothesis]]:
            """Where there are things to keep, the best output that keeps them is looked for among all of the beam."""
            return self._engine.search(
                sources,
                self._limits(sources, begins),
                config=search,
                n_best=search.beam if keeping else n_best,
                forbidden=self._texts.forbidden(keeping),
                prefixes=begins if any(begins) else (),
                usual=self._usual(sources, begins),
            )

        return self._stream(lines, self._decoder(find, n_best), window, warn, first, prefixes)

    def diverse_stream(
        self,
        lines: Iterable[str],
        *,
        n: int,
        strength: float = 0.5,
        prefixes: Iterable[str] | None = None,
        window: int = 2000,
        first: int = 1,
        warn: Warn = warn_python,
    ) -> Iterator[list[Translation]]:
        """At most `n` outputs of every line that differ as diverse beam search has it (`diverse.diverse_beam_search`),
        best score first; `n` groups share the beam. The plain model searches, whatever the engine. The rest is as in
        `translate_stream`.

        Raises:
            ConfigError: as `check_diversity`; a window below 1.
            DataError: as `translate_stream`.
        """
        step: Step[Any] = self.model.step
        search = BeamConfig(beam=self.config.beam, alpha=self.config.alpha)
        check_diversity(search.beam, n, strength)

        def find(
            numbers: Sequence[int], sources: Sequence[list[int]], begins: Sequence[list[int]], keeping: bool
        ) -> list[list[Hypothesis]]:
            def of(rows: Sequence[int]) -> list[list[Hypothesis]]:
                chosen, begun = [sources[i] for i in rows], [begins[i] for i in rows]
                with self._computing():
                    return diverse_beam_search(
                        step,
                        self.model.start(self._batch(chosen), search.beam),
                        self._limits(chosen, begun),
                        config=search,
                        groups=n,
                        strength=strength,
                        ids=IDS,
                        forbidden=self._texts.forbidden(keeping),
                        prefixes=begun,
                        device=self.device,
                    )

            return in_batches(sources, of, search.beam, self._batch_tokens, self._batch_rows)

        return self._stream(lines, self._decoder(find), window, warn, first, prefixes)

    def translate_alphas(
        self, texts: Sequence[str], alphas: Sequence[float], *, warn: Warn = warn_python
    ) -> list[list[str]]:
        """The best output of every text under each of `alphas`, from one search (`beam.beam_search_alphas`).

        Gives one list of outputs for each alpha. Raises as `translate_stream` and `beam_search_alphas` do.
        """
        _check_list(texts)
        step: Step[Any] = self.model.step
        beam = self.config.beam
        parts = self._texts.parts([self._texts.line(text) for text in texts], 1, warn)
        flat = [part for line in parts for part in line]
        found: list[list[str]] = [[] for _ in flat]
        for keeping, numbers in _kept_apart(flat):
            inputs = [flat[i].ids for i in numbers]

            def search(
                rows: Sequence[int], inputs: Sequence[list[int]] = inputs, keeping: bool = keeping
            ) -> list[list[list[Hypothesis]]]:
                sources = [inputs[i] for i in rows]
                with self._computing():
                    return beam_search_alphas(
                        step,
                        self.model.start(self._batch(sources), beam),
                        self._limits(sources),
                        beam=beam,
                        alphas=alphas,
                        ids=IDS,
                        n_best=beam if keeping else 1,
                        forbidden=self._texts.forbidden(keeping),
                        usual=self._usual(sources),
                        device=self.device,
                    )

            best = in_batches(inputs, search, beam, self._batch_tokens, self._batch_rows)
            for i, each in zip(numbers, best, strict=True):
                found[i] = [self._texts.outputs(outputs, flat[i].things)[0].text for outputs in each]
        remaining = iter(found)
        lines = [list(islice(remaining, len(line))) for line in parts]
        return [[" ".join(part[i] for part in line) for line in lines] for i in range(len(alphas))]

    def sample(
        self,
        texts: Sequence[str],
        generator: torch.Generator,
        temperature: float = 1.0,
        top_k: int = 0,
        *,
        warn: Warn = warn_python,
    ) -> list[Translation]:
        """One random output for every text. See `sample_stream`."""
        return list(self.sample_stream(texts, generator, temperature, top_k, warn=warn))

    def sample_stream(
        self,
        lines: Iterable[str],
        generator: torch.Generator,
        temperature: float = 1.0,
        top_k: int = 0,
        *,
        window: int = 2000,
        first: int = 1,
        warn: Warn = warn_python,
    ) -> Iterator[Translation]:
        """Draw an output for every line from the model's distribution (`sampling.sample`), as `translate_stream` does.

        Each line (or part of one) takes the next number of `generator` as the seed of its own draws, so the same lines
        and settings give the same outputs, however they come in windows and batches, but for the last bits of the
        logits: in about two lines of a hundred a draw falls on the other side. Scores are log-probabilities,
        without length penalty.

        Raises:
            ConfigError: as `sampling.sample`; a window below 1.
        """
        step: Step[Any] = self.model.step
        seeds: list[int] = []  # of the parts of a window

        def find(
            numbers: Sequence[int], sources: Sequence[list[int]], begins: Sequence[list[int]], keeping: bool
        ) -> list[list[Hypothesis]]:
            def draw(rows: Sequence[int]) -> list[list[Hypothesis]]:
                chosen = [sources[i] for i in rows]
                with self._computing():
                    drawn = sample(
                        step,
                        self.model.start(self._batch(chosen)),
                        self._limits(chosen),
                        IDS,
                        [seeds[numbers[i]] for i in rows],
                        temperature=temperature,
                        top_k=top_k,
                        forbidden=self._texts.forbidden(keeping),
                        device=self.device,
                    )
                return [[hypothesis] for hypothesis in drawn]

            return in_batches(sources, draw, 1, self._batch_tokens, self._batch_rows)

        decode_drawn = self._decoder(find)

        def decode(parts: Sequence[Part], begins: Sequence[list[int]]) -> list[list[Translation]]:
            seeds[:] = (_next_seed(generator) for _ in parts)
            return decode_drawn(parts, begins)

        return (outputs[0] for outputs in self._stream(lines, decode, window, warn, first))

    def attention(self, source: str, target: str) -> Attention:
        """Every head's weights for `source` and `target` (an output, or any text), cut into pieces as for training.

        Raises:
            DataError: a side is longer than the model takes, or is blank.
            ConfigError: this is an ensemble.
        """
        model = self.one_model("attention")
        (ids,) = self.tokenizers.encode_pairs([self._texts.pair(source, target)])
        limits = self._texts.longest_source, self._texts.longest_target
        for side, row, limit in zip(("source", "target"), ids, limits, strict=True):
            if not 1 <= len(row) <= limit:
                raise DataError(f"{len(row)} {side} pieces: attention is shown for 1 to {limit}.")
        batch = collate([ids]).to(self.device)
        with self._computing():
            maps = attention_maps(model, batch.source[0], batch.target_in[0])
        source_pieces = self.tokenizers.source.pieces(ids[0])
        return Attention(
            source=source_pieces, target=self.tokenizers.target.pieces(ids[1]), weights=maps.to(torch.device("cpu"))
        )

    def score(self, sources: Sequence[str], targets: Sequence[str]) -> list[float]:
        """Log-probability of every target given its source, as teacher forcing gives it. See `score_stream`.

        Raises:
            DataError: not as many targets as sources; and what `score_stream` raises.
        """
        _check_list(sources)
        _check_list(targets)
        if len(sources) != len(targets):
            raise DataError(f"{len(sources)} sources, but {len(targets)} targets. Give one target for each source.")
        return list(self.score_stream(zip(sources, targets, strict=True)))

    def score_stream(self, pairs: Iterable[tuple[str, str]], *, window: int = 2000) -> Iterator[float]:
        """Log P(target | source) of (source, target) pairs as they come: pieces and end symbol, no length penalty.

        Blank sides are scored like any other text.

        Raises:
            ConfigError: a window below 1; this is an ensemble.
            DataError: a side is longer than the model takes (a score of parts would not be the score of the whole).
        """
        _check_window(window)
        self.one_model("score")
        return self._scores(iter(pairs), window)

    def _scores(self, pairs: Iterator[tuple[str, str]], window: int) -> Iterator[float]:
        first = 1
        while chunk := list(islice(pairs, window)):
            yield from self._score_window(chunk, first)
            first += len(chunk)

    def _score_window(self, pairs: Sequence[tuple[str, str]], first: int) -> list[float]:
        for number, (source, target) in enumerate(pairs, start=first):
            _check_text(source, number)
            _check_text(target, number)
            self.tokenizers.check_tag(source, f"line {number}")
        encoded = self.tokenizers.encode_pairs([self._texts.pair(source, target) for source, target in pairs])
        limits = self._texts.longest_source, self._texts.longest_target
        for i, pair in enumerate(encoded):
            for side, ids, limit in zip(("source", "target"), pair, limits, strict=True):
                if len(ids) > limit:
                    raise DataError(
                        f"line {first + i}: {len(ids)} {side} pieces, but this model takes {limit}. Shorten the line."
                    )
        lengths = [len(source) + len(target) + 2 for source, target in encoded]
        found = [0.0] * len(pairs)
        for rows in batches(lengths, most_tokens=self._batch_tokens, most_rows=self._batch_rows):
            batch = collate([encoded[i] for i in rows]).to(self.device)
            with self._computing():
                scores = score_pairs(self.one_model("score"), batch)
            for i, score in zip(rows, scores, strict=True):
                found[i] = score
        return found

    def _stream(
        self,
        lines: Iterable[str],
        decode: _Decode,
        window: int,
        warn: Warn,
        first: int,
        prefixes: Iterable[str] | None = None,
    ) -> Iterator[list[Translation]]:
        """What `decode` finds for every line, once the arguments are in order."""
        _check_list(lines)
        _check_list(prefixes)
        _check_window(window)
        coming = None if prefixes is None else _only_texts(prefixes, first)

        def found(number: int) -> Iterator[list[Translation]]:
            for texts in windows(_only_texts(lines, first), most_lines=window, most_characters=_WINDOW_CHARACTERS):
                begins = [""] * len(texts) if coming is None else list(islice(coming, len(texts)))
                if len(begins) < len(texts):
                    raise DataError(
                        f"line {number + len(begins)}: no prefix. Give one for every line; it may be blank."
                    )
                yield from self._translate_window(
                    [self._texts.line(text) for text in texts], begins, number, decode, warn
                )
                number += len(texts)
            if coming is not None and next(coming, None) is not None:
                raise DataError(f"line {number}: a prefix, but no line. Give one prefix for every line.")

        return found(first)

    def _translate_window(
        self, texts: Sequence[str], prefixes: Sequence[str], first: int, decode: _Decode, warn: Warn
    ) -> list[list[Translation]]:
        parts = self._texts.parts(texts, first, warn)
        begins: list[list[int]] = []
        for line, prefix in zip(parts, self._texts.prefixes(prefixes, parts, first), strict=True):
            begins += [prefix, *([] for _ in line[1:])] if line else []
        remaining = iter(decode([part for line in parts for part in line], begins))
        return [join(list(islice(remaining, len(line)))) for line in parts]

    def _decoder(self, find: _Find, n_best: int | None = None) -> _Decode:
        """At most `n_best` outputs as text of what `find` finds, which has either only inputs with things to keep at
        once or only inputs without."""

        def decode(parts: Sequence[Part], begins: Sequence[list[int]]) -> list[list[Translation]]:
            found: list[list[Translation]] = [[] for _ in parts]
            for keeping, rows in _kept_apart(parts):
                outputs = find(rows, [parts[i].ids for i in rows], [begins[i] for i in rows], keeping)
                for i, hypotheses in zip(rows, outputs, strict=True):
                    found[i] = self._texts.outputs(hypotheses, parts[i].things, n_best)
            return found

        return decode

    def _batch(self, sources: Sequence[list[int]]) -> torch.Tensor:
        return pad_rows([[*ids, IDS.eos] for ids in sources]).to(self.device)

    def _limits(self, sources: Sequence[list[int]], prefixes: Sequence[list[int]] = ()) -> list[int]:
        """Most pieces of each output: so many more than its input has, or its prefix where that is longer."""
        longest = self._texts.longest_target
        return [min(n + self.config.extra_length, longest) for n in _lengths(sources, prefixes)]

    def _usual(self, sources: Sequence[list[int]], prefixes: Sequence[list[int]] = ()) -> list[int]:
        """Pieces of each output up to which a better one is waited for; nothing where that is not known."""
        if self._usual_extra is None:
            return []
        return [n + self._usual_extra for n in _lengths(sources, prefixes)]

    def one_model(self, verb: str) -> Transformer:
        """The model; raises `ConfigError` where it is an ensemble."""
        if isinstance(self.model, Ensemble):
            raise ConfigError(f"{verb}: this is for one model, and here are {len(self.model.members)}. Give one.")
        return self.model

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """No gradients, no dropout, the precision asked for; and the model's mode restored."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad(), autocast(self.precision, self.device):
                yield
        finally:
            self.model.train(training)


def _lengths(sources: Sequence[list[int]], prefixes: Sequence[list[int]]) -> list[int]:
    return [max(len(row) for row in rows) for rows in zip(sources, prefixes or sources, strict=True)]


def _positions(positions: torch.nn.Module, wanted: int) -> int:
    """The most pieces that fit, beside the begin or end symbol, into the positions a model has."""
    if isinstance(positions, LearnedPositions):
        return min(wanted, len(positions.weight) - 1)
    return wanted


def _check_alike(path: str | Path, one: Bundle, first: str | Path, other: Bundle) -> None:
    """Raise `ConfigError` unless both bundles read and write the same pieces."""
    read = [
        (b.tokenizers.hashes(), b.config.normalise, tuple(b.config.tags), b.config.placeholders) for b in (one, other)
    ]
    if read[0] != read[1]:
        raise ConfigError(
            f"{path}: not the vocabulary of {first}, so they cannot be an ensemble. Train its models on the same "
            "files, dev set included, with the same [tokenizer], data.augment = 0 and data.placeholders = 0, each with "
            "a training.seed."
        )


def _check_list(texts: object) -> None:
    """Raise `ConfigError` for a text alone, which would be read letter by letter."""
    if isinstance(texts, str):
        raise ConfigError("A text, where a list of texts is wanted. Write [text].")


def _check_text(text: object, number: int) -> None:
    """Raise `DataError` for what is not text: a gap in a table may be anything."""
    if not isinstance(text, str):
        raise DataError(f"line {number}: not text but {text!r} ({type(text).__name__}). Give a text; it may be blank.")


def _only_texts(texts: Iterable[str], first: int) -> Iterator[str]:
    """These, as they come, each checked."""
    for number, text in enumerate(texts, start=first):
        _check_text(text, number)
        yield text


def _kept_apart(parts: Sequence[Part]) -> Iterator[tuple[bool, list[int]]]:
    """The numbers of the parts without things to keep (False), and of those with some (True), where there are any."""
    for keeping in (False, True):
        if rows := [i for i, part in enumerate(parts) if bool(part.things) == keeping]:
            yield keeping, rows


def _next_seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (1,), generator=generator, device=generator.device))


def _check_window(window: int) -> None:
    if window < 1:
        raise ConfigError(f"window = {window}: must be at least 1 line.")
