"""Corpus metrics, each with the signature that makes its number comparable."""

from collections.abc import Sequence
from dataclasses import dataclass

from transduce.errors import DataError
from transduce.evaluation.statistics import METRICS, check_metric, line_statistics

__all__ = ["METRICS", "MetricScore", "evaluate", "group_references", "higher_is_better"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricScore:
    """A score between 0 and 100 (error rates may pass 100), and how it was computed, in sacreBLEU's notation."""

    score: float
    signature: str


@dataclass(frozen=True, slots=True)
class Measured:
    """Inputs, the references of each, and how outputs are measured. `sources` may be unknown (None); of `metrics` the
    first is the main one; languages may be unknown ("")."""

    sources: Sequence[str] | None
    references: Sequence[Sequence[str]]
    metrics: Sequence[str]
    tokenize: str
    source_lang: str = ""
    target_lang: str = ""


def higher_is_better(metric: str) -> bool:
    """Whether more is better: so for `bleu`, `chrf` and `accuracy`, not for the error rates `ter`, `wer` and `per`."""
    match check_metric(metric):
        case "bleu" | "chrf" | "accuracy":
            return True
        case "ter" | "wer" | "per":
            return False


def evaluate(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], metrics: Sequence[str], tokenize: str = "13a"
) -> dict[str, MetricScore]:
    """Each of `metrics` over a corpus; `references[i]` are all references of line i, one or more.

    - `bleu`, `chrf`, `ter`: sacreBLEU's, with its defaults and its signature. `tokenize` is BLEU's alone: "13a" for
      plain text, "none" for text whose spaces are already token boundaries. Section 6.1 of the paper reports BLEU.
    - `wer`: 100 * the share of lines that equal none of their references, but for the width of white space. This is the
      *word* error rate of the grapheme-to-phoneme field, where a line is the pronunciation of one word; it is not the
      edit distance in words that speech recognition gives the same name.
    - `per`: phone error rate, 100 * the summed edit distance in tokens between white space to the nearest reference,
      by the summed length of those references. Of references equally near, the shortest counts.
    - `accuracy`: 100 * the share of lines that equal one of their references, so 100 - `wer`.

    Differs: BLEU is sacreBLEU's, whose signature says how to compute it again. The paper does not say how it computed
    its own; the code published with it splits tokens and compounds first, which gives other (higher) numbers.

    Raises `ConfigError` on an unknown metric or tokenizer, `DataError` when the lines do not fit together.
    """
    scores: dict[str, MetricScore] = {}
    for name in [check_metric(metric) for metric in metrics]:
        statistics = line_statistics(name, hypotheses, references, tokenize)
        scores[name] = MetricScore(score=statistics.total, signature=statistics.signature)
    return scores


def group_references(
    sources: Sequence[str], targets: Sequence[str], *, by_line: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Lines with the same source are several references of one input; `by_line` each has one, its own.

    Gives the different sources in the order of their first line, and for each its different targets in order. Raises
    `DataError` when the counts differ.
    """
    if len(sources) != len(targets):
        raise DataError(
            f"{len(sources)} sources, but {len(targets)} targets. Line i of one must belong to line i of the other."
        )
    if by_line:
        return list(sources), [[target] for target in targets]
    references: dict[str, list[str]] = {}
    for source, target in zip(sources, targets, strict=True):
        known = references.setdefault(source, [])
        if target not in known:
            known.append(target)
    return list(references), list(references.values())
