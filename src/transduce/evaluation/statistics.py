"""Sufficient statistics of a corpus metric: one row of numbers a line, and the score as a function of their sum.

Every metric here is of that form, so a corpus score is `score(rows.sum(0))`, and a resampled corpus is scored by adding
up other rows (`compare`), without looking at a text again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.metadata import version
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.base import Metric as SacreMetric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from transduce.errors import ConfigError, DataError

Metric = Literal["bleu", "chrf", "ter", "wer", "per", "accuracy"]
METRICS: tuple[Metric, ...] = get_args(Metric)
Numbers = npt.NDArray[np.float64]

# What sacreBLEU offers for BLEU. The Japanese and Korean ones need a package of their own. Those that would fetch a
# model from the network while scoring are left out: nothing is downloaded here.
TOKENIZERS = ("13a", "none", "intl", "char", "zh", "ja-mecab", "ko-mecab")


@dataclass(frozen=True, kw_only=True, slots=True)
class LineStatistics:
    """`rows` is [lines, k]; `score` takes the sum of any choice of rows, [k]; `signature` says what was computed."""

    rows: Numbers
    score: Callable[[Numbers], float]
    signature: str

    @property
    def total(self) -> float:
        """The score of the whole corpus."""
        return self.score(self.rows.sum(axis=0))

    def of(self, lines: Sequence[int]) -> "LineStatistics":
        """The statistics of these lines alone."""
        return replace(self, rows=self.rows[np.asarray(lines, dtype=np.int64)])

    def each(self) -> list[float]:
        """The score of every line alone."""
        return [self.score(row) for row in self.rows]


def line_statistics(
    metric: Metric, hypotheses: Sequence[str], references: Sequence[Sequence[str]], tokenize: str
) -> LineStatistics:
    """The statistics of `hypotheses[i]` against all of `references[i]`, for every line i.

    Raises `DataError` when there is nothing to compare, when the counts differ or a line has no reference, and
    `ConfigError` when `tokenize` is none of `TOKENIZERS`.
    """
    _check_lines(hypotheses, references)
    check_tokenizer(tokenize)
    match metric:
        case "bleu":
            return _sacrebleu(_bleu(tokenize), hypotheses, references)
        case "chrf":
            return _sacrebleu(CHRF(), hypotheses, references)
        case "ter":
            return _sacrebleu(TER(), hypotheses, references)
        case "wer":
            return _ratio([(not one, 1) for one in _right(hypotheses, references)], "line", references)
        case "accuracy":
            return _ratio([(one, 1) for one in _right(hypotheses, references)], "line", references)
        case "per":
            edits = [_nearest(hyp, refs) for hyp, refs in zip(hypotheses, references, strict=True)]
            return _ratio(edits, "token", references)


def _right(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> list[bool]:
    """Whether each line equals one of its references, but for the width of white space and what there is at its end."""
    return [hyp.split() in [ref.split() for ref in refs] for hyp, refs in zip(hypotheses, references, strict=True)]


def check_metric(name: str) -> Metric:
    """`name` itself, when it is a metric; otherwise a `ConfigError` with the nearest name."""
    for metric in METRICS:
        if metric == name:
            return metric
    raise ConfigError(f"metric {name!r}: no such metric. {_suggest(name, METRICS)}")


def check_tokenizer(name: str) -> None:
    """`ConfigError` with the nearest name unless `name` is one of `TOKENIZERS`."""
    if name not in TOKENIZERS:
        raise ConfigError(f"tokenize = {name!r}: no such tokenizer for BLEU. {_suggest(name, TOKENIZERS)}")


def _suggest(name: str, choices: Sequence[str]) -> str:
    near = get_close_matches(name.lower(), choices, n=1)
    question = f"Did you mean {near[0]!r}? " if near else ""
    return f"{question}Choose from: {', '.join(choices)}."


def _check_lines(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if len(hypotheses) != len(references):
        raise DataError(
            f"{len(hypotheses)} hypotheses, but {len(references)} lines of references. "
            "Line i of one must belong to line i of the other."
        )
    if not hypotheses:
        raise DataError("There is not a single line to score.")
    for number, refs in enumerate(references, start=1):
        if not refs:
            raise DataError(f"Line {number} has no reference. Every hypothesis needs at least one.")


def _bleu(tokenize: str) -> BLEU:
    # force: whether the text is already tokenised is for the caller to say; sacreBLEU would guess, and print its guess.
    try:
        return BLEU(tokenize=tokenize, force=True)
    except RuntimeError as error:  # MeCab is not installed
        raise ConfigError(f"tokenize = {tokenize!r}: {' '.join(str(error).split())}") from error


def _sacrebleu(metric: SacreMetric, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> LineStatistics:
    """By sacreBLEU. Its public functions give scores only; these are what its own significance tests are made of."""
    most = max(len(refs) for refs in references)
    # sacreBLEU wants one stream per reference number, with None where a line has fewer.
    streams = [[refs[n] if n < len(refs) else None for refs in references] for n in range(most)]
    rows = metric._extract_corpus_statistics(hypotheses, streams)  # type: ignore[arg-type]  # None is allowed, says its doc

    def score(sums: Numbers) -> float:
        return float(metric._compute_score_from_stats(sums.tolist()).score)

    return LineStatistics(rows=np.array(rows, dtype=np.float64), score=score, signature=str(metric.get_signature()))


def _ratio(counts: Sequence[tuple[int, int]], unit: str, references: Sequence[Sequence[str]]) -> LineStatistics:
    """100 * sum / sum, of the two columns of `counts`."""
    n_refs = {len(refs) for refs in references}
    nrefs = n_refs.pop() if len(n_refs) == 1 else "var"
    signature = f"nrefs:{nrefs}|case:mixed|unit:{unit}|version:transduce-{version('transduce')}"
    return LineStatistics(rows=np.array(counts, dtype=np.float64), score=_percentage, signature=signature)


def _percentage(sums: Numbers) -> float:
    part, whole = sums.tolist()
    if whole == 0:  # only empty references: an error rate has no unit there, so any error counts as all wrong
        return 100.0 if part else 0.0
    return float(100 * part / whole)


def _nearest(hypothesis: str, references: Sequence[str]) -> tuple[int, int]:
    """Edits to the nearest reference, and its length, in tokens between white space."""
    tokens = hypothesis.split()
    near = nearest(tokens, [reference.split() for reference in references])
    return Levenshtein.distance(tokens, near), len(near)


def nearest(tokens: Sequence[str], candidates: Sequence[list[str]]) -> list[str]:
    """The candidate with the fewest edits from `tokens`; of equally near, the shortest."""
    return min(candidates, key=lambda candidate: (Levenshtein.distance(tokens, candidate), len(candidate)))
