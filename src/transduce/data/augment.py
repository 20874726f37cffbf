"""Pairs made from pairs: so that a model of neat sentences also takes what people type, and one of few forms does not
learn them by heart.

Models trained on sentences fail on single words, ALL CAPS, no full stop at the end, addresses, numbers, two sentences
at once. To a share of the pairs, `augmented` adds one more, made from it by one of `text_rules`:

    capitals      both sides in capitals
    lower         the source in lower case; the target stays as it should be written
    unpunctuated  both sides without their last full stop, question or exclamation mark
    word          a word and its translation, where the corpus leaves no doubt about it (`lexicon`)
    span          a few words of the pair that belong together on both sides, as such words at both their ends show
    joined        the pair and the one before it, one after the other
    copied        an address, a number, a placeholder put at the start or at the end of both sides
    verbatim      such a thing alone, which is its own translation

Pairs with placeholders (`text.placeholders`) are made by `placeholder_rules`: the same ones on both sides, for what
both have alike and for one to three words whose translation is sure; or one before or after the pair, or alone.

For inflection (lemma and tags to a form) the one rule is a stem that nobody has heard of (`inflection_rules`).

What this buys is in docs/log.md and docs/quality.md. Pure: pairs in, pairs out, and the same ones for the same seed.
"""

import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from functools import partial
from itertools import islice

import numpy as np
import numpy.typing as npt
import regex

from transduce.data.corpus import Numbered, Pair
from transduce.text.form import DOTLESS_I, LETTER, put_tag, split_tag
from transduce.text.pieces import PLACEHOLDERS
from transduce.text.placeholders import hide_both

MADE = 0
"""The number of a pair that is not in the files, which count from 1."""

STEM = 3  # letters that lemma and form have in common, one after the other
LEXICON_PAIRS = 50_000
LEXICON_WORDS = 3000  # the most frequent ones of each side
_SPELLED = rf"(?:(?![\d_]){LETTER})"
_WORD = regex.compile(rf"[^\W\d_]{_SPELLED}*(?:[-']{_SPELLED}+)*")
_NO_PUNCTUATION = regex.compile(rf"(?:{LETTER}|[\s'-])+")
_END = (".", "!", "?", "\u3002", "\uff01", "\uff1f", "\u0964", "\u061f", "\u2026")
_EMOJI = "😀😂😍🙏👍🎉❤🔥✅🚀"
_ENDINGS = ("com", "org", "net", "de", "info")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"

Rule = Callable[[Pair, Pair, random.Random], Pair | None]
Sides = tuple[bool, bool]
Rules = Mapping[Rule, int]
"""Rules, and how often each is taken beside the others."""


def augmented(pairs: Iterable[Numbered], share: float, seed: int, rules: Rules) -> Iterator[Numbered]:
    """Every pair and, for about `share` of them, one made from it, with the number `MADE`; `share` = 2.5 makes two from
    every pair and one more from half of them.

    What becomes of pair n follows from (seed, n) and the pair before it; nothing is made from made ones. A rule that a
    pair gives no occasion for adds nothing. A tag in front of the source stays there.
    """
    before: Pair = ("", "")
    tag_before = ""
    for number, pair in pairs:
        yield number, pair
        if number == MADE or not (pair[0].strip() and pair[1].strip()):
            continue
        tag, source = split_tag(pair[0])
        bare = source, pair[1]
        chance = random.Random(f"{seed} {number}")
        for _ in range(int(share) + (chance.random() < share % 1)):
            (rule,) = chance.choices(list(rules), list(rules.values()))
            made = rule(bare, before if tag == tag_before else ("", ""), chance)
            if made is not None:
                yield MADE, (put_tag(made[0], tag), made[1])
        before, tag_before = bare, tag


def lexicon(pairs: Iterable[Pair]) -> list[Pair]:
    """Words and their translations as the first pairs show them: each is the other's one best match by Dice's
    coefficient, 2 c(s, t) / (c(s) + c(t)), and that is at least a half. For languages that put spaces between words.
    """
    sides: list[tuple[list[str], list[str]]] = []
    spelled: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for source, target in islice(pairs, LEXICON_PAIRS):
        words = tuple(_WORD.findall(text) for text in (split_tag(source)[1], target))
        for side in (0, 1):
            spelled[side].update(words[side][1:])  # the first word's capital is the sentence's
        sides.append((words[0], words[1]))
    chosen = [[w for w, _ in _ranked(c)[:LEXICON_WORDS]] for c in spelled]
    number = [{word: i for i, word in enumerate(words)} for words in chosen]
    together = np.zeros((len(chosen[0]), len(chosen[1])), dtype=np.int32)
    counts = (np.zeros(len(chosen[0])), np.zeros(len(chosen[1])))
    for pair_words in sides:
        found = [sorted({number[side][w] for w in pair_words[side] if w in number[side]}) for side in (0, 1)]
        together[np.ix_(found[0], found[1])] += 1
        for side in (0, 1):
            counts[side][found[side]] += 1
    if not together.size:
        return []
    dice = 2 * together / np.maximum(counts[0][:, None] + counts[1], 1)
    sure = np.argwhere((dice >= 0.5) & (together >= 3) & _unrivalled(dice, 0) & _unrivalled(dice, 1))
    return [(chosen[0][s], chosen[1][t]) for s, t in sure]


def _unrivalled(values: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.bool_]:
    """Where a value is the only largest one along `axis`."""
    largest: npt.NDArray[np.bool_] = values == values.max(axis, keepdims=True)
    alone: npt.NDArray[np.bool_] = largest & (largest.sum(axis, keepdims=True) == 1)
    return alone


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _capitals(dotless_i: Sides, pair: Pair, before: Pair, chance: random.Random) -> Pair | None:
    source, target = (
        text.replace("i", "İ") if dotless else text for text, dotless in zip(pair, dotless_i, strict=True)
    )
    return _changed(pair, (source.upper(), target.upper()))


def _lower(dotless_i: Sides, pair: Pair, before: Pair, chance: random.Random) -> Pair | None:
    source = pair[0].replace("İ", "i").replace("I", DOTLESS_I) if dotless_i[0] else pair[0]
    return _changed(pair, (source.lower(), pair[1]))


def _unpunctuated(pair: Pair, before: Pair, chance: random.Random) -> Pair | None:
    if not all(text.endswith(_END) for text in pair):
        return None
    bare = tuple(text.rstrip("".join(_END)).rstrip() for text in pair)
    return (bare[0], bare[1]) if all(bare) else None


def _word(words: list[Pair], pair: Pair, before: Pair, chance: random.Random) -> Pair | None:
    return chance.choice(words) if words else None


def _span(translation: dict[str, str], pair: Pair, before: Pair, chance: random.Random) -> Pair | None:
    spans = spans_of(pair, translation)
    return chance.choice(spans) if spans else None


def spans_of(pair: Pair, translation: dict[str, str]) -> list[Pair]:
    """Parts of `pair` of two to five source words that are translations of each other.

    A word and its `translation`, once each in the pair, are a link. Both ends of a part, on both sides, are words with
    a link; no link leads out of it; no punctuation stands in it; and neither side is more than half as long again as
    the other, in words.
    """
    found, links = _linked(pair, translation)
    spans = []
    for first, last in ((i, j) for i in links for j in links if 0 < j - i < 5):
        ends = [links[i] for i in range(first, last + 1) if i in links]
        low, high = min(ends), max(ends)
        inside = all(first <= i <= last for i, j in links.items() if low <= j <= high)
        part = tuple(
            text[matches[a].start() : matches[b].end()]
            for text, matches, a, b in ((pair[0], found[0], first, last), (pair[1], found[1], low, high))
        )
        whole = all(_NO_PUNCTUATION.fullmatch(text) for text in part)
        if inside and whole and 2 / 3 <= (high - low + 1) / (last - first + 1) <= 1.5:
            spans.append((part[0], part[1]))
    return spans


def _linked(pair: Pair, translation: dict[str, str]) -> tuple[list[list[regex.Match[str]]], dict[int, int]]:
    """The words of both sides, and which of the second stands for which of the first where both are there once."""
    found = [list(_WORD.finditer(text)) for text in pair]
    seen = [Counter(match.group() for match in matches) for matches in found]
    place = {match.group(): i for i, match in enumerate(found[1])}
    links: dict[int, int] = {}
    for i, match in enumerate(found[0]):
        word, other = match.group(), translation.get(match.group())
        if other is not None and seen[0][word] == 1 and seen[1][other] == 1:
            links[i] = place[other]
    return found, links


def _joined(pair: Pair, before: Pair, chance: random.Random) -> Pair | None:
    return (f"{before[0]} {pair[0]}", f"{before[1]} {pair[1]}") if before[0] else None


def _copied(pair: Pair, before: Pair, chance: random.Random) -> Pair | None:
    return _beside(foreign(chance), pair, chance)


def _beside(thing: str, pair: Pair, chance: random.Random) -> Pair:
    """At the start of both sides or at the end."""
    if chance.random() < 0.5:
        return f"{thing} {pair[0]}", f"{thing} {pair[1]}"
    return f"{pair[0]} {thing}", f"{pair[1]} {thing}"


def _verbatim(pair: Pair, before: Pair, chance: random.Random) -> Pair | None:
    thing = foreign(chance)
    return thing, thing


def text_rules(words: list[Pair], dotless_i: Sides = (False, False)) -> Rules:
    """Those for sentences; `words` are what `lexicon` found in them. `dotless_i`: the sides where i without a
    dot is a letter too, whose capital is I, as in Turkish.

    Capitals are other pieces for every word, and a full stop that is always there is learned before anything else, so
    these two want the most examples (docs/log.md).
    """
    return {
        partial(_capitals, dotless_i): 4,
        _unpunctuated: 3,
        partial(_lower, dotless_i): 1,
        partial(_word, words): 1,
        partial(_span, dict(words)): 1,
        _joined: 1,
        _copied: 1,
        _verbatim: 1,
    }


def placeholder_rules(words: list[Pair]) -> Rules:
    """Those for what is kept; `words` are what `lexicon` found."""
    return {partial(_placeholders, dict(words)): 6, _placeholder_beside: 1, _placeholder_alone: 1}


def _placeholders(translation: dict[str, str], pair: Pair, before: Pair, chance: random.Random) -> Pair | None:
    """What both sides have alike, and one to three words and their translations."""
    hidden = hide_both(*pair)
    words, links = _linked(hidden, translation)
    chosen = chance.sample(sorted(links), min(chance.randint(1, 3), len(links)))
    free = [placeholder for placeholder in PLACEHOLDERS if placeholder not in hidden[0]]
    names = dict(zip((words[0][i].group() for i in chosen), free, strict=False))
    source = _WORD.sub(lambda word: names.get(word.group(), word.group()), hidden[0])
    theirs = {translation[word]: name for word, name in names.items()}
    target = _WORD.sub(lambda word: theirs.get(word.group(), word.group()), hidden[1])
    shuffled = dict(zip(PLACEHOLDERS, chance.sample(PLACEHOLDERS, len(PLACEHOLDERS)), strict=True))
    made = (re.sub("|".join(PLACEHOLDERS), lambda found: shuffled[found.group()], text) for text in (source, target))
    return _changed(pair, (next(made), next(made)))


def _placeholder_beside(pair: Pair, before: Pair, chance: random.Random) -> Pair | None:
    return _beside(chance.choice(PLACEHOLDERS), pair, chance)


def _placeholder_alone(pair: Pair, before: Pair, chance: random.Random) -> Pair | None:
    placeholder = chance.choice(PLACEHOLDERS)
    return placeholder, placeholder


def inflection_rules(pairs: Iterable[Pair]) -> Rules:
    """The one for lemma and tags to a form, as in `walk V;PST`: where lemma and form have three letters or more in
    common, half of these are replaced on both sides, each by a letter of its kind as often as the forms have it.

    Differs: Anastasopoulos and Neubig (2019), whose hallucinated forms these are, draw all letters alike, and their
    code leaves the first and the last of more than five as they are.
    """
    letters: defaultdict[str, list[str]] = defaultdict(list)
    for _, form in pairs:
        for letter in form:
            letters[unicodedata.category(letter)].append(letter)
    return {partial(_stem, letters): 1}


def _stem(letters: Mapping[str, list[str]], pair: Pair, before: Pair, chance: random.Random) -> Pair | None:
    lemma, space, tags = pair[0].rpartition(" ")
    sides = list(lemma), list(pair[1])
    for a, b, n in SequenceMatcher(None, *sides, autojunk=False).get_matching_blocks():
        for i in range(n if n >= STEM else 0):
            if lemma[a + i].isalpha() and chance.random() < 0.5:
                sides[0][a + i] = sides[1][b + i] = chance.choice(letters[unicodedata.category(lemma[a + i])])
    return _changed(pair, ("".join(sides[0]) + space + tags, "".join(sides[1])))


def _changed(pair: Pair, made: Pair) -> Pair | None:
    return made if made[0] != pair[0] else None


def foreign(chance: random.Random) -> str:
    """Something that every language writes alike: an address, a number, a code, a placeholder, an emoji."""

    def letters(low: int, high: int) -> str:
        return "".join(chance.choices(_LETTERS, k=chance.randint(low, high)))

    match chance.randrange(7):
        case 0:
            domain = f"{chance.choice(('', 'www.'))}{letters(3, 9)}.{chance.choice(_ENDINGS)}"
            return f"https://{domain}/{letters(0, 8)}"
        case 1:
            return f"{letters(3, 8)}@{letters(3, 8)}.{chance.choice(_ENDINGS)}"
        case 2:
            return str(chance.randrange(10 ** chance.randint(1, 6)))
        case 3:
            return f"{chance.randrange(24)}:{chance.randrange(60):02}"
        case 4:
            return f"{letters(1, 3).upper()}-{chance.randrange(1000)}"
        case 5:
            return chance.choice(("{{{}}}", "{{{{{}}}}}", "%({})s", "<{}>", "#{}", "@{}")).format(letters(3, 8))
        case _:
            return chance.choice(_EMOJI)
