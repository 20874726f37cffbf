"""What the report warns of: of what it is for, with what to do, and of nothing where the data is in order."""

import json
from collections.abc import Sequence

import numpy as np
import pytest

from transduce.data.cleaning import EVERY_RULE, RULES, CleaningConfig
from transduce.data.preflight import Preflight, reasons, to_values, warnings
from transduce.data.survey import survey

pytestmark = pytest.mark.unit

Pair = tuple[str, str]


def sentences(n: int = 300) -> list[Pair]:
    """Pairs in order: sentences with translations of about their length, and some words and titles."""
    random = np.random.default_rng(0)
    lengths = [1, 2, 3, *random.integers(4, 25, n - 3)]
    sources = [[f"word{random.integers(999)}" for _ in range(n)] for n in lengths]
    return [(" ".join(words), " ".join(word.replace("word", "Wort") for word in words)) for words in sources]


def preflight(
    pairs: Sequence[Pair],
    cleaning: CleaningConfig = EVERY_RULE,
    dev: Sequence[Pair] | None = None,
    test: Sequence[Pair] | None = None,
    left_out: dict[str, int] | None = None,
) -> Preflight:
    return Preflight(
        survey=survey(pairs, dev=dev, test=test),
        cleaning=cleaning,
        left_out=left_out or {},
        kept=len(pairs) - sum((left_out or {}).values()),
        made=0,
        held_out=0,
        dev_pairs=0 if dev is None else len(dev),
        dev_empty=0,
    )


def test_data_in_order_gives_no_warning() -> None:
    good = sentences()
    assert warnings(preflight(good[:250], dev=good[250:270], test=good[270:])) == []
    words = [(f"word{i}", f"W {i // 10} {i % 10}") for i in range(300)]
    assert warnings(preflight(words)) == []


GOOD = sentences()
CASES: dict[str, tuple[list[Pair], str]] = {
    "encoding": ([*GOOD, ("CafÃ©", "x\ufffd")], "source lines with marks of a wrong encoding: 1 with Ã© for é"),
    "ratio": (
        [*GOOD, (GOOD[-1][0], GOOD[-1][1] * 30)],
        r"1 of 301 (0.3%) pairs have lengths that do not fit each other.",
    ),
    "copied": ([*GOOD, (GOOD[-1][0], GOOD[-1][0])], r"1 of 301 (0.3%) pairs are sentences that nobody translated."),
    "duplicate": ([*GOOD, *GOOD[:9]], "9 of 309 (2.9%) pairs are copies of earlier ones."),
}


@pytest.mark.parametrize("rule", CASES)
def test_what_a_rule_leaves_out_is_said_with_how_to_switch_it_on(rule: str) -> None:
    pairs, message = CASES[rule]
    for config in (EVERY_RULE, CleaningConfig()):
        (found,) = [text for text in warnings(preflight(pairs, config)) if text.startswith(message)]
        assert (f"--set cleaning.{rule}=true" in found) == (not getattr(config, rule))


def test_the_overlap_with_dev_and_test() -> None:
    on, off = (warnings(preflight(GOOD, c, dev=GOOD[:3], test=GOOD[2:7])) for c in (EVERY_RULE, CleaningConfig()))
    assert on == [
        "3 of 3 dev pairs are training pairs too. They are left out.",
        "5 of 5 test pairs are training pairs too. They are left out.",
        "1 of 5 test pairs are dev pairs too: the model is chosen by them. Take them out of one of the two sets.",
    ]
    assert off[0] == (
        "3 of 3 dev pairs are training pairs too. Scores on them measure memory. "
        "--set cleaning.in_dev=true leaves them out of training."
    )


@pytest.mark.parametrize(
    ("pairs", "left_out", "message"),
    [
        ([*GOOD, ("a\rb", "c")], {}, "1 source lines have a carriage return inside"),
        ([*GOOD, ("e\u0301", "c")], {}, "1 of 301 source lines are not in the normal form NFC"),
        ([(s, GOOD[i - 1][1]) for i, (s, _) in enumerate(GOOD)], {}, "Long sources hardly have longer targets than"),
        ([p for p in GOOD if len(p[0]) > 40], {}, "source lines have one to three words: the model will not know"),
        ([*GOOD, *((s, t[:-1]) for s, t in GOOD[:150])], {}, "150 of 300 sources have several different targets"),
        ([(f">>de<< {s}", t) for s, t in GOOD], {}, "300 of 300 (100.0%) source lines begin with a tag like >>de<<,"),
        (GOOD, {"too_long": 9}, "9 of 300 (3.0%) pairs are left out as too long. A larger data.max_length"),
        (GOOD, {"empty": 9}, "9 of 300 (3.0%) pairs have a side without text."),
    ],
)
def test_what_else_deserves_attention(pairs: list[Pair], left_out: dict[str, int], message: str) -> None:
    (found,) = warnings(preflight(pairs, left_out=left_out))
    assert message in found


def test_misaligned_files_are_noticed_and_words_are_not_compared() -> None:
    half = [(s, GOOD[i - 1][1] if i > 150 else t) for i, (s, t) in enumerate(GOOD)]
    assert any("do not belong together" in text for text in warnings(preflight(half)))
    words = [(f"word{i}", f"{i}" * (1 + i % 5)) for i in range(300)]
    assert warnings(preflight(words)) == []


def test_reasons_in_words() -> None:
    assert reasons({"duplicate": 1200, "empty": 3, "kept": 9, "ratio": 0}) == "3 empty, 1,200 duplicate"
    assert reasons(dict.fromkeys(RULES, 0)) == ""


def test_json_has_everything() -> None:
    report = preflight(GOOD, dev=GOOD[:1])
    values = json.loads(json.dumps(to_values(report)))
    assert values["warnings"] == warnings(report)
    assert values["survey"]["source"]["words"] == report.survey.source.words
    assert values["survey"]["dev_in_train"]["shared_pairs"] == 1
    assert values["survey"]["test_in_train"] is None
    assert values["cleaning"]["copied"] is True
