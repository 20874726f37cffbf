"""Between lines of text and the pieces that a search takes and gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from transduce.decoding.lines import cut
from transduce.decoding.search import Hypothesis
from transduce.errors import DataError
from transduce.text.form import Normal, normalise, one_line
from transduce.text.pieces import IDS, TAGS
from transduce.text.tokenizer import TokenizerPair

Warn = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Translation:
    """One output as text. `log_prob` is its log-probability, `score` the same over the length penalty.

    For a line that was translated in parts both are sums over the parts.
    """

    text: str
    score: float
    log_prob: float


@final
class Texts:
    """What a model reads and writes, as text: its tokenizers, the normal form of its texts and the lengths it takes.

    Args:
        tokenizers: Those that the model was trained with.
        normal: The normal form of Unicode that texts are brought into.
        longest_source: Most pieces of a source that go through the model at once.
        longest_target: Most pieces of an output.
    """

    def __init__(self, tokenizers: TokenizerPair, normal: Normal, *, longest_source: int, longest_target: int) -> None:
        self._tokenizers = tokenizers
        self._normal: Normal = normal
        self.longest_source = longest_source
        self.longest_target = longest_target
        pieces = tokenizers.target.pieces(range(tokenizers.target.size))
        self.tags = [i for i, piece in enumerate(pieces) if piece in TAGS]  # they would decode to nothing

    def line(self, text: str) -> str:
        """`text` on one line, in the normal form."""
        return normalise(one_line(text), self._normal)

    def parts(self, texts: Sequence[str], first: int, warn: Warn) -> list[list[list[int]]]:
        """Every line as the ids of its parts: one as a rule, none for a blank line, several when it is too long."""
        encode = self._tokenizers.encode_sources
        found: list[list[list[int]]] = []
        for number, (text, ids) in enumerate(zip(texts, encode(texts), strict=True), start=first):
            if not text.strip() or not ids:
                found.append([])
            elif len(ids) <= self.longest_source:
                found.append([ids])
            else:
                pieces = self._cut(text)
                warn(
                    f"line {number}: {len(ids)} pieces, and this model takes {self.longest_source} at once. "
                    f"It was translated in {len(pieces)} parts; shorter lines translate better."
                )
                found.append([part[: self.longest_source] for part in encode(pieces)])
        return found

    def prefixes(self, texts: Sequence[str], first: int) -> list[list[int]]:
        """The pieces of every prefix. Raises `DataError` where no output of this model begins with them."""
        never = {IDS.pad, IDS.unk, IDS.bos, IDS.eos, *self.tags}
        found = self._tokenizers.target.encode_batch([self.line(text).strip() for text in texts])
        for number, (text, ids) in enumerate(zip(texts, found, strict=True), start=first):
            if len(ids) > self.longest_target:
                raise DataError(
                    f"line {number}: a prefix of {len(ids)} pieces, but this model writes {self.longest_target}. "
                    "Shorten it."
                )
            if not never.isdisjoint(ids):
                raise DataError(
                    f"line {number}: the prefix {text!r} has characters that this model never writes. "
                    "Write them otherwise, or leave it blank."
                )
        return found

    def outputs(self, hypotheses: Sequence[Hypothesis]) -> list[Translation]:
        """Outputs as text, each text once, at its best score."""
        found: dict[str, Translation] = {}
        for h in hypotheses:
            text = one_line(self._tokenizers.target.decode(h.ids))  # bytes may spell anything, a line break too
            found.setdefault(text, Translation(text=text, score=h.score, log_prob=h.log_prob))
        return list(found.values())

    def _cut(self, text: str) -> list[str]:
        """The parts of a line that is too long, each with its tag."""
        tag, rest = self._tokenizers.split_tag(text)

        def fits(part: str) -> bool:
            return len(self._tokenizers.encode_sources([tag + part])[0]) <= self.longest_source

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
