"""Against sacreBLEU's paired bootstrap test, and by laws."""

import random
from importlib.metadata import version

import pytest
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from sacrebleu.significance import PairedTest, Result

from transduce.errors import ConfigError, DataError
from transduce.evaluation import METRICS, compare, evaluate, higher_is_better

pytestmark = pytest.mark.unit


def systems(n: int = 60) -> tuple[list[str], list[str], list[list[str]]]:
    """Two systems that lose words, the first 12% and the second 8% of them."""
    rng = random.Random(0)
    references = [[" ".join(rng.choices("abcdefgh", k=rng.randint(3, 9))) for _ in range(2)] for _ in range(n)]
    a, b = (
        [" ".join(w for w in refs[0].split() if rng.random() > loss) or "a" for refs in references]
        for loss in (0.12, 0.08)
    )
    return a, b, references


@pytest.mark.parametrize(("name", "metric"), [("bleu", BLEU()), ("chrf", CHRF()), ("ter", TER())])
def test_same_numbers_as_sacrebleu(name: str, metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    a, b, references = systems()
    streams = [list(stream) for stream in zip(*references, strict=True)]
    signatures, results = PairedTest([("a", a), ("b", b)], {name: metric}, streams, "bs", n_samples=200)()
    ((label, signature),) = signatures.items()
    theirs_a, theirs_b = results[label]
    assert isinstance(theirs_a, Result)
    assert isinstance(theirs_b, Result)
    ours = compare(a, b, references, name, samples=200)
    assert ours.p_value == theirs_b.p_value
    for interval, theirs in ((ours.a, theirs_a), (ours.b, theirs_b)):
        assert interval.score == pytest.approx(theirs.score)
        assert theirs.ci is not None
        assert (interval.high - interval.low) / 2 == pytest.approx(theirs.ci, rel=1e-4)  # theirs is in float32
    assert ours.signature == str(signature)


@pytest.mark.parametrize("metric", METRICS)
def test_exchanging_the_systems_mirrors_the_result(metric: str) -> None:
    a, b, references = systems()
    there, back = (compare(x, y, references, metric, samples=50) for x, y in ((a, b), (b, a)))
    assert (there.a, there.b, there.p_value) == (back.b, back.a, back.p_value)
    assert (there.wins_a, there.wins_b) == (back.wins_b, back.wins_a)
    assert (there.delta.score, there.delta.low, there.delta.high) == pytest.approx(
        (-back.delta.score, -back.delta.high, -back.delta.low)
    )


@pytest.mark.parametrize("metric", METRICS)
def test_a_system_is_no_better_than_itself(metric: str) -> None:
    a, _, references = systems()
    result = compare(a, a, references, metric, samples=20)
    assert (result.delta.score, result.p_value) == (0, 1)


@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_those_of_evaluate(metric: str) -> None:
    a, b, references = systems()
    result = compare(a, b, references, metric, samples=20)
    assert result.a.score == evaluate(a, references, [metric])[metric].score
    assert result.delta.score == evaluate(b, references, [metric])[metric].score - result.a.score
    assert result.a.low <= result.a.high


@pytest.mark.parametrize("metric", METRICS)
def test_a_much_better_system_wins_and_is_significant(metric: str) -> None:
    a, _, references = systems()
    perfect = [refs[0] for refs in references]
    result = compare(a, perfect, references, metric, samples=200)
    assert result.wins_b == 1
    assert result.p_value < 0.05
    assert (result.delta.low > 0) == higher_is_better(metric)


def test_a_system_does_not_differ_from_itself() -> None:
    a, _, references = systems()
    result = compare(a, a, references, "bleu", samples=50)
    assert (result.wins_a, result.wins_b) == (0, 0)
    assert (result.delta.low, result.delta.high) == (0, 0)


def test_wins_and_interval_of_an_accuracy_by_hand() -> None:
    """One line of one: every sample is the corpus itself."""
    result = compare(["x"], ["y"], [["y"]], "accuracy", samples=40)
    assert (result.a.score, result.a.low, result.a.high) == (0, 0, 0)
    assert (result.delta.score, result.wins_b, result.samples) == (100, 1, 40)
    assert result.signature == f"nrefs:1|bs:40|seed:12345|case:mixed|unit:line|version:transduce-{version('transduce')}"


def test_the_seed_decides() -> None:
    a, b, references = systems()
    assert compare(a, b, references, "bleu", samples=30) == compare(a, b, references, "bleu", samples=30)
    assert compare(a, b, references, "bleu", samples=30) != compare(a, b, references, "bleu", samples=30, seed=1)


def test_impossible_requests() -> None:
    with pytest.raises(ConfigError, match="samples = 0"):
        compare(["a"], ["a"], [["a"]], "bleu", samples=0)
    with pytest.raises(ConfigError, match="Did you mean 'chrf'"):
        compare(["a"], ["a"], [["a"]], "chrf2")
    with pytest.raises(DataError, match="1 hypotheses, but 2 lines of references"):
        compare(["a", "b"], ["a"], [["a"], ["b"]], "bleu")
