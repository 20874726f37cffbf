"""Scores by other conventions: sacreBLEU's own, and the reasons why they differ."""

import pytest
import sacrebleu

from transduce.evaluation.conventions import conventions, detokenise, split_hyphens

pytestmark = pytest.mark.unit

OUTPUTS = ["The well-known dog runs , and the Cat sleeps in the sun .", "A man isn't here ( he said ) ."]
REFERENCES = [["The well-known dog runs, and the cat sleeps under the sun."], ["A man is n't here ( he said ) ."]]


def test_the_scores_are_sacrebleu_s() -> None:
    found = {c.name: c for c in conventions(OUTPUTS, REFERENCES, tokenised=False)}
    streams = [[refs[0] for refs in REFERENCES]]
    lower = [[r.lower() for r in streams[0]]]
    names = {"none": "as it stands", "13a": "sacreBLEU's default", "intl": "international", "char": "characters"}
    for tokenize, start in names.items():
        one = next(c for name, c in found.items() if name.startswith(start) and c.metric == "bleu")
        assert one.cased == pytest.approx(sacrebleu.corpus_bleu(OUTPUTS, streams, tokenize=tokenize, force=True).score)
        lowered = sacrebleu.corpus_bleu([o.lower() for o in OUTPUTS], lower, tokenize=tokenize, force=True).score
        assert one.lowered == pytest.approx(lowered)
        assert f"tok:{tokenize}|" in one.signature
    chrf = next(c for c in found.values() if c.metric == "chrf")
    assert chrf.cased == pytest.approx(sacrebleu.corpus_chrf(OUTPUTS, streams).score)


def test_hyphens_divided_give_longer_matches() -> None:
    assert (
        split_hyphens("a well-known dog - yes, 3-4 x-") == "a well ##AT##-##AT## known dog - yes, 3 ##AT##-##AT## 4 x-"
    )
    outputs, references = ["a well-known man ran home ."], [["a well-known man went home ."]]
    found = {c.name.split()[0]: c.cased for c in conventions(outputs, references, tokenised=True) if c.metric == "bleu"}
    assert found["compounds"] > found["as"]


@pytest.mark.parametrize("tokenised", [False, True])
def test_no_two_ways_have_one_signature(tokenised: bool) -> None:
    found = [(c.metric, c.signature) for c in conventions(OUTPUTS, REFERENCES, tokenised=tokenised)]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("a dog , a cat ; yes !", "a dog, a cat; yes!"),
        ("it &apos;s a man &apos;s dog , is n't it ?", "it's a man's dog, isn't it?"),
        ("he said ( twice ) : &quot; no &quot; .", 'he said (twice): "no".'),
        ("a state @-@ of @-@ the @-@ art dog", "a state-of-the-art dog"),
        ("as people write it.", "as people write it."),
        ("", ""),
    ],
)
def test_tokens_as_people_write_them(tokens: str, text: str) -> None:
    assert detokenise(tokens) == text


def test_tokenised_text_is_also_scored_as_text() -> None:
    names = [[c.name for c in conventions(OUTPUTS, REFERENCES, tokenised=t)] for t in (True, False)]
    assert [name for name in names[0] if name not in names[1]] == ["detokenised (nearly), then 13a"]
