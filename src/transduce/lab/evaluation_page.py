"""One self-contained page about outputs on a test set: how good they are, and where they fail. For one system, or two
side by side."""

import html
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, final

from rapidfuzz.distance import Levenshtein

from transduce.data.prepare import Prepared
from transduce.errors import ConfigError
from transduce.evaluation.breakdown import (
    TOKENS,
    Bucket,
    Frequencies,
    Units,
    by_length,
    by_rarest,
    training_frequencies,
    units_of,
    words_by_rarity,
)
from transduce.evaluation.compare import Interval, compare_statistics, confidence
from transduce.evaluation.confusions import Confusions, confusions
from transduce.evaluation.conventions import conventions
from transduce.evaluation.failures import Line, failures, lines_of
from transduce.evaluation.metrics import Measured, higher_is_better
from transduce.evaluation.statistics import LineStatistics, check_metric, line_statistics, nearest
from transduce.lab.page import Html, Row, cell, grid, page
from transduce.lab.report import provenance

SHOWN = 20  # worst lines
EXAMPLES = 5  # of each way to fail
CONFUSED = 15  # symbols
SAMPLES = 1000
ENOUGH = 30  # inputs: of fewer no difference is marked
_BOLD = (
    f" Bold: {ENOUGH} inputs or more, and no difference is outside of where 95% of the differences lie; chance alone "
    "makes one in twenty."
)

STYLE = """
body { max-width: 68rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; padding: 0; }
:focus-visible { outline: 3px solid; outline-offset: 2px; }
h2 { margin-top: 2.2rem; }
caption { text-align: left; padding-bottom: .3rem; }
small { font-weight: 400; white-space: nowrap; }
.words td:last-child, .words th:last-child { text-align: left; overflow-wrap: anywhere; min-width: 12rem; }
.part { display: flex; flex-wrap: wrap; gap: 0 3rem; }
.lines { padding: 0; list-style: none; }
.lines > li { border-top: 1px solid #8886; padding: .5rem 0; break-inside: avoid; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .2rem 0; }
dt { color: color-mix(in srgb, CanvasText 66%, Canvas); }
dd { margin: 0; overflow-wrap: anywhere; }
mark { background: none; color: inherit; text-decoration: underline wavy #d33 1.5px; text-underline-offset: 3px; }
mark.missing { text-decoration: underline dotted #27e 2.5px; }
.certain { font-weight: 700; }
@media print { nav { display: none; } details:not([open]) { display: none; } }
"""


def evaluation_page(
    title: str, test: Measured, systems: Sequence[tuple[str, list[str]]], command: str, prepared: Prepared | None = None
) -> str:
    """The page about one system, or two: their names and their outputs, one for every input.

    `prepared` is the data that the first was trained on: with it, the page also says how rare words fare.

    Raises:
        ConfigError: no system, or more than two; an unknown metric or tokenizer.
        DataError: outputs and references do not fit together.
    """
    if not 1 <= len(systems) <= 2:
        raise ConfigError(f"report: {len(systems)} systems. Give one, or two to compare.")
    seen = _Seen(test, systems, prepared)
    sections = list(_sections(seen))
    contents = "".join(f'<li><a href="#part{i}">{name}</a></li>' for i, (name, _) in enumerate(sections))
    parts = [f'<section><h2 id="part{i}">{name}</h2>\n{text}</section>' for i, (name, text) in enumerate(sections)]
    body = [f"<p>{_about(seen)}</p>", f'<nav aria-label="Contents"><ul>{contents}</ul></nav>']
    return page(title, "\n".join([*body, "<main>", *parts, "</main>", _made(command)]), STYLE)


@final
class _Seen:
    """The material of the page, and what several of its sections count. Of lists, item i is system i's."""

    def __init__(self, test: Measured, systems: Sequence[tuple[str, list[str]]], prepared: Prepared | None) -> None:
        self.test = test
        self.systems = systems
        self.prepared = prepared
        self.two = len(systems) == 2
        self.is_text = test.metrics[0] in ("bleu", "chrf", "ter")  # rather than symbols that are right or wrong
        tokenised = test.tokenize == "none" or not self.is_text
        right = [reference for refs in test.references for reference in refs]
        self.source = units_of(test.sources or right, tokenised=tokenised)
        self.target = units_of(right, tokenised=tokenised)
        self.lines = [lines_of(test.sources, outs, test.references, self.source, self.target) for _, outs in systems]

    def columns(self, alone: str) -> list[str]:
        """The heads of columns with a value for each system."""
        return ["A", "B"] if self.two else [alone]

    def statistics(self, metric: str) -> list[LineStatistics]:
        """The lines counted for `metric`."""
        t = self.test
        return [line_statistics(check_metric(metric), outputs, t.references, t.tokenize) for _, outputs in self.systems]

    @cached_property
    def main(self) -> list[LineStatistics]:
        """The lines counted for the main metric."""
        return self.statistics(self.test.metrics[0])

    @cached_property
    def each(self) -> list[list[float]]:
        """The score of every line alone, where more is better: chrF, or the per cent of its symbols that are right
        (below 0 where there are more edits than symbols)."""
        if self.is_text:
            return [statistics.each() for statistics in self.statistics("chrf")]
        return [[100 - 100 * e / max(1, n) for e, n in zip(c.edits, c.lengths, strict=True)] for c in self.confusions]

    @cached_property
    def confusions(self) -> list[Confusions]:
        """The edits, symbol by symbol."""
        return [confusions([x.words for x in lines], [x.reference_words for x in lines]) for lines in self.lines]


def _sections(seen: _Seen) -> Iterator[tuple[str, str]]:
    yield "Scores", _scores(seen)
    if seen.is_text:
        yield "The same outputs, scored otherwise", _conventions(seen)
    else:
        yield "What is taken for what", _symbols(seen)
    yield "By length", _lengths(seen)
    if seen.prepared is not None:
        yield "By rarity", _rarity(seen, training_frequencies(seen.prepared, seen.source, seen.target))
    yield "Ways to fail", _failures(seen)
    if seen.two:
        yield "Where A and B differ most", _differences(seen)
    yield "The worst lines", _worst(seen)


def _about(seen: _Seen) -> str:
    inputs, references = len(seen.test.references), sum(map(len, seen.test.references))
    refs = "one reference each" if references == inputs else f"{references:,} references"
    names = zip(seen.columns("The system"), seen.systems, strict=True)
    return cell(f"{inputs:,} inputs, {refs}. {'; '.join(f'{name}: {system}' for name, (system, _) in names)}.")


def _scores(seen: _Seen) -> str:
    rows: list[Row] = []
    signatures = []
    for metric in seen.test.metrics:
        found = seen.statistics(metric)
        better = "more is better" if higher_is_better(metric) else "less is better"
        rows.append([Html(f"{metric} <small>({better})</small>"), *_compared(metric, found)])
        signatures.append(f"<br>{metric}: <code>{cell(found[0].signature)}</code>")
    blank = [""] if seen.two else []
    rows.append(["length of outputs / references", *(f"{_length_ratio(lines):.3f}" for lines in seen.lines), *blank])
    bold = _BOLD if seen.two else ""
    return grid(["metric", *_columns(seen, "score")], rows) + _under(
        f"In small print: where 95% of the scores lie on lines drawn with replacement ({SAMPLES:,} samples).{bold}"
        + "".join(signatures)
    )


def _conventions(seen: _Seen) -> str:
    tables = []
    for label, (_, outputs), reported in zip(seen.columns(""), seen.systems, seen.statistics("bleu"), strict=True):
        rows: list[Row] = [
            [
                f"{c.metric}, {c.name}",
                f"{c.cased:.2f}",
                f"{c.lowered:.2f}",
                f"{c.cased - reported.total:+.2f}" if c.metric == "bleu" else "",
                Html(f"<code>{cell(c.signature)}</code>"),
            ]
            for c in conventions(outputs, seen.test.references, tokenised=seen.test.tokenize == "none")
        ]
        against = f"against tok:{seen.test.tokenize}"
        tables.append(_wide(grid(["how", "cased", "lower case", against, "signature"], rows, label), "words"))
    return (
        "<p>The same outputs and the same references. A score can be compared only with one of the same row, the same "
        "column and the same test set. In lower case, signatures say <code>case:lc</code>.</p>" + "".join(tables)
    )


def _symbols(seen: _Seen) -> str:
    def rows(of: Callable[[Confusions], Counter[Any]], names: Callable[[Any], list[str]]) -> list[Row]:
        counts = [of(c) for c in seen.confusions]
        most = sum(counts, start=Counter[Any]()).most_common(CONFUSED)
        return [[*names(key), *(f"{c[key]:,}" for c in counts)] for key, _ in most]

    def known(symbol: str) -> list[str]:
        return [_seen(symbol), f"{max(c.seen[symbol] for c in seen.confusions):,}"]

    n, times = len(seen.test.references), seen.columns("times")
    edits: list[Row] = [
        [label, *(_share(sum(low <= e <= high for e in c.edits), n) for c in seen.confusions)]
        for label, low, high in (("0", 0, 0), ("1", 1, 1), ("2", 2, 2), ("3", 3, 3), ("4 or more", 4, float("inf")))
    ]
    pairs = rows(lambda c: c.substituted, lambda pair: [_seen(pair[0]), _seen(pair[1]), known(pair[0])[1]])
    tables = [
        grid(["edits", *seen.columns("outputs")], edits, "Edits an output needs"),
        grid(["right", "written", "of", *times], pairs, "Substituted"),
        grid(["right", "of", *times], rows(lambda c: c.missing, known), "Left out"),
        grid(["written", "of", *times], rows(lambda c: c.added, known), "Added"),
    ]
    return f'<div class="part">{"".join(map(_wide, tables))}</div>' + _under(
        f"The fewest edits between the nearest reference and the output, in {seen.target.name}. Of: how often the "
        "references have the symbol that would be (or is) there."
    )


def _seen(symbol: str) -> str:
    """A symbol that can be seen: a space, or a mark that stands on the letter before."""
    on = "\N{DOTTED CIRCLE}" if symbol and unicodedata.combining(symbol[0]) else ""
    return on + symbol.replace(" ", "\N{OPEN BOX}")


def _lengths(seen: _Seen) -> str:
    if seen.test.sources:
        what, lengths = f"{seen.source.name} in source", [len(line.source_words) for line in seen.lines[0]]
    else:
        what = f"{seen.target.name} in reference"
        lengths = [min(map(len, line.reference_words)) for line in seen.lines[0]]
    return _buckets(seen, what, by_length(lengths))


def _rarity(seen: _Seen, known: Frequencies) -> str:
    spread = f" ({known.counted:,} of its {known.pairs:,} pairs were counted)" if known.counted < known.pairs else ""
    if known.made:
        spread += f", of whose pairs {known.made:,} were made from others"
    each = [words_by_rarity([x.words for x in s], [x.reference_words for x in s], known.target) for s in seen.lines]
    rows: list[Row] = [
        [found[0].label, f"{found[0].wanted:,}", *(_ratio(w.right, n) for w in found for n in (w.wanted, w.produced))]
        for found in zip(*each, strict=True)
        if any(words.wanted or words.produced for words in found)
    ]
    heads = [f"{what} {name}".strip() for name in seen.columns("") for what in ("came back", "were right")]
    unit = seen.target.name
    text = _wide(grid(["times in training", f"{unit} wanted", *heads], rows, f"{unit.capitalize()} of the target"))
    text += _under(
        f"By how often they stand in the targets of the training data{spread}. Came back: of those in the references, "
        "the share that the outputs have. Were right: of those in the outputs, the share that the references have."
    )
    if seen.test.sources:
        groups = by_rarest([line.source_words for line in seen.lines[0]], known.source)
        text += _buckets(seen, "times in training", groups, f"Inputs, by the rarest of their {seen.source.name}")
    return text


def _buckets(seen: _Seen, what: str, buckets: Sequence[Bucket], caption: str = "") -> str:
    """The main metric of groups of lines."""
    metric = seen.test.metrics[0]
    rows: list[Row] = []
    for bucket in buckets:
        found = [statistics.of(bucket.lines) for statistics in seen.main]
        ratios = [f"{_length_ratio([lines[i] for i in bucket.lines]):.2f}" for lines in seen.lines]
        rows.append([bucket.label, f"{len(bucket.lines):,}", *_compared(metric, found), *ratios])
    scores = [f"{metric} {name}" for name in _columns(seen, "")]
    lengths = [f"length {name}" for name in seen.columns("of output / reference")]
    return _wide(grid([what, "inputs", *scores, *lengths], rows, caption))


def _failures(seen: _Seen) -> str:
    rows: list[Row] = []
    details = []
    for ways in zip(*map(failures, seen.lines), strict=True):
        if not any(way.lines for way in ways):
            continue
        counts = [_share(len(way.lines), len(seen.test.references)) for way in ways]
        rows.append([ways[0].name, *counts, ways[0].meaning])
        for number, (name, way) in enumerate(zip(seen.columns(""), ways, strict=True)):
            if way.lines:
                shown = [_shown(seen, i, [number]) for i in way.lines[:EXAMPLES]]
                details.append(_details(f"{name} {way.name}: the first {len(shown)} of {len(way.lines):,}", shown))
    if not rows:
        return "<p>None of those that are looked for: copies, omissions, repetitions, lost numbers.</p>"
    return _wide(grid(["way", *seen.columns("outputs"), "what it means"], rows), "words") + "".join(details)


def _differences(seen: _Seen) -> str:
    a, b = seen.each
    order = sorted(range(len(a)), key=lambda i: b[i] - a[i])
    better = [i for i in order[::-1] if b[i] > a[i]], [i for i in order if b[i] < a[i]]
    lists = []
    for name, lines in zip(("B", "A"), better, strict=True):
        shown = [_shown(seen, i, [0, 1]) for i in lines[:SHOWN]]
        lists.append(_details(f"{name} is better on {len(lines):,} inputs; by most on these {len(shown)}", shown))
    return "".join(lists)


def _worst(seen: _Seen) -> str:
    order = sorted(range(len(seen.test.references)), key=lambda i: sum(scores[i] for scores in seen.each))
    score = "chrF of that line alone" if seen.is_text else f"per cent of its {seen.target.name} that are right"
    systems = list(range(len(seen.systems)))
    return (
        f"<p>The number of each input is followed by its score: {score}{', A / B' if seen.two else ''}. "
        "<mark>Waves</mark> are under what the nearest reference does not have there, "
        '<mark class="missing">dots</mark> under what it has and the output has not.</p>'
        f'<ol class="lines">{"".join(_shown(seen, i, systems) for i in order[:SHOWN])}</ol>'
    )


def _details(summary: str, lines: Sequence[str]) -> str:
    return f'<details><summary>{cell(summary.strip())}</summary><ol class="lines">{"".join(lines)}</ol></details>'


def _shown(seen: _Seen, i: int, systems: Sequence[int]) -> str:
    """Input `i` with the outputs of `systems`, and with the reference that is nearest to the last of them."""
    units = TOKENS if seen.is_text else seen.target  # sentences as they are written
    rows = [("source", seen.test.source_lang, cell(seen.test.sources[i]))] if seen.test.sources else []
    names, references = seen.columns(""), [units.split(r) for r in seen.test.references[i]]
    missing = ""
    for system in systems:
        words = units.split(seen.systems[system][1][i])
        near = nearest(words, references)
        missing = _marked(near, words, "missing", units)
        output = _marked(words, near, "extra", units) or "<em>nothing</em>"
        rows.append((f"output {names[system]}", seen.test.target_lang, output))
    others = f" <small>(one of {len(references)})</small>" if len(references) > 1 else ""
    rows.append(("reference", seen.test.target_lang, missing + others))
    items = "".join(
        f'<dt>{name}</dt><dd dir="auto" lang="{html.escape(lang)}">{text}</dd>' for name, lang, text in rows
    )
    scores = " / ".join(f"{seen.each[system][i]:.0f}" for system in systems)
    return f'<li><p class="under">input {i + 1:,}: {scores}</p><dl>{items}</dl></li>'


def _marked(words: list[str], other: list[str], kind: str, units: Units) -> str:
    """`words`, with those marked that an edit would change to make `other` of them."""
    parts = []
    for operation in Levenshtein.opcodes(words, other):
        if text := cell(units.between.join(words[operation.src_start : operation.src_end])):
            parts.append(text if operation.tag == "equal" else f'<mark class="{kind}">{text}</mark>')
    return units.between.join(parts)


def _compared(metric: str, found: Sequence[LineStatistics]) -> list[Html]:
    """Score cells: one system's; or those of two and their difference, bold where it is hardly chance."""
    if len(found) == 1:
        return [_interval(confidence(found[0], samples=SAMPLES))]
    c = compare_statistics(check_metric(metric), found[0], found[1], samples=SAMPLES)
    if c.delta.low == c.delta.high == 0:
        return [_interval(c.a), _interval(c.b), Html("none")]
    is_certain = (c.delta.low > 0 or c.delta.high < 0) and len(found[0].rows) >= ENOUGH
    certain = ' class="certain"' if is_certain else ""
    difference = f"<span{certain}>{c.delta.score:+.2f}</span> <small>{c.delta.low:+.2f} to {c.delta.high:+.2f}"
    return [_interval(c.a), _interval(c.b), Html(f"{difference}, p {c.p_value:.3f}</small>")]


def _interval(i: Interval) -> Html:
    return Html(f"{i.score:.2f} <small>{i.low:.2f} to {i.high:.2f}</small>")


def _columns(seen: _Seen, alone: str) -> list[str]:
    return ["A", "B", "B - A"] if seen.two else [alone]


def _length_ratio(lines: Sequence[Line]) -> float:
    """Words of the outputs by those of the references nearest in length, as BLEU's brevity penalty counts them."""
    near = [min((abs(len(r) - len(line.words)), len(r)) for r in line.reference_words)[1] for line in lines]
    return sum(len(line.words) for line in lines) / max(1, sum(near))


def _share(n: int, of: int) -> str:
    return f"{n:,} ({n / of:.1%})"


def _ratio(n: int, of: int) -> str:
    return f"{n / of:.1%}" if of else ""


def _made(command: str) -> str:
    made = provenance()
    versions = "\n".join(f"{name} {version}" for name, version in made["versions"].items())
    return f"<h2>How it was made</h2><pre>{cell(command)}\n\ncommit {cell(made['commit'])}\n{cell(versions)}</pre>"


def _wide(table: str, kind: str = "") -> str:
    return f'<div class="wide {kind}" tabindex="0">{table}</div>'


def _under(text: str) -> str:
    return f'<p class="under">{text}</p>'
