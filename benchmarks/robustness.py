"""What a model of sentences does with what people type: the share of such inputs that it handles.

    python -m benchmarks.robustness runs/multi30k_ende_raw --source test.en --reference test.de

Every probe compares the model with itself: a sentence in capitals is handled when its translation, in lower case, is
about that of the sentence as it was (chrF of at least 60), and so on. What "handled" means stands beside each probe.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import sacrebleu

from transduce import Translator
from transduce.data.augment import foreign, lexicon, spans_of
from transduce.data.corpus import AlignedFiles, read_pairs

Translate = Callable[[list[str]], list[str]]
ALIKE = 60.0  # chrF
SENTENCES = 200
WORDS = 150


def probe(translate: Translate, pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Percentage of inputs handled, for each kind of input; `pairs` are sentences of a test set."""
    chance = random.Random(1)
    chosen = [s for s, _ in pairs[:SENTENCES]]
    plain = translate(chosen)
    spans = _spans(pairs)
    words = _words(pairs)
    things = [foreign(chance) for _ in chosen]
    cases: dict[str, tuple[list[str], Callable[[int, str], bool]]] = {
        "single word": ([w for w, _ in words], lambda i, out: _is_word(out, words[i][1])),
        "short span": ([s for s, _ in spans], lambda i, out: _alike(out, spans[i][1])),
        "capitals": ([s.upper() for s in chosen], lambda i, out: _alike(out.lower(), plain[i].lower())),
        "lower case": ([s.lower() for s in chosen], lambda i, out: _alike(out, plain[i])),
        "no full stop": ([s.rstrip(".!? ") for s in chosen], lambda i, out: _bare(out) and _alike(out, plain[i])),
        "two sentences": (
            [f"{a} {b}" for a, b in zip(chosen[::2], chosen[1::2], strict=False)],
            lambda i, out: _alike(out, f"{plain[2 * i]} {plain[2 * i + 1]}"),
        ),
        "something to copy in a sentence": (
            [
                f"{s} {thing}" if i % 2 else f"{thing} {s}"
                for i, (s, thing) in enumerate(zip(chosen, things, strict=True))
            ],
            lambda i, out: things[i] in out and _alike(out.replace(things[i], ""), plain[i]),
        ),
        "something to copy between words": (
            [_inside(s, thing) for s, thing in zip(chosen, things, strict=True)],
            lambda i, out: things[i] in out and _alike(out.replace(things[i], ""), plain[i]),
        ),
        "something to copy alone": (things, lambda i, out: out == things[i]),
    }
    shares = {}
    for name, (inputs, handled) in cases.items():
        outputs = translate(inputs)
        shares[name] = round(100 * sum(handled(i, out) for i, out in enumerate(outputs)) / max(1, len(inputs)), 1)
    return shares


def _inside(text: str, thing: str) -> str:
    words = text.split()
    return " ".join([*words[: len(words) // 2], thing, *words[len(words) // 2 :]])


def _alike(a: str, b: str) -> bool:
    return sacrebleu.sentence_chrf(a, [b]).score >= ALIKE


def _bare(text: str) -> bool:
    return not text.endswith((".", "!", "?"))


def _spans(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    translation = dict(lexicon(pairs))
    found = [spans_of(pair, translation) for pair in pairs]
    return [spans[len(spans) // 2] for spans in found if spans][:SENTENCES]


def _words(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Frequent words of four letters or more, each with the references of the sentences that have it."""
    split = [{w.strip(".,!?\"'") for w in s.split()} for s, _ in pairs]
    counts = Counter(w for words in split for w in words if len(w) >= 4 and w.islower() and w.isalpha())
    frequent = sorted(counts, key=lambda w: (-counts[w], w))[:WORDS]
    return [(w, [t.lower() for words, (_, t) in zip(split, pairs, strict=True) if w in words]) for w in frequent]


def _is_word(out: str, references: list[str]) -> bool:
    """At most three words, the longest of them in at least a fifth of the references."""
    words = out.lower().strip(".!? ").split()
    if not 1 <= len(words) <= 3:
        return False
    return sum(max(words, key=len) in reference for reference in references) >= 0.2 * len(references)


def main() -> None:
    """Print one JSON object: percentages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True)
    asked = parser.parse_args()
    translator = Translator.load(asked.bundle)
    pairs = list(read_pairs(AlignedFiles(source=asked.source, target=asked.reference)))
    print(json.dumps(probe(translator.translate, pairs)))


if __name__ == "__main__":
    main()
