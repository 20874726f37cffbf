"""Looking inside: what every head of a trained model attends to, positional encodings, and the learning rate.

The paper's figures 3 to 5 show single heads on single sentences. Here the attention page shows every head on some
sentences, and the report says what each head does over more of them. Positional encodings (section 3.5) and the
learning rate (equation 3) need no model.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import chain
from pathlib import Path
from statistics import fmean

import torch

from transduce.config import RunConfig
from transduce.data.prepare import load_prepared
from transduce.decoding.attention import KINDS, AttentionKind, HeadStatistics, each_head, head_statistics, role, shares
from transduce.decoding.translator import Attention, Translator
from transduce.errors import ConfigError, DataError
from transduce.files import write_atomically
from transduce.lab.attention_page import attention_page, that_fit
from transduce.lab.report import Figure, Report, Table, drawing, make_folder, write_report
from transduce.nn.positions import LearnedPositions, sinusoids
from transduce.nn.transformer import Transformer
from transduce.rundir import load_asked, load_chosen, resolve
from transduce.shapes import Float, Tensor
from transduce.training.schedule import learning_rate, noam

TITLE = "Looking inside"
QUESTION = "What do the heads of a trained model look at? How does it know of positions, and how fast does it learn?"
NAMES: dict[AttentionKind, str] = {
    "encoder": "Encoder self-attention",
    "decoder": "Decoder self-attention",
    "cross": "Attention over the source",
}
POSITIONS = 128  # so many of them are drawn
BASE = {"d_model": 512, "warmup": 4000, "steps": 100_000}  # the paper's base model


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """`sentences` go into the statistics (0: all there are), the first `shown` of them onto the attention page."""

    sentences: int
    shown: int = 10


BUDGETS = {"quick": Settings(sentences=20), "standard": Settings(sentences=200), "full": Settings(sentences=0)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """One head, `layer` and `head` from 1: its statistics, the mean of those of the sentences, and the role that they
    give it. `agree` is the share of the sentences that alone would give it the same role."""

    kind: AttentionKind
    layer: int
    head: int
    role: str
    agree: float
    statistics: HeadStatistics


def investigate(
    model: Path | None,
    lines: Sequence[str] | None,
    settings: Settings,
    out: Path,
    command: str,
    progress: Callable[[int, int], None],
) -> Report:
    """Write the report and, of a model, the attention page to `out`.

    Args:
        model: A RUN or a BUNDLE; None: positional encodings and the paper's learning rate alone.
        lines: Sentences to look at; None: development sentences of the RUN.
        settings: How many sentences, or one of `BUDGETS`.
        out: Where to.
        command: For the report.
        progress: Told how many sentences of how many are done.

    Raises:
        ConfigError: sentences without a model; a BUNDLE without sentences; none that can be shown.
        BundleError, CheckpointError, DataError: the model, or its run, cannot be read.
        SaveError: the disk is full.
    """
    drawing()  # without the extra, better now than after the measurements
    if model is None:
        if lines is not None:
            raise ConfigError("--input: sentences to look at need a model. Give --model RUN or BUNDLE.")
        found = _without_model(command)
    else:
        found = _of_model(model, lines, settings, out, command, progress)
    write_report(out, found)
    return found


def _without_model(command: str) -> Report:
    start = time.perf_counter()
    d_model = BASE["d_model"]
    drawn = [
        _positions("sinusoids", f"sinusoids, d_model = {d_model}", sinusoids(POSITIONS, d_model)),
        _learning_rates(None),
    ]
    return Report(
        title=TITLE,
        question=QUESTION,
        command=command,
        settings={"model": "none"},
        seeds=(),
        seen=["No model was given (--model): nothing of heads here.", *chain.from_iterable(seen for seen, _ in drawn)],
        parts=[figure for _, figure in drawn],
        measured={},
        seconds=time.perf_counter() - start,
    )


def _of_model(
    path: Path,
    lines: Sequence[str] | None,
    settings: Settings,
    out: Path,
    command: str,
    progress: Callable[[int, int], None],
) -> Report:
    start = time.perf_counter()
    chosen = load_chosen(path)
    run = None if chosen is None else resolve(load_asked(path), chosen)
    translator = Translator.load(path, device="cpu", precision="fp32")
    make_folder(out)
    sources = _sentences(path, run is not None, lines)[: settings.sentences or None]
    looked = _look(translator, sources, settings.shown, progress)
    if not looked.texts:
        raise ConfigError(f"None of {len(sources)} sentences can be shown: too long for {path}, or without output.")
    heads = list(_heads(looked.statistics))
    seconds = time.perf_counter() - start
    shown = that_fit(looked.shown)
    write_atomically(out / "attention.html", attention_page(f"Attention of {path}", shown).encode())
    drawn = [*_positions_of(translator.one_model("figures")), _learning_rates(run)]
    left_out = len(sources) - len(looked.texts)
    return Report(
        title=TITLE,
        question=QUESTION,
        command=command,
        settings={"model": str(path), **asdict(settings)},
        seeds=(),
        seen=[
            f"Sentences looked at: {len(looked.texts)}. Left out, too long or without output: {left_out}.",
            *_seen(heads),
            *chain.from_iterable(seen for seen, _ in drawn),
        ],
        parts=[*_head_parts(heads, len(looked.texts), seconds), *(figure for _, figure in drawn)],
        measured={"texts": looked.texts, "heads": [asdict(head) for head in heads]},
        seconds=time.perf_counter() - start,
        links=[("attention.html", f"Every layer and head at work on {len(shown)} of the sentences")],
    )


def _sentences(path: Path, is_run: bool, lines: Sequence[str] | None) -> list[str]:
    """Those with text, each once: `lines`, or what the run kept for development."""
    if lines is None:
        if not is_run:
            raise ConfigError(f"{path}: a model alone has no sentences to look at. Give some with --input, or its RUN.")
        lines = [source for source, _ in load_prepared(path / "data").dev]
    found = list(dict.fromkeys(line for line in lines if line.strip()))
    if not found:
        raise ConfigError("--input: no line with text. Give sentences to look at, one a line.")
    return found


# ---- heads

Place = tuple[AttentionKind, int, int]  # kind, layer, head


@dataclass(frozen=True, slots=True)
class _Looked:
    texts: list[tuple[str, str]]
    shown: list[tuple[str, str, Attention]]
    statistics: dict[Place, list[HeadStatistics]]


def _look(translator: Translator, sources: Sequence[str], shown: int, progress: Callable[[int, int], None]) -> _Looked:
    """Translate, and look at every head on the way; sentences that cannot be shown are left out."""
    looked = _Looked([], [], {})
    found = translator.translate_stream(sources, window=200, warn=lambda message: None)
    for done, (source, (best, *_)) in enumerate(zip(sources, found, strict=True), start=1):
        progress(done, len(sources))
        try:
            attention = translator.attention(source, best.text)
        except DataError:
            continue
        looked.texts.append((source, best.text))
        if len(looked.shown) < shown:
            looked.shown.append((source, best.text, attention))
        for kind, layer, head, weights in each_head(attention.weights):
            ones = looked.statistics.setdefault((kind, layer + 1, head + 1), [])
            ones.append(head_statistics(weights, kind))
    return looked


def _heads(statistics: Mapping[Place, Sequence[HeadStatistics]]) -> Iterator[Head]:
    for (kind, layer, head), ones in statistics.items():
        mean = HeadStatistics(**{f.name: fmean(getattr(one, f.name) for one in ones) for f in fields(HeadStatistics)})
        name = role(mean, kind)
        agree = fmean(role(one, kind) == name for one in ones)
        yield Head(kind=kind, layer=layer, head=head, role=name, agree=agree, statistics=mean)


def _of_kind(heads: Sequence[Head], kind: AttentionKind) -> list[Head]:
    return [head for head in heads if head.kind == kind]


def _seen(heads: Sequence[Head]) -> Iterator[str]:
    """Which heads do what, which do most of it, and how widely the first and the last layer look."""
    for kind, name in NAMES.items():
        own = _of_kind(heads, kind)
        if not own:
            yield f"{name}: none, these layers are of another type."
            continue
        for doing, count in Counter(head.role for head in own).most_common():
            yield f"{name}: {count} of {len(own)} heads {_does(doing, [h for h in own if h.role == doing])}."
        most = []
        for place in shares(own[0].statistics, kind):
            share, where = max((shares(h.statistics, kind)[place], f"{h.layer}.{h.head}") for h in own)
            most.append(f"{place} {share:.2f} ({where})")
        yield f"{name}: the most weight that a head (layer.head) has on each place: {', '.join(most)}."
        first, last = (fmean(h.statistics.entropy for h in own if h.layer == n) for n in (1, own[-1].layer))
        if own[-1].layer > 1:
            yield f"{name}: mean entropy {first:.2f} bits in the first layer, {last:.2f} in the last."


def _does(doing: str, heads: Sequence[Head]) -> str:
    match doing:
        case "broad":
            return "broad (more than 0.8 of the entropy that is possible)"
        case "mixed":
            return "mixed (no place with a name has more than half of the weight, and it is not spread evenly)"
        case _:
            which = ", ".join(f"{head.layer}.{head.head}" for head in heads)
            return f"with more than half of the weight on: {doing} ({which})"


def _head_parts(heads: Sequence[Head], sentences: int, seconds: float) -> Iterator[Table | Figure]:
    for kind in KINDS:
        if own := _of_kind(heads, kind):
            yield _head_figure(kind, own)
            yield _head_table(kind, own, sentences, seconds * len(own) / len(heads))


def _head_table(kind: AttentionKind, heads: Sequence[Head], sentences: int, seconds: float) -> Table:
    rows: list[list[str | int | float]] = []
    for head in heads:
        s = head.statistics
        own = (f"{share:.2f}" for share in shares(s, kind).values())
        numbers = (f"{s.entropy:.2f}", f"{s.breadth:.2f}", f"{s.distance:.1f}", *own)
        rows.append([f"{head.layer}.{head.head}", *numbers, head.role, f"{head.agree:.2f}"])
    return Table(
        caption=f"{NAMES[kind]}, mean of {sentences} sentences: entropy in bits; breadth, that over the most possible; "
        f"distance in positions; shares of the weight; the role that these give, and the share of sentences that alone "
        f"would give it.",
        head=["layer.head", "entropy", "breadth", "distance", *shares(heads[0].statistics, kind), "role", "in"],
        rows=rows,
        seconds=seconds,
    )


def _head_figure(kind: AttentionKind, heads: Sequence[Head]) -> Figure:
    """Layers by heads: colour is breadth, the words are the role."""
    layers, columns = heads[-1].layer, heads[-1].head
    breadth = torch.tensor([head.statistics.breadth for head in heads]).reshape(layers, columns)
    figure = drawing(max(5.0, 1.0 * columns + 1.5), 0.6 * layers + 1.0)
    axes = figure.subplots()
    image = axes.imshow(breadth.numpy(), cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    for head in heads:
        ink = "white" if head.statistics.breadth > 0.6 else "black"
        words = f"{head.role.replace(' ', chr(10))}\n{head.statistics.entropy:.1f} bits"
        axes.text(head.head - 1, head.layer - 1, words, ha="center", va="center", color=ink, fontsize=7)
    axes.set_xticks(range(columns), [f"head {n}" for n in range(1, columns + 1)])
    axes.set_yticks(range(layers), [f"layer {n}" for n in range(1, layers + 1)])
    figure.colorbar(image, label="breadth")
    return Figure(name=f"heads_{kind}", caption=f"{NAMES[kind]}: what each head does.", drawing=figure)


# ---- positions

_Drawn = tuple[list[str], Figure]  # what was seen, and where


def _positions_of(model: Transformer) -> Iterator[_Drawn]:
    """The sinusoids of the model's width, and what it has learned instead."""
    d_model = model.source.table.embedding_dim
    yield _positions("sinusoids", f"sinusoids, d_model = {d_model}", sinusoids(POSITIONS, d_model))
    for side, embedding in (("source", model.source), ("target", model.target)):
        if isinstance(embedding.positions, LearnedPositions):
            table = embedding.positions.weight.detach()[:POSITIONS]
            yield _positions(f"learned_{side}", f"learned positions of the {side}", table)


def _positions(name: str, what: str, table: Float[Tensor, "T D"]) -> _Drawn:
    """The encodings, and how alike two of them are, by where they stand and how far apart."""
    unit = torch.nn.functional.normalize(table.double(), dim=-1)
    alike = unit @ unit.T
    apart = [alike.diagonal(k) for k in range(len(table))]  # all pairs that are k apart
    spread = max(float(pairs.max() - pairs.min()) for pairs in apart)
    half = next((k for k, pairs in enumerate(apart) if pairs.mean() < 0.5), None)
    figure = drawing(10.0, 3.4)
    encodings, likeness, curve = figure.subplots(1, 3)
    drawn = encodings.imshow(table.numpy(), cmap="RdBu", aspect="auto", interpolation="nearest")
    encodings.set(title="encodings", xlabel="dimension", ylabel="position")
    figure.colorbar(drawn, ax=encodings)
    drawn = likeness.imshow(alike.numpy(), cmap="RdBu", vmin=-1.0, vmax=1.0, interpolation="nearest", aspect="auto")
    likeness.set(title="cosine of two", xlabel="position", ylabel="position")
    figure.colorbar(drawn, ax=likeness)
    for position, dash in ((0, "-"), (len(table) // 4, "--"), (len(table) // 2, ":")):
        curve.plot(alike[position, position:].numpy(), dash, label=f"from {position}")
    curve.set(title="cosine against distance", xlabel="positions apart")
    curve.legend(frameon=False, fontsize="small")
    seen = (
        f"{what}: the cosine of neighbours is {float(apart[1].mean()):.2f}, "
        + (f"first below one half at {half} positions apart" if half else "never below one half")
        + f"; between pairs equally far apart it differs by up to {spread:.1g}."
    )
    caption = f"{what}: {len(table)} encodings, and how alike they are."
    return [seen], Figure(name=f"positions_{name}", caption=caption, drawing=figure)


# ---- the learning rate


def _learning_rates(config: RunConfig | None) -> _Drawn:
    """Equation 3 for the paper's base model and, beside it, the run's own schedule."""
    curves: list[tuple[str, Callable[[int], float], int]] = [
        ("eq. 3, base model", lambda step: noam(step, BASE["d_model"], BASE["warmup"]), BASE["steps"])
    ]
    if config is not None:
        t = config.training
        own = learning_rate(
            t.schedule, d_model=config.model.d_model, peak=t.learning_rate, warmup=t.warmup, steps=t.max_steps
        )
        curves.append((f"this run, {t.schedule}", own, t.max_steps))
    figure = drawing(4.0 * len(curves), 3.0)
    seen = []
    for axes, (what, rate, steps) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        updates = range(1, steps + 1)
        drawn = updates[:: max(1, steps // 1000)]
        axes.plot(drawn, [rate(step) for step in drawn])
        axes.set(title=what, xlabel="update", ylabel="learning rate", ylim=(0, None))
        axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        top = max(updates, key=rate)
        seen.append(
            f"Learning rate, {what}: {rate(top):.3g} at its highest, update {top:,}; {rate(steps):.3g} at {steps:,}."
        )
    return seen, Figure(name="learning_rate", caption="The learning rate of every update.", drawing=figure)
