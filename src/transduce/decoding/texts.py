"""Between lines of text and the pieces that a search takes and gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from transduce.decoding.lines import cut
from transduce.decoding.search import Hypothesis
from transduce.errors import DataError
from transduce.text.form import Normal, normalise, one_line
from transduce.text.pieces import IDS, PLACEHOLDERS, TAGS
from transduce.text.placeholders import cover, hide, hide_both, restore
from transduce.text.tokenizer import TokenizerPair

Warn = Callable[[str], None]

_NAMED = 10  # lines, in one warning


@dataclass(frozen=True, kw_only=True, slots=True)
class Translation:
    """One output as text. `log_prob` is its log-probability, `score` the same over the length penalty.

    For a line that was translated in parts both are sums over the parts.
    """

    text: str
    score: float
    log_prob: float


@dataclass(frozen=True, slots=True)
class Part:
    """What goes through the model at once, in pieces, and the things that its placeholders stand for."""

    ids: list[int]
    things: list[str]


@final
class Texts:
    """What a model reads and writes, as text: its tokenizers, the normal form of its texts and the lengths it takes.

    Args:
        tokenizers: Those that the model was trained with.
        normal: The normal form of Unicode that texts are brought into.
        placeholders: Numbers, addresses and the like go through the model as placeholders (`text.placeholders`).
        longest_source: Most pieces of a source that go through the model at once.
        longest_target: Most pieces of an output.
    """

    def __init__(
        self,
        tokenizers: TokenizerPair,
        normal: Normal,
        *,
        longest_source: int,
        longest_target: int,
        placeholders: bool = False,
    ) -> None:
        self._tokenizers = tokenizers
        self._normal: Normal = normal
        self._placeholders = placeholders
        self.longest_source = longest_source
        self.longest_target = longest_target
        pieces = tokenizers.target.pieces(range(tokenizers.target.size))
        self._tags = [i for i, piece in enumerate(pieces) if piece in TAGS]  # they would decode to nothing
        self._reserved = [i for i, piece in enumerate(pieces) if placeholders and piece in PLACEHOLDERS]

    def forbidden(self, keeping: bool) -> list[int]:
        """What outputs never have: tags; and placeholders, if in the input there are no things for them (`keeping`)."""
        return self._tags if keeping else self._tags + self._reserved

    def line(self, text: str) -> str:
        """`text` on one line, in the normal form."""
        return normalise(one_line(text), self._normal)

    def parts(self, texts: Sequence[str], first: int, warn: Warn) -> list[list[Part]]:
        """Every line as its parts: one as a rule, none for a blank line, several when it is too long. `warn` hears of
        those, and of what the model has no pieces for. Raises `DataError` for a tag that the model does not know."""
        found: list[list[Part]] = []
        unknown: list[int] = []
        for number, text in enumerate(texts if self._tokenizers.tags else (), start=first):
            self._tokenizers.check_tag(text, f"line {number}")
        for number, (text, part) in enumerate(zip(texts, self._parts(texts), strict=True), start=first):
            if IDS.unk in part.ids:
                unknown.append(number)
            if not text.strip() or not part.ids:
                found.append([])
            elif len(part.ids) <= self.longest_source:
                found.append([part])
            else:
                pieces = self._cut(text)
                warn(
                    f"line {number}: {len(part.ids)} pieces, and this model takes {self.longest_source} at once. "
                    f"It was translated in {len(pieces)} parts; shorter lines translate better."
                )
                found.append([Part(one.ids[: self.longest_source], one.things) for one in self._parts(pieces)])
        if unknown:
            lines = ", ".join(map(str, unknown[:_NAMED]))
            more = f" and {len(unknown) - _NAMED:,} more" if len(unknown) > _NAMED else ""
            s = "s" if len(unknown) > 1 else ""
            warn(f"line{s} {lines}{more}: text that this model has no pieces for; it reads all such text alike.")
        return found

    def _parts(self, texts: Sequence[str]) -> list[Part]:
        hidden = [self._hidden(text) for text in texts]
        rows = self._tokenizers.encode_sources([text for text, _ in hidden])
        return [Part(ids, things) for ids, (_, things) in zip(rows, hidden, strict=True)]

    def _hidden(self, text: str) -> tuple[str, list[str]]:
        if not self._placeholders:
            return text, []
        tag, rest = self._tokenizers.split_tag(text)
        hidden, things = hide(rest)
        return tag + hidden, things

    def pair(self, source: str, target: str) -> tuple[str, str]:
        """Both sides on one line, in the normal form, with placeholders for what both have: as in training."""
        source, target = self.line(source), self.line(target)
        if not self._placeholders:
            return source, target
        tag, rest = self._tokenizers.split_tag(source)
        hidden, covered = hide_both(rest, target)
        return tag + hidden, covered

    def prefixes(self, texts: Sequence[str], lines: Sequence[Sequence[Part]], first: int) -> list[list[int]]:
        """The pieces of every prefix, for lines in parts. Raises `DataError` where no output of this model begins with
        them, or there is no line.
        """
        never = {IDS.pad, IDS.unk, IDS.bos, IDS.eos}
        things = [line[0].things if line else [] for line in lines]
        texts = [cover(self.line(text).strip(), known) for text, known in zip(texts, things, strict=True)]
        found = self._tokenizers.target.encode_batch(texts)
        for number, (text, ids, line) in enumerate(zip(texts, found, lines, strict=True), start=first):
            if not ids:
                continue
            if not line:
                raise DataError(f"line {number}: a prefix for a blank line. Leave the prefix blank too.")
            if len(ids) > self.longest_target:
                raise DataError(
                    f"line {number}: a prefix of {len(ids)} pieces, but this model writes {self.longest_target}. "
                    "Shorten it."
                )
            if not never.union(self.forbidden(bool(line[0].things))).isdisjoint(ids):
                raise DataError(
                    f"line {number}: the prefix {text!r} has characters that this model never writes. "
                    "Write them otherwise, or leave it blank."
                )
        return found

    def outputs(
        self, hypotheses: Sequence[Hypothesis], things: Sequence[str] = (), n: int | None = None
    ) -> list[Translation]:
        """At most `n` outputs as text, each text once (spaces apart), at its best score; those first in which the
        fewest of `things` had to be put right (`restore`).
        """
        found: dict[str, tuple[int, Translation]] = {}
        for h in hypotheses:
            text = one_line(self._tokenizers.target.decode(h.ids))  # bytes may spell anything, a line break too
            text, wrong = restore(text, things) if self._placeholders else (text, 0)
            words = " ".join(text.split())
            fewest, best = found.get(words, (wrong, Translation(text=text, score=h.score, log_prob=h.log_prob)))
            found[words] = min(fewest, wrong), best
        return [output for _, output in sorted(found.values(), key=lambda each: each[0])][:n]

    def _cut(self, text: str) -> list[str]:
        """The parts of a line that is too long, each with its tag."""
        tag, rest = self._tokenizers.split_tag(text)

        def fits(part: str) -> bool:
            return len(self._parts([tag + part])[0].ids) <= self.longest_source

        return [tag + part for part in cut(rest, fits)]


def join(parts: Sequence[Sequence[Translation]]) -> list[Translation]:
    """The k-th output of a line is made of the k-th outputs of its parts; a line without parts is empty."""
    if not parts:
        return [Translation(text="", score=0.0, log_prob=0.0)]
    return [
        Translation(
            text=" ".join(part.text for part in kth),
            score=sum(part.score for part in kth),
            log_prob=sum(part.log_prob for part in kth),
        )
        for kth in zip(*parts, strict=False)
    ]
