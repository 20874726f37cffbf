"""Subword tokenizers: text to ids and back, losslessly where the kind of tokenizer allows it (paper, section 5.1).

Differs: SentencePiece (BPE, unigram, characters, words) instead of the byte-pair and word-piece tools of the paper; BPE
is the same algorithm (Sennrich et al., 2016), with the space kept inside the piece, so that text comes back unchanged.

Differs: with `tokenizer.dropout` or `tokenizer.sampling`, both off by default, every epoch of training reads other
pieces of the same text (BPE-dropout, Provilkov et al., 2020; subword regularisation, Kudo, 2018).
"""

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import index
from pathlib import Path
from random import Random
from typing import Any, Literal, Self, SupportsIndex, assert_never, final, get_args

import sentencepiece

from transduce.errors import BundleError, ConfigError, DataError
from transduce.files import write_atomically
from transduce.text.draws import by_probability, without_merges
from transduce.text.form import check_tags, split_tag
from transduce.text.pieces import IDS, PLACEHOLDERS, TAGS

Kind = Literal["bpe", "unigram", "characters", "words", "tagged"]
"""`words` are whitespace-separated symbols (phones, actions); in `characters` a space is a character like any other.

`tagged` is for lines such as `walk V;PST`, a lemma and what is wanted of it: characters, but each tag of the last word
is a piece of its own."""

_SHARED = 64  # so many texts are worth SentencePiece's own threads, which it makes for every list, even of one
_N_RESERVED = 4 + len(TAGS) + len(PLACEHOLDERS)
_N_BYTES = 256
_SPACE = "\u2581"  # what SentencePiece writes for a space inside pieces
_UNUSABLE = ("\0", "\t", "\n", "\r", _SPACE, "\u2585")  # SentencePiece's trainer uses these itself or skips the line
_LINE_CHARACTERS = 1000  # it also skips lines over 4,192 bytes; a character has at most 4


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerConfig:
    """What kind of pieces each side has. `size` is an upper limit; small data may not support that many pieces.

    Above 0, words are cut anew in every epoch of training: bpe with each merge left out with probability `dropout`;
    unigram by drawing a segmentation with probability proportional to P(segmentation)^`sampling`. Sides of other kinds
    stay as they are.

    Raises:
        ConfigError: an unknown kind, a size below the reserved pieces, `joint` with two different kinds; `dropout` or
            `sampling` that is out of range or that no side is of the kind for.
    """

    source: Kind = "bpe"
    target: Kind = "bpe"
    joint: bool = True
    size: int = 8000
    dropout: float = 0.0
    sampling: float = 0.0

    def __post_init__(self) -> None:
        for side, kind in (("source", self.source), ("target", self.target)):
            if kind not in get_args(Kind):
                raise ConfigError(f"tokenizer.{side} = {kind!r}: choose one of {', '.join(get_args(Kind))}.")
        if self.size <= _N_RESERVED:
            raise ConfigError(f"tokenizer.size = {self.size}: {_N_RESERVED} pieces are reserved; it must be larger.")
        if self.target == "tagged":
            raise ConfigError("tokenizer.target = 'tagged': tags are read, not written. Choose another kind.")
        if self.joint and self.source != self.target:
            raise ConfigError(
                f"tokenizer.joint = true, but source is {self.source!r} and target is {self.target!r}. "
                "One vocabulary has one kind: set tokenizer.joint = false, or the same kind for both sides."
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"tokenizer.dropout = {self.dropout}: a probability, at least 0 and below 1.")
        if not 0.0 <= self.sampling <= 1.0:
            raise ConfigError(
                f"tokenizer.sampling = {self.sampling}: an exponent from 0 (off) to 1; 0.1 to 0.5 is usual."
            )
        for name, kind, value in (("dropout", "bpe", self.dropout), ("sampling", "unigram", self.sampling)):
            if value > 0 and kind not in (self.source, self.target):
                raise ConfigError(
                    f"tokenizer.{name} = {value}: it is of {kind} pieces, but source is {self.source!r} and target is "
                    f"{self.target!r}. Set tokenizer.{name} = 0, or a side to {kind!r}."
                )


@final
class Tokenizer:
    """An immutable SentencePiece model. Build one with `train` or `load`, or of what `to_bytes` gave.

    `decode(encode(text)) == text` for every string when trained on raw text: what has no piece of its own is spelled in
    bytes. Two exceptions: `words`, and what was trained with `pretokenised`, have no bytes and turn the unknown into
    `IDS.unk` (`words` also reduces runs of spaces to one); lone surrogates are not text and raise `DataError`.
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._processor = _processor(model)
        self._bytes: list[int] = self._processor.piece_to_id([f"<0x{value:02X}>" for value in range(_N_BYTES)])
        self._has_bytes = all(self._processor.is_byte(self._bytes))
        self._alphabet = frozenset().union(*self._processor.id_to_piece(list(range(self.size))))

    @classmethod
    def train(cls, lines: Iterable[str], kind: Kind, size: int, pretokenised: bool) -> Self:
        """Learn a vocabulary of at most `size` pieces. The same lines in the same order give the same bytes.

        `pretokenised`: the spaces in `lines` are token boundaries already, so they are the only ones that count, and
        no bytes are reserved for the unseen.

        Raises:
            DataError: there is no text in `lines`, or nothing but what the reserved pieces look like (`<s>`, `<unk>`).
            ConfigError: `size` leaves no room beside the reserved pieces.
        """
        usable = [line for line in lines if line.strip()]
        if not usable:
            raise DataError("There is no text to train a tokenizer on: every line is empty. Check the training files.")
        with_bytes = kind != "words" and not pretokenised
        tags = _tags(usable) if kind == "tagged" else []
        room = size - _N_RESERVED - (_N_BYTES if with_bytes else 0) - len(tags)
        if room < 2:
            reserved = ["special", "placeholders", "tags", *(["the 256 bytes"] if with_bytes else [])]
            reserved += [f"{len(tags)} found in the text"] if tags else []
            raise ConfigError(
                f"tokenizer.size = {size}: {size - room} pieces are reserved ({', '.join(reserved)}), "
                f"so it must be at least {size - room + 2}."
            )
        if kind == "words":
            table = _blanks(_UNUSABLE)
        else:  # bytes can spell rare characters, so merges get at least half of the room; without bytes they cannot
            merges = room // 2 if with_bytes and kind in ("bpe", "unigram") else 0
            table = _blanks(_UNUSABLE) | _blanks(_rare_characters(usable, max(1, room - merges - 1)))
        chunks = [_utf8(chunk) for line in usable for chunk in _chunks(line.translate(table))]
        return cls(_train(chunks, size, {"byte_fallback": with_bytes} | _kind_options(kind, pretokenised, tags)))

    def to_bytes(self) -> bytes:
        """The SentencePiece model file, byte for byte."""
        return self._model

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a SentencePiece model file. Raises `BundleError` when it is missing, truncated or foreign."""
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise BundleError(f"{path}: cannot read this tokenizer ({error.strerror}). Check the path.") from error
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from error

    def save(self, path: Path) -> None:
        """Write the SentencePiece model file, whole or not at all. Raises `SaveError`."""
        write_atomically(path, self._model)

    @property
    def size(self) -> int:
        """Number of ids, reserved ones included."""
        return int(self._processor.get_piece_size())

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without bos and eos. Raises `DataError` on lone surrogates."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text, using all processors; the result does not depend on their number."""
        stand_ins = [self._stand_in(text) for text in texts]
        safe = [text.replace(_SPACE, mark) if mark else text for text, mark in zip(texts, stand_ins, strict=True)]
        encode, utf8 = self._processor.encode, [_utf8(text) for text in safe]
        rows: list[list[int]] = encode(utf8) if len(utf8) >= _SHARED else [encode(text) for text in utf8]
        return [self._put_back(row, mark) if mark else row for row, mark in zip(rows, stand_ins, strict=True)]

    @property
    def kind_of_draws(self) -> Literal["bpe", "unigram", "none"]:
        """By what rule `draw` draws; `none` where a text has one segmentation only."""
        try:
            self._processor.sample_encode_as_ids("a", nbest_size=-1, alpha=0.5)
        except RuntimeError:  # so the library says what a model cannot do; it has no other way to ask
            return "none"
        try:
            found = self._processor.nbest_encode_as_ids("a", nbest_size=1)
        except RuntimeError:
            return "bpe"
        return "unigram" if found else "bpe"  # some versions say nothing instead

    def draw(self, words: Sequence[str], strength: float, seed: int) -> list[list[int]]:
        """A random segmentation of each word, whose letters all have pieces; the same for the same words and seed.

        `strength` is the probability of leaving out a merge for bpe, the exponent of probabilities for unigram.
        """
        random = Random(seed)
        listed = zip(self.pieces(range(self.size)), self.are_parts_of_words(), strict=True)
        ids = {piece: i for i, (piece, is_part) in enumerate(listed) if is_part}
        scores = {piece: self._processor.get_score(i) for piece, i in ids.items()}
        by: Callable[..., Iterator[list[str]]] = without_merges
        if self.kind_of_draws == "unigram":
            by = partial(by_probability, longest=max(map(len, scores)))
        found: list[list[int]] = []
        for word, same in groupby(words):
            drawn = by(_SPACE + word, scores, strength, random)
            found += [[ids[piece] for piece in next(drawn)] for _ in same]
        return found

    def are_parts_of_words(self) -> list[bool]:
        """For each id whether it is an ordinary piece: not special, not a placeholder, not a byte."""
        p, own = self._processor, frozenset(PLACEHOLDERS)
        ids = range(self.size)
        return [
            not (p.is_control(i) or p.is_unknown(i) or p.is_byte(i) or p.is_unused(i) or p.id_to_piece(i) in own)
            for i in ids
        ]

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Text of `ids`; special ids and tags give nothing, `unk` gives ⁇. Raises `IndexError` on ids out of range."""
        return str(self._processor.decode(self._checked(ids)))

    def id_to_piece(self, i: SupportsIndex) -> str:
        """The piece with this id, `▁` for its spaces. Raises `IndexError` when out of range."""
        return self.pieces([i])[0]

    def piece_to_id(self, piece: str) -> int:
        """The id of a piece; `IDS.unk` when there is none."""
        return int(self._processor.piece_to_id(piece))

    def pieces(self, ids: Iterable[SupportsIndex]) -> list[str]:
        """The piece of every id, for people to look at."""
        pieces: list[str] = self._processor.id_to_piece(self._checked(ids))
        return pieces

    def _checked(self, ids: Iterable[SupportsIndex]) -> list[int]:
        numbers = [index(i) for i in ids]
        if numbers and not 0 <= min(numbers) <= max(numbers) < self.size:
            raise IndexError(f"ids from {min(numbers)} to {max(numbers)}, but the vocabulary has {self.size}")
        return numbers

    def _stand_in(self, text: str) -> str:
        """A character to travel in place of U+2581, which SentencePiece would take for a space; empty if not needed.

        It is neither in `text` nor in any piece, so SentencePiece spells it in bytes, which `_put_back` can find.
        """
        if _SPACE not in text or not self._has_bytes:
            return ""
        taken = self._alphabet.union(text)
        return next(c for c in map(chr, range(0x10FFFF, 0, -1)) if c not in taken)

    def _put_back(self, row: list[int], mark: str) -> list[int]:
        """Replace the bytes of the stand-in by those of U+2581. UTF-8 never matches from the middle of a character."""
        old = [self._bytes[value] for value in mark.encode()]
        new = [self._bytes[value] for value in _SPACE.encode()]
        out: list[int] = []
        for i in row:
            out.append(i)
            if out[-len(old) :] == old:
                out[-len(old) :] = new
        return out


@final
class TokenizerPair:
    """The tokenizers of the two sides; one and the same object when the vocabulary is joint.

    `tags` are those that a source may begin with, as `>>de<< A dog runs.`; each is one of the reserved pieces.

    Raises:
        ConfigError: a tag that cannot be written, or too many.
    """

    def __init__(self, source: Tokenizer, target: Tokenizer, tags: Sequence[str] = ()) -> None:
        check_tags(tuple(tags))
        self.source = source
        self.target = target
        self.tags = tuple(dict.fromkeys(tags))

    def encode_sources(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of sources; the piece of a tag comes first. Nothing but a tag is no text, and gives none.

        Raises:
            DataError: a tag that is not one of `tags`, where there are any; lone surrogates.
        """
        if not self.tags:
            return self.source.encode_batch(texts)
        for text in texts:
            self.check_tag(text, "a line")
        parts = [split_tag(text) for text in texts]
        rows = self.source.encode_batch([rest for _, rest in parts])
        return [
            row if not tag else [self._tag_id(tag), *row] if rest.strip() else []
            for row, (tag, rest) in zip(rows, parts, strict=True)
        ]

    def encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        """Ids of sources (`encode_sources`) and of targets, pair by pair. Raises `DataError` as that does."""
        sources = self.encode_sources([source for source, _ in pairs])
        targets = self.target.encode_batch([target for _, target in pairs])
        return list(zip(sources, targets, strict=True))

    def split_tag(self, text: str) -> tuple[str, str]:
        """The tag in front of a source, as it is written, and the rest; without `tags` all is rest."""
        rest = split_tag(text)[1] if self.tags else text
        return text[: len(text) - len(rest)], rest

    def check_tag(self, text: str, where: str) -> None:
        """Raise `DataError`, which names `where`, if `text` begins with a tag that is not one of `tags`, or with two of
        them; without `tags` nothing is a tag."""
        tag, rest = split_tag(text) if self.tags else ("", text)
        if tag and tag not in self.tags:
            known = ", ".join(f">>{known}<<" for known in self.tags)
            raise DataError(f"{where} begins with the tag >>{tag}<<, but the tags of this model are {known}.")
        if tag and (second := split_tag(rest)[0]) in self.tags:
            raise DataError(f"{where} begins with two tags, >>{tag}<< and >>{second}<<. Leave one out.")

    def _tag_id(self, tag: str) -> int:
        return self.source.piece_to_id(TAGS[self.tags.index(tag)])

    @property
    def joint(self) -> bool:
        """Whether both sides share one vocabulary."""
        return self.source is self.target

    def hashes(self) -> dict[str, str]:
        """SHA-256 of both models: shards and weights fit a pair exactly when these are equal."""
        sides = {"source": self.source, "target": self.target}
        return {side: hashlib.sha256(tokenizer.to_bytes()).hexdigest() for side, tokenizer in sides.items()}

    def save(self, folder: Path) -> None:
        """Write `tokenizer.model`, or `source.model` and `target.model`, into a folder. Raises `SaveError`."""
        if self.joint:
            self.source.save(folder / "tokenizer.model")
        else:
            self.source.save(folder / "source.model")
            self.target.save(folder / "target.model")
            (folder / "tokenizer.model").unlink(missing_ok=True)  # of an earlier joint pair: `load` would take it

    @classmethod
    def load(cls, folder: Path, tags: Sequence[str] = ()) -> Self:
        """What `save` wrote; the tags are kept elsewhere. Raises `BundleError` when the files are missing or broken."""
        joint = folder / "tokenizer.model"
        if joint.exists():
            tokenizer = Tokenizer.load(joint)
            return cls(tokenizer, tokenizer, tags)
        if not (folder / "source.model").exists():
            raise BundleError(f"{folder}: no tokenizer here (tokenizer.model, or source.model and target.model).")
        return cls(Tokenizer.load(folder / "source.model"), Tokenizer.load(folder / "target.model"), tags)


def train_tokenizers(
    pairs: Iterable[tuple[str, str]], config: TokenizerConfig, pretokenised: bool, tags: Sequence[str] = ()
) -> TokenizerPair:
    """Train what `config` asks for on both sides of `pairs`; `tags` in front of sources are no text. Raises as
    `Tokenizer.train` and `TokenizerPair` do."""
    sources: list[str] = []
    targets = sources if config.joint else []
    for source, target in pairs:
        sources.append(split_tag(source)[1] if tags else source)
        targets.append(target)
    tokenizer = Tokenizer.train(sources, config.source, config.size, pretokenised)
    if config.joint:
        return TokenizerPair(tokenizer, tokenizer, tags)
    return TokenizerPair(tokenizer, Tokenizer.train(targets, config.target, config.size, pretokenised), tags)


def _processor(model: bytes) -> sentencepiece.SentencePieceProcessor:
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model)
    except (RuntimeError, TypeError) as error:
        raise BundleError("not a SentencePiece model, or a truncated one. Copy it again from where it came.") from error
    found = (processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id())
    if found != (IDS.pad, IDS.unk, IDS.bos, IDS.eos):
        raise BundleError(
            f"a SentencePiece model with pad, unk, bos, eos = {found}; transduce needs "
            f"{(IDS.pad, IDS.unk, IDS.bos, IDS.eos)}. It is truncated, or was not trained by transduce."
        )
    return processor


def _train(lines: Sequence[bytes], size: int, options: dict[str, Any]) -> bytes:
    """A SentencePiece model: nothing normalised, no character left out, fewer pieces than `size` for small data."""
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=written,
            vocab_size=size,
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="identity",
            pad_id=IDS.pad,
            unk_id=IDS.unk,
            bos_id=IDS.bos,
            eos_id=IDS.eos,
            control_symbols=list(TAGS),
            minloglevel=2,
            **options,
        )
    except RuntimeError as error:  # all that is left to go wrong is text without a usable character
        raise DataError(f"The training text has nothing to learn pieces from ({error}). Check the files.") from error
    return written.getvalue()


def _kind_options(kind: Kind, pretokenised: bool, tags: Sequence[str]) -> dict[str, Any]:
    """The part of SentencePiece's options that depends on the kind."""
    match kind:
        case "bpe" | "unigram":
            return {
                "model_type": kind,
                "user_defined_symbols": list(PLACEHOLDERS),
                "remove_extra_whitespaces": False,
                "split_by_unicode_script": not pretokenised,
                "split_by_number": not pretokenised,
            }
        case "characters" | "tagged":  # no space is put before the text: it would only lengthen every sequence by one
            return {
                "model_type": "char",
                "user_defined_symbols": [*PLACEHOLDERS, *tags],
                "remove_extra_whitespaces": False,
                "add_dummy_prefix": False,
            }
        case "words":  # every word is looked up with its space, so placeholders need one to be found
            return {
                "model_type": "word",
                "user_defined_symbols": [_SPACE + piece for piece in PLACEHOLDERS],
                "remove_extra_whitespaces": True,
                "unk_surface": " \u2047",
            }
        case _:
            assert_never(kind)


def _tags(lines: Iterable[str]) -> list[str]:
    """The tags of the last words of lines that have several, with what divides them: ` V` and `;PST` in `walk V;PST`.

    With it, because a lemma may well have a V in it, but hardly a semicolon. The space alone is one of them, since it
    may stand nowhere but before tags.
    """
    found = {_SPACE}
    for line in lines:
        before, _, word = line.rpartition(" ")
        first, *others = word.split(";")
        if before and first:
            found.add(_SPACE + first)
            found |= {f";{tag}" for tag in others if tag}
    return sorted(found)


def _blanks(characters: Iterable[str]) -> dict[int, str]:
    """A table for `str.translate` that turns each of `characters` into a space."""
    return dict.fromkeys(map(ord, characters), " ")


def _rare_characters(lines: Sequence[str], limit: int) -> list[str]:
    """All characters but the `limit` most frequent ones; ties go to the smaller code point."""
    if len(set().union(*lines)) <= limit:
        return []
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(line)
    return sorted(counts, key=lambda c: (-counts[c], c))[limit:]


def _chunks(line: str) -> Iterator[str]:
    """Cut a line that SentencePiece would leave out for its length, at a space where there is one."""
    start = 0
    while len(line) - start > _LINE_CHARACTERS:
        end = line.rfind(" ", start + 1, start + _LINE_CHARACTERS)
        end = end if end > 0 else start + _LINE_CHARACTERS
        yield line[start:end]
        start = end
    yield line[start:]


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{text[:60]!r} has a lone surrogate, so it is not text. Decode it as UTF-8 first.") from error
