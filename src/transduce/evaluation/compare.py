"""Is one system better than another, or only luckier on these lines? Paired bootstrap resampling (Koehn 2004)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transduce.errors import ConfigError
from transduce.evaluation.metrics import higher_is_better
from transduce.evaluation.statistics import LineStatistics, Metric, Numbers, check_metric, line_statistics


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A score on the lines as they are, and the bounds between which 95% of the resampled scores fall."""

    score: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two systems on the same lines.

    `delta` is b's score minus a's. `wins_a` and `wins_b` are the shares of the samples in which that system is the
    better one (lower, for error rates); what is missing to 1 are ties. `p_value` is that of sacreBLEU's paired
    bootstrap test: how often the difference, were there none, would come out as large as the one observed. (It takes
    the sizes of the differences before it centres them, so for a clear difference it is the p of a one-sided test.)
    """

    metric: str
    signature: str
    a: Interval
    b: Interval
    delta: Interval
    p_value: float
    wins_a: float
    wins_b: float
    samples: int


def compare(
    hypotheses_a: Sequence[str],
    hypotheses_b: Sequence[str],
    references: Sequence[Sequence[str]],
    metric: str,
    tokenize: str = "13a",
    *,
    samples: int = 1000,
    seed: int = 12345,
) -> Comparison:
    """Score both systems on `samples` corpora drawn from the lines with replacement, the same ones for both.

    With the default seed these are the samples that `sacrebleu --paired-bs` draws; intervals and p-value are its
    own, but that a difference as large as the one observed counts too: systems that never differ have a p of 1.
    Raises `ConfigError` on an unknown metric or fewer than one sample, `DataError` when the lines do not fit together.
    """
    name = check_metric(metric)
    a = line_statistics(name, hypotheses_a, references, tokenize)
    b = line_statistics(name, hypotheses_b, references, tokenize)
    return compare_statistics(name, a, b, samples=samples, seed=seed)


def compare_statistics(
    name: Metric, a: LineStatistics, b: LineStatistics, *, samples: int = 1000, seed: int = 12345
) -> Comparison:
    """`compare` of two systems whose lines are counted already. Raises `ConfigError` on fewer than one sample."""
    scores_a, scores_b = resample([a, b], samples, seed)
    gain = scores_b - scores_a if higher_is_better(name) else scores_a - scores_b
    n_refs, _, rest = a.signature.partition("|")
    score_a, score_b = a.total, b.total
    return Comparison(
        metric=name,
        signature=f"{n_refs}|bs:{samples}|seed:{seed}|{rest}",
        a=_interval(score_a, scores_a),
        b=_interval(score_b, scores_b),
        delta=_interval(score_b - score_a, scores_b - scores_a),
        p_value=_p_value(abs(score_b - score_a), scores_b - scores_a),
        wins_a=float(np.mean(gain < 0)),
        wins_b=float(np.mean(gain > 0)),
        samples=samples,
    )


def confidence(statistics: LineStatistics, *, samples: int = 1000, seed: int = 12345) -> Interval:
    """A system's score, and between what 95% of its scores on lines drawn with replacement lie.

    Raises `ConfigError` on fewer than one sample.
    """
    return _interval(statistics.total, resample([statistics], samples, seed)[0])


def resample(systems: Sequence[LineStatistics], samples: int, seed: int) -> Numbers:
    """Scores of all systems on the same `samples` drawings of as many lines as there are: [systems, samples].

    Raises `ConfigError` on fewer than one sample, or a negative seed.
    """
    if samples < 1:
        raise ConfigError(f"samples = {samples}: resampling needs at least one; 1000 is usual.")
    if seed < 0:
        raise ConfigError(f"seed = {seed}: must not be negative.")
    generator = np.random.default_rng(seed)
    n = len(systems[0].rows)
    scores = np.empty((len(systems), samples))
    for i in range(samples):
        lines = generator.choice(n, size=n)
        for system, found in zip(systems, scores, strict=True):
            found[i] = system.score(system.rows[lines].sum(axis=0))
    return scores


def _interval(score: float, resampled: Numbers) -> Interval:
    ordered = np.sort(resampled)
    outside = len(ordered) // 40  # 2.5% at each end
    return Interval(score=score, low=float(ordered[outside]), high=float(ordered[-1 - outside]))


def _p_value(observed: float, deltas: Numbers) -> float:
    """Absolute differences of the samples, shifted to mean 0, that are as large as the one observed.

    The 1 above and below keeps a test with few samples from claiming more than it can know.
    """
    sizes = np.abs(deltas)
    return float((np.sum(sizes - sizes.mean() >= observed) + 1) / (len(sizes) + 1))
