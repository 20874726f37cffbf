"""Against sacreBLEU's own corpus functions, a textbook edit distance, and by hand."""

import random
from collections.abc import Sequence
from importlib.metadata import version

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU

from transduce.errors import ConfigError, DataError
from transduce.evaluation import METRICS, evaluate, group_references, higher_is_better

pytestmark = pytest.mark.unit

WORDS = ["a", "the", "dog", ",", "cat", "runs", ".", "sleeps", "(quickly)", "under", "Tisch's", "tree"]


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(1, 12)))


def corpus(n: int, n_refs: int, seed: int = 0) -> tuple[list[str], list[list[str]]]:
    """Hypotheses that share a good part of their words with their references, at least one of them exactly."""
    rng = random.Random(seed)
    references = [[sentence(rng) for _ in range(n_refs)] for _ in range(n)]
    hypotheses = [" ".join(w for w in refs[0].split() if rng.random() < 0.9) or "dog" for refs in references]
    return [references[0][-1], *hypotheses[1:]], references


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Levenshtein's recurrence, row by row."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        above, row = row, [i]
        for j, y in enumerate(b, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
    return row[-1]


@pytest.mark.parametrize("n_refs", [1, 3])
@pytest.mark.parametrize("tokenize", ["13a", "none", "intl", "char", "zh"])
def test_bleu_is_sacrebleus(n_refs: int, tokenize: str) -> None:
    hypotheses, references = corpus(40, n_refs)
    streams = [list(stream) for stream in zip(*references, strict=True)]
    ours = evaluate(hypotheses, references, ["bleu"], tokenize)["bleu"]
    assert ours.score == pytest.approx(sacrebleu.corpus_bleu(hypotheses, streams, tokenize=tokenize).score, abs=1e-9)
    metric = BLEU(tokenize=tokenize)
    metric.corpus_score(hypotheses, streams)
    assert ours.signature == str(metric.get_signature())
    assert f"nrefs:{n_refs}|case:mixed|eff:no|tok:{tokenize}|smooth:exp|version:" in ours.signature


@pytest.mark.parametrize("n_refs", [1, 3])
def test_chrf_and_ter_are_sacrebleus(n_refs: int) -> None:
    hypotheses, references = corpus(40, n_refs)
    streams = [list(stream) for stream in zip(*references, strict=True)]
    ours = evaluate(hypotheses, references, ["chrf", "ter"])
    assert ours["chrf"].score == pytest.approx(sacrebleu.corpus_chrf(hypotheses, streams).score, abs=1e-9)
    assert ours["ter"].score == pytest.approx(sacrebleu.corpus_ter(hypotheses, streams).score, abs=1e-9)
    assert ours["chrf"].signature.startswith(f"nrefs:{n_refs}|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    assert ours["ter"].signature.startswith(f"nrefs:{n_refs}|case:lc|tok:tercom|norm:no|punct:yes|asian:no|version:")


@pytest.mark.parametrize("metric", METRICS)
def test_ragged_references(metric: str) -> None:
    """A line with one reference where others have two scores as if that reference were given twice."""
    hypotheses, references = corpus(30, 2, seed=1)
    ragged = [refs[: 1 + i % 2] for i, refs in enumerate(references)]
    padded = [refs * (2 // len(refs)) for refs in ragged]
    ours = evaluate(hypotheses, ragged, [metric])[metric]
    assert ours.score == pytest.approx(evaluate(hypotheses, padded, [metric])[metric].score, abs=1e-9)
    assert ours.signature.startswith("nrefs:var|")


@given(st.lists(st.tuples(st.text("ab ", max_size=8), st.lists(st.text("ab ", max_size=8), min_size=1)), min_size=1))
def test_error_rates_by_textbook(lines: list[tuple[str, list[str]]]) -> None:
    hypotheses, references = [hyp for hyp, _ in lines], [refs for _, refs in lines]
    scores = evaluate(hypotheses, references, ["wer", "per", "accuracy"])
    right = sum(any(hyp.split() == ref.split() for ref in refs) for hyp, refs in lines)
    assert scores["accuracy"].score == pytest.approx(100 * right / len(lines))
    assert scores["wer"].score == pytest.approx(100 - 100 * right / len(lines))
    nearest = [min((edit_distance(h.split(), r.split()), len(r.split())) for r in refs) for h, refs in lines]
    edits, length = (sum(column) for column in zip(*nearest, strict=True))
    assert scores["per"].score == pytest.approx(100 * edits / length if length else 100 * (edits > 0))


def test_error_rates_by_hand() -> None:
    """Line 1 is right; line 2 is one phone away from its second reference of four, and two from its first."""
    hypotheses = ["K AE T", "D AO G Z"]
    references = [["K AE T"], ["D AA G", "D AA G Z"]]
    scores = evaluate(hypotheses, references, ["wer", "per", "accuracy"])
    assert (scores["wer"].score, scores["accuracy"].score) == (50, 50)
    assert scores["per"].score == pytest.approx(100 * 1 / 7)
    assert scores["wer"].signature == f"nrefs:var|case:mixed|unit:line|version:transduce-{version('transduce')}"
    assert scores["per"].signature == f"nrefs:var|case:mixed|unit:token|version:transduce-{version('transduce')}"


def test_equally_near_references_do_not_depend_on_their_order() -> None:
    """Both are one edit away; the shorter one counts, as with BLEU's reference length."""
    for references in (["a b c", "a"], ["a", "a b c"]):
        assert evaluate(["a b"], [references], ["per"])["per"].score == 100


@pytest.mark.parametrize("metric", METRICS)
def test_the_best_score_is_a_perfect_score(metric: str) -> None:
    perfect, spoilt = corpus(20, 1, seed=2)[1], corpus(20, 1, seed=3)[1]
    best = evaluate([refs[0] for refs in perfect], perfect, [metric])[metric].score
    worse = evaluate([refs[0] for refs in spoilt], perfect, [metric])[metric].score
    assert best == pytest.approx(100 if higher_is_better(metric) else 0)
    assert (best > worse) == higher_is_better(metric)


def test_tokenised_text_is_not_tokenised_again() -> None:
    """`none` takes tokens as they stand; 13a would split "Tisch's," and change the count."""
    hypotheses, references = ["Tisch's, runs under a tree ."], [["Tisch's, runs under the tree ."]]
    scores = {t: evaluate(hypotheses, references, ["bleu"], t)["bleu"].score for t in ("none", "13a")}
    assert scores["none"] != scores["13a"]
    assert scores["none"] == pytest.approx(
        sacrebleu.corpus_bleu(hypotheses, [["Tisch's, runs under the tree ."]], tokenize="none").score
    )


def test_empty_hypotheses_and_empty_references_score() -> None:
    scores = evaluate(["", ""], [["a b"], [""]], METRICS)
    assert (scores["wer"].score, scores["per"].score, scores["bleu"].score) == (50, 100, 0)
    assert evaluate(["a"], [[""]], ["per"])["per"].score == 100
    assert evaluate([""], [[""]], ["per"])["per"].score == 0


def test_lines_have_to_fit_together() -> None:
    with pytest.raises(DataError, match="2 hypotheses, but 1 lines of references"):
        evaluate(["a", "b"], [["a"]], ["bleu"])
    with pytest.raises(DataError, match="not a single line"):
        evaluate([], [], ["bleu"])
    with pytest.raises(DataError, match="Line 2 has no reference"):
        evaluate(["a", "b"], [["a"], []], ["bleu"])


def test_unknown_names_get_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"metric 'blue': no such metric. Did you mean 'bleu'\?"):
        evaluate(["a"], [["a"]], ["blue"])
    with pytest.raises(
        ConfigError, match="metric 'zzz': no such metric. Choose from: bleu, chrf, ter, wer, per, accuracy"
    ):
        higher_is_better("zzz")
    with pytest.raises(ConfigError, match=r"tokenize = '13b': no such tokenizer for BLEU. Did you mean '13a'\?"):
        evaluate(["a"], [["a"]], ["bleu"], "13b")


def test_a_tokenizer_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ja_mecab.MeCab", None)
    with pytest.raises(ConfigError, match=r"tokenize = 'ja-mecab': .*pip install sacrebleu\[ja\]"):
        evaluate(["a"], [["a"]], ["bleu"], "ja-mecab")


def test_lines_with_the_same_source_are_references_of_one_input() -> None:
    sources, targets = ["a", "b", "a", "a"], ["x", "y", "z", "x"]
    assert group_references(sources, targets) == (["a", "b"], [["x", "z"], ["y"]])
    assert group_references([], []) == ([], [])
    with pytest.raises(DataError, match="2 sources, but 1 targets"):
        group_references(["a", "b"], ["x"])


def test_the_width_of_white_space_makes_no_line_wrong() -> None:
    scores = evaluate(["K AE T ", "D  AO G", "K AET"], [["K AE T"], ["D AO G"], ["K AE T"]], ["wer", "accuracy"])
    assert scores["wer"].score == pytest.approx(100 / 3)
    assert scores["accuracy"].score == pytest.approx(200 / 3)


def test_by_line_every_line_has_its_own_reference() -> None:
    assert group_references(["a", "a"], ["x", "y"], by_line=True) == (["a", "a"], [["x"], ["y"]])
