"""The same outputs, scored in all the ways that people quote BLEU in: why 26.65 here is 27.3 there."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import unescape

from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from transduce.evaluation.metrics import evaluate

_HYPHEN = re.compile(r"(\S)-(\S)")
_JOINED = re.compile(r" ?@([-–/])@ ?")
_LEFT = re.compile(r" ([.,;:!?%)\]}»…]|'\w{1,2}\b|n't\b)")
_RIGHT = re.compile(r"([(\[{¿¡«$£€]) ")
_QUOTED = re.compile(r'" ([^"]*?) "')


@dataclass(frozen=True, kw_only=True, slots=True)
class Convention:
    """One way to score: what it is called, the scores as the case is and in lower case, how sacreBLEU writes it (with
    `pre:` and what was done to the text before)."""

    name: str
    metric: str
    cased: float
    lowered: float
    signature: str


def conventions(outputs: Sequence[str], references: Sequence[Sequence[str]], *, tokenised: bool) -> list[Convention]:
    """BLEU and chrF of the same outputs by every convention.

    Text that is `tokenised` is scored as it stands, and once more with its tokens joined to text again (`detokenise`).
    """
    tokens: Callable[[str], str] = _as_is if tokenised else Tokenizer13a()  # type: ignore[no-untyped-call]  # sacreBLEU's has no types
    compounds = "compounds" if tokenised else "13a,compounds"
    ways: list[tuple[str, str, str, str, Callable[[str], str]]] = [
        ("as it stands, divided at spaces alone", "bleu", "none", "", _as_is),
        ("sacreBLEU's default, 13a: punctuation apart", "bleu", "13a", "", _as_is),
        ("international: every Unicode punctuation mark apart", "bleu", "intl", "", _as_is),
        (
            "compounds divided at hyphens, as the paper's own code did",
            "bleu",
            "none",
            compounds,
            lambda t: split_hyphens(tokens(t)),
        ),
        ("characters", "bleu", "char", "", _as_is),
        ("characters, in n-grams up to 6", "chrf", "13a", "", _as_is),
    ]
    if tokenised:
        ways.insert(2, ("detokenised (nearly), then 13a", "bleu", "13a", "detokenised", detokenise))
    return [_score(*way, outputs, references) for way in ways]


def split_hyphens(tokens: str) -> str:
    """`well-known` to `well ##AT##-##AT## known`, as the script that was published with the paper's code does before it
    counts (`get_ende_bleu.sh`). A compound that is right then matches as
    three tokens, and as the n-grams between them, so BLEU usually comes out higher."""
    return _HYPHEN.sub(r"\1 ##AT##-##AT## \2", tokens)


def detokenise(tokens: str) -> str:
    """Tokens as Moses makes them to text as people write it; nearly, for quotation marks differ between languages."""
    text = _JOINED.sub(r"\1", unescape(tokens))
    text = _QUOTED.sub(r'"\1"', text)
    return _RIGHT.sub(r"\1", _LEFT.sub(r"\1", text))


def _as_is(text: str) -> str:
    return text


def _score(
    name: str,
    metric: str,
    tokenize: str,
    before: str,
    change: Callable[[str], str],
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
) -> Convention:
    changed = [change(o) for o in outputs], [[change(r) for r in refs] for refs in references]
    lower = [o.lower() for o in changed[0]], [[r.lower() for r in refs] for refs in changed[1]]
    cased, lowered = (evaluate(*texts, [metric], tokenize)[metric] for texts in (changed, lower))
    signature = f"{cased.signature}|pre:{before}" if before else cased.signature
    return Convention(name=name, metric=metric, cased=cased.score, lowered=lowered.score, signature=signature)
