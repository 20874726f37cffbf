"""CTranslate2, the engine that people deploy: our weights in its format, and its search in the place of ours."""

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, final

import torch
from torch import nn

from transduce.bundle import load_bundle
from transduce.data.shortlist import Shortlist, load_shortlist, shortlist_file
from transduce.decoding.beam import BeamConfig
from transduce.decoding.search import Hypothesis, check_prefixes, length_penalty
from transduce.errors import ConfigError, DataError, SaveError
from transduce.files import atomic_folder
from transduce.interop.rules import refusals
from transduce.nn import Transformer, TransformerConfig
from transduce.nn.attention import MultiHeadAttention, SelfAttention
from transduce.nn.decoder import DecoderLayer
from transduce.nn.encoder import EncoderLayer
from transduce.nn.packed import Format
from transduce.text.pieces import IDS

_CONVERSION = 2  # changes when `convert` writes something else for the same weights
COMPUTE_TYPES: dict[Format, str] = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}
_BATCH = 32
_LISTED_BATCH = 16  # with a shortlist; of 8 to 64 the fastest for d_model = 128 and 6,000 pieces (docs/performance.md)
LISTS = "vmap.txt"  # CTranslate2's name for a shortlist
_POSITIONS = 2048  # sinusoids are written out for so many positions, if not more are wanted


def library() -> Any:
    """The module `ctranslate2`. Raises `ConfigError` where it is not installed."""
    try:
        import ctranslate2
    except ImportError as error:
        raise ConfigError("CTranslate2 is not installed: pip install 'transduce[export]'.") from error
    return ctranslate2


def has_form(form: Format) -> bool:
    """Whether CTranslate2 computes in this format on this processor."""
    return COMPUTE_TYPES[form] in library().get_supported_compute_types("cpu")


def refusal(config: TransformerConfig) -> str:
    """Why CTranslate2 cannot run such a model; empty when it can."""
    return "; ".join(refusals(config, joint=True, tagged=False)["ctranslate2"])


def convert(
    path: Path,
    config: TransformerConfig,
    model: Transformer,
    source_pieces: Sequence[str],
    target_pieces: Sequence[str],
    longest: int = 0,
    shortlist: Shortlist | None = None,
) -> None:
    """Write `model` as a folder that `ctranslate2.Translator` takes, in float32 (it rounds on loading).

    Pieces are the vocabularies in the order of their ids, each piece once. The end symbol is put behind sources by
    CTranslate2. A model whose positions are sinusoids takes `longest` of them, or 2,048 if that is more. With a
    `shortlist` there is a vmap.txt too, for `use_vmap`.

    Raises:
        ConfigError: CTranslate2 is missing, or cannot run such a model.
        SaveError: the folder cannot be written.
    """
    library()
    if why := refusal(config):
        raise ConfigError(f"CTranslate2 cannot run this model: {why}. Use the engine 'torch'.")
    from ctranslate2.specs import TransformerDecoderSpec, TransformerEncoderSpec, TransformerSpec

    sizes = {"num_heads": config.n_heads, "pre_norm": config.norm == "pre", "head_dim": config.d_k}
    encoder = TransformerEncoderSpec(config.n_layers, **sizes)
    decoder = TransformerDecoderSpec(config.n_layers, **sizes)
    spec = TransformerSpec(encoder, decoder)
    positions = config.max_positions if config.positions == "learned" else max(_POSITIONS, longest)
    with torch.no_grad():
        for side, embeddings, ours in (
            (encoder, encoder.embeddings[0], model.source),
            (decoder, decoder.embeddings, model.target),
        ):
            embeddings.weight = ours.table.weight.numpy()
            side.scale_embeddings = True
            side.position_encodings.encodings = ours.positions(0, positions).numpy()
        for stack, layers, last in (
            (encoder, model.encoder.layers, model.encoder.norm),
            (decoder, model.decoder.layers, model.decoder.norm),
        ):
            for theirs, layer in zip(stack.layer, layers, strict=True):
                assert isinstance(layer, EncoderLayer | DecoderLayer)
                _layer(theirs, layer)
            if config.norm == "pre":
                _norm(stack.layer_norm, last)
        decoder.projection.weight = model.output_weight.numpy()
    spec.register_source_vocabulary(list(source_pieces))
    spec.register_target_vocabulary(list(target_pieces))
    spec.config.bos_token = spec.config.decoder_start_token = target_pieces[IDS.bos]
    spec.config.eos_token = target_pieces[IDS.eos]
    spec.config.unk_token = target_pieces[IDS.unk]
    spec.config.add_source_eos = True
    spec.validate()
    spec.optimize()
    with atomic_folder(path) as folder:
        spec.save(str(folder))
        if shortlist is not None:
            lists = _lists(shortlist, source_pieces, target_pieces)
            (folder / LISTS).write_text(lists, encoding="utf-8", newline="\n")


def _lists(shortlist: Shortlist, source_pieces: Sequence[str], target_pieces: Sequence[str]) -> str:
    """A line for each source piece, a tab before its translations; first, for no piece, those that are always there.

    Padding is one of these, as the unknown symbol and the two ends are for CTranslate2: what is never produced has its
    share of the probability. No piece holds a space, a tab or a line's end (`text.tokenizer`).
    """
    rows = [("", [IDS.pad, *shortlist.frequent.tolist()])]
    rows += zip(source_pieces, shortlist.translations.tolist(), strict=True)
    return "".join(f"{piece}\t{' '.join(target_pieces[i] for i in dict.fromkeys(ids))}\n" for piece, ids in rows)


def _layer(theirs: Any, ours: EncoderLayer | DecoderLayer) -> None:
    assert isinstance(ours.mixer, SelfAttention)
    own = ours.mixer.attention
    _linear(theirs.self_attention.linear[0], own.w_q, own.w_k, own.w_v)
    _linear(theirs.self_attention.linear[1], own.w_o)
    _norm(theirs.self_attention.layer_norm, ours.around_mixer.norm)
    if isinstance(ours, DecoderLayer):
        cross: MultiHeadAttention = ours.cross_attention
        _linear(theirs.attention.linear[0], cross.w_q)
        _linear(theirs.attention.linear[1], cross.w_k, cross.w_v)
        _linear(theirs.attention.linear[2], cross.w_o)
        _norm(theirs.attention.layer_norm, ours.around_cross_attention.norm)
    _linear(theirs.ffn.linear_0, ours.feed_forward.w_1)
    _linear(theirs.ffn.linear_1, ours.feed_forward.w_2)
    _norm(theirs.ffn.layer_norm, ours.around_feed_forward.norm)


def _linear(theirs: Any, *ours: nn.Linear) -> None:
    theirs.weight = torch.cat([linear.weight for linear in ours]).numpy()
    theirs.bias = torch.cat([linear.bias for linear in ours]).numpy()


def _norm(theirs: Any, ours: nn.Module) -> None:
    assert isinstance(ours, nn.LayerNorm)
    theirs.gamma, theirs.beta = ours.weight.numpy(), ours.bias.numpy()


def weights_hash(folder: Path, shortlist: bool = False) -> str:
    """What a conversion of the bundle in `folder` is filed under: it changes with weights, settings and converter, and
    with the `shortlist`. Raises `DataError` where there is none."""
    found = hashlib.sha256(f"{_CONVERSION} {library().__version__}".encode())
    found.update((folder / "config.json").read_bytes())
    if shortlist:
        found.update(shortlist_file(folder).read_bytes())
    with (folder / "model.safetensors").open("rb") as file:
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()


def cached_conversion(folder: Path, cache: Path, shortlist: bool = False) -> Path:
    """The conversion of the bundle in `folder`, made now if it is not in `cache` yet; with its `shortlist`, another
    one. Raises as `convert`, `load_bundle` and `load_shortlist` do, and `DataError` where the bundle changes meanwhile.

    Several processes may make it at once: each has a place of its own for that, and the first one's is kept.
    """
    path = cache / weights_hash(folder, shortlist)
    if not (path / "model.bin").is_file():
        bundle = load_bundle(folder, torch.device("cpu"))
        sides = bundle.tokenizers.source, bundle.tokenizers.target
        source, target = (side.pieces(range(side.size)) for side in sides)
        own = path.with_name(f"{path.name}.{os.getpid()}")
        longest = bundle.config.max_length + bundle.config.extra_length + 1  # and the symbol at one end
        listed = load_shortlist(folder, bundle.tokenizers) if shortlist else None
        convert(own, bundle.config.model, bundle.model, source, target, longest, listed)
        if weights_hash(folder, shortlist) != path.name:
            shutil.rmtree(own, ignore_errors=True)
            raise DataError(f"{folder}: changed while it was converted for CTranslate2. Run the same command again.")
        try:
            own.rename(path)
        except OSError as error:
            shutil.rmtree(own, ignore_errors=True)
            if not (path / "model.bin").is_file():
                raise SaveError(f"{path}: cannot be written ({error.strerror or error}). Remove it.") from error
    return path


@final
class CTranslate2Engine:
    """CTranslate2's beam search over a converted model.

    It ranks by log P / length^alpha, which is not the paper's penalty. So it is asked, with its penalty off, for as
    many outputs as the beam has, and the paper's ranks these. It stops when it has found so many, so it may miss an
    output that the paper's search finds. What holds a forbidden piece is left out; a sentence of which nothing remains
    is searched again without these pieces, whose share of the probability the others then get. An output that was
    broken off at its limit is given only where there is no other.

    With the conversion's `shortlist` outputs are made of what it has for all sentences of a batch, so they depend on
    which these are. A batch with prefixes, and a second search, are over all pieces: there CTranslate2 (4.8) takes the
    columns of an earlier batch's list for those of this one, so that other pieces are forced or forbidden.

    Raises:
        ConfigError: not installed; a precision that it has not on this processor; a conversion without shortlist.
        RuntimeError: what is at `path` is damaged.
    """

    def __init__(self, path: Path, precision: Format, threads: int, shortlist: bool = False) -> None:
        ctranslate2 = library()
        compute = COMPUTE_TYPES[precision]
        if not has_form(precision):
            raise ConfigError(f"CTranslate2 has no {compute} on this processor. Use --precision int8 or fp32.")
        if shortlist and not (path / LISTS).is_file():
            raise ConfigError(f"{path}: converted without a shortlist. Convert it again, with one.")
        self._ahead = 2 * threads  # batches that are under way at a time
        self._shortlist = shortlist
        self._translator = ctranslate2.Translator(
            str(path), device="cpu", compute_type=compute, intra_threads=1, inter_threads=threads
        )
        names = [json.loads(p.read_text(encoding="utf-8")) for p in _vocabularies(path)]
        self._source: list[str] = names[0]
        self._target: list[str] = names[-1]
        self._ids = {piece: i for i, piece in enumerate(self._target)}

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
        """As `Engine.search`; when a sentence is done is for CTranslate2 to say."""
        never = frozenset((IDS.pad, IDS.unk, IDS.bos, *forbidden))
        prefixes = check_prefixes(prefixes, limits, torch.tensor(sorted(never)), IDS.eos)
        before = self._prefix_log_probs(sources, prefixes)
        found: list[list[Hypothesis]] = [[] for _ in sources]
        left = list(range(len(sources)))
        for suppressed in ([], [[self._target[i]] for i in sorted(never)]):
            left.sort(key=lambda i: (-limits[i], i))
            for i, result in self._results(left, sources, limits, prefixes, config.beam, suppressed):
                hypotheses = self._hypotheses(result, limits[i], before[i], config.alpha)
                allowed = [h for h in hypotheses if never.isdisjoint(h.ids)]
                found[i] = sorted(allowed, key=lambda h: -h.score)[:n_best]
            left = [i for i in left if not found[i]]
        return found

    def _prefix_log_probs(self, sources: Sequence[Sequence[int]], prefixes: Sequence[Sequence[int]]) -> list[float]:
        """Log-probability of every prefix, which CTranslate2 leaves out of an output's score; 0 where there is none."""
        found = [0.0] * len(sources)
        if rows := [i for i, prefix in enumerate(prefixes) if prefix]:
            scored = self._translator.score_batch(
                [[self._source[piece] for piece in sources[i]] for i in rows],
                [[self._target[piece] for piece in prefixes[i]] for i in rows],
                max_batch_size=_BATCH,
                max_input_length=0,
            )
            for i, one in zip(rows, scored, strict=True):
                found[i] = sum(one.log_probs[:-1])  # the last is the end symbol's
        return found

    def _results(
        self,
        order: Sequence[int],
        sources: Sequence[Sequence[int]],
        limits: Sequence[int],
        prefixes: Sequence[Sequence[int]],
        beam: int,
        suppressed: list[list[str]],
    ) -> Iterator[tuple[int, Any]]:
        def begin(rows: Sequence[int]) -> tuple[Sequence[int], Any]:
            return rows, self._translator.translate_batch(
                [[self._source[piece] for piece in sources[i]] for i in rows],
                [[self._target[piece] for piece in prefixes[i]] for i in rows],
                asynchronous=True,
                beam_size=beam,
                num_hypotheses=beam,
                length_penalty=0,
                max_input_length=0,
                max_decoding_length=limits[rows[0]] + 1,
                min_decoding_length=0,
                suppress_sequences=suppressed,
                return_scores=True,
                return_end_token=True,
                use_vmap=self._shortlist and not suppressed and not any(prefixes[i] for i in rows),
            )

        size = _LISTED_BATCH if self._shortlist else _BATCH
        batches = map(begin, (order[i : i + size] for i in range(0, len(order), size)))
        running = deque(islice(batches, self._ahead))  # all at once could not be interrupted
        while running:
            rows, results = running.popleft()
            yield from zip(rows, (one.result() for one in results), strict=True)
            running.extend(islice(batches, 1))

    def _hypotheses(self, result: Any, limit: int, before: float, alpha: float) -> list[Hypothesis]:
        """The outputs that came to their end within the limit; if none did, the best one up to there."""
        found = []
        for pieces, after in zip(result.hypotheses, result.scores, strict=True):
            log_prob = before + after
            ids = tuple(self._ids[piece] for piece in pieces)
            ended = ids[-1:] == (IDS.eos,)
            ids = ids[:-1] if ended else ids
            score = log_prob / length_penalty(len(ids) + 1, alpha)
            found.append((ended and len(ids) <= limit, Hypothesis(ids=ids[:limit], log_prob=log_prob, score=score)))
        return [h for whole, h in found if whole] or [found[0][1]]


def _vocabularies(path: Path) -> list[Path]:
    shared = path / "shared_vocabulary.json"
    return [shared] if shared.is_file() else [path / "source_vocabulary.json", path / "target_vocabulary.json"]
