"""Why residual connections: training error against depth with and without them, and stacks asked to do nothing.

He et al. (2015): with growing depth the *training* error of plain networks first saturates, then rises, although a
deeper network could copy the shallower one and pass the rest on unchanged. Stacked layers find the identity hard; with
M(x) = F(x) + x it is F = 0. Section 3.1 of the paper puts such a connection around every sub-layer.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import islice, product
from pathlib import Path
from statistics import fmean

import torch

from transduce.checkpoint import Progress
from transduce.config import RunConfig
from transduce.data.prepare import Prepared, check_inputs, load_prepared, prepare
from transduce.errors import BundleError, DataError
from transduce.lab.cells import Cell, Measured, Result, code, measure
from transduce.lab.report import Figure, Report, Table, drawing, write_report
from transduce.nn.transformer import TransformerConfig, build
from transduce.rundata import sources
from transduce.shapes import Float, Tensor
from transduce.text.pieces import IDS
from transduce.training.optimizer import Adam
from transduce.training.schedule import inverse_sqrt
from transduce.training.trainer import BatchingConfig, Trainer, TrainingConfig
from transduce.training.world import World

VARIANTS = (("post", True), ("pre", True), ("post", False), ("pre", False))
NAMES = {
    ("post", True): "residual, post-norm (the paper)",
    ("pre", True): "residual, pre-norm",
    ("post", False): "plain, norm after",
    ("pre", False): "plain, norm before",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What decides the figures. `depths` is N: so many encoder and so many decoder layers, twice as many in all.
    `identity_depths` are those of the one stack that is asked for the identity. Loss in nats per target piece."""

    depths: tuple[int, ...]
    identity_depths: tuple[int, ...]
    seeds: tuple[int, ...]
    steps: int
    identity_steps: int
    d_model: int = 64
    d_ff: int = 128
    n_heads: int = 4
    vocabulary: int = 2000
    max_tokens: int = 1024
    learning_rate: float = 0.001
    warmup: int = 50


LOSS = "training loss, nats per target piece"
ERROR = "squared error of the identity, 1 for answering 0"

BUDGETS = {
    "quick": Settings(depths=(1, 6), identity_depths=(2, 12), seeds=(1,), steps=20, identity_steps=20),
    "standard": Settings(
        depths=(1, 2, 6, 12), identity_depths=(2, 6, 12, 24), seeds=(1, 2, 3), steps=400, identity_steps=300
    ),
    "full": Settings(
        depths=(1, 2, 6, 12, 24), identity_depths=(2, 6, 12, 24, 48), seeds=(1, 2, 3), steps=4000, identity_steps=2000
    ),
}


def investigate(
    config: RunConfig,
    settings: Settings,
    out: Path,
    command: str,
    say: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> Report:
    """Measure what `out` does not hold yet, and write the report there. Of the recipe only data and tokenizer are used.

    Args:
        config: The recipe whose task is learned.
        settings: The grid, or one of `BUDGETS`.
        out: Where results gather, cell by cell: interrupted, the same call goes on.
        command: For the report.
        say: Told what is done.
        progress: Told how many cells of how many are done.

    Raises:
        DataError, ConfigError: the data cannot be read, or has changed; `out` holds something else.
        SaveError: the disk is full.
    """
    drawing()  # without the extra, better now than after the measurements
    tokenizer = replace(config.tokenizer, size=settings.vocabulary)
    task = sha256(repr((sources(config), tokenizer, code())).encode()).hexdigest()[:12]
    data = out / f"data-{task}"
    if not data.is_dir():
        prepare(data, sources(config), tokenizer, say, lambda n: None)
    try:
        prepared = load_prepared(data)
        check_inputs(prepared.manifest)
    except (DataError, BundleError) as error:
        raise DataError(f"{str(error).partition('. ')[0]}. Delete {data}, or choose another --out.") from error
    grid = [cell | {"data": task} if cell["what"] == "task" else cell for cell in cells(settings)]
    measured = measure(out / "cells.jsonl", grid, lambda cell: compute(cell, prepared), progress)
    found = report(settings, measured, command, config.name)
    write_report(out, found)
    return found


def cells(settings: Settings) -> list[Cell]:
    """Every training of the grid, shallow ones first."""
    own = ("depths", "identity_depths", "seeds", "steps", "identity_steps")
    shared = {k: v for k, v in asdict(settings).items() if k not in own}
    return [
        {"what": what, "depth": depth, "norm": norm, "residual": residual, "seed": seed, "steps": steps, **shared}
        for what, depths, steps in (
            ("task", settings.depths, settings.steps),
            ("identity", settings.identity_depths, settings.identity_steps),
        )
        for depth, (norm, residual), seed in product(depths, VARIANTS, settings.seeds)
    ]


def compute(cell: Cell, prepared: Prepared) -> Result:
    """Train one network: its training loss on the way and, for the task, the gradient norm of every layer."""
    start = time.perf_counter()
    result = _train_task(cell, prepared) if cell["what"] == "task" else _train_identity(cell)
    return result | {"seconds": round(time.perf_counter() - start, 2)}


def _model_config(cell: Cell) -> TransformerConfig:
    per_head = cell["d_model"] // cell["n_heads"]
    return TransformerConfig(
        n_layers=cell["depth"],
        d_model=cell["d_model"],
        d_ff=cell["d_ff"],
        n_heads=cell["n_heads"],
        d_k=per_head,
        d_v=per_head,
        p_drop=0.0,
        norm=cell["norm"],
        residual=cell["residual"],
    )


def _train_task(cell: Cell, prepared: Prepared) -> Result:
    torch.manual_seed(cell["seed"])
    sizes = prepared.tokenizers.source.size, prepared.tokenizers.target.size
    config = replace(_model_config(cell), share_embeddings="all" if prepared.tokenizers.joint else "target")
    model = build(config, *sizes, IDS.pad)
    trainer = Trainer(
        model,
        Adam(model),
        prepared.corpus,
        lambda step: inverse_sqrt(step, cell["learning_rate"], cell["warmup"]),
        BatchingConfig(max_tokens=cell["max_tokens"]),
        TrainingConfig(seed=cell["seed"], label_smoothing=0.0, max_steps=cell["steps"]),
        "fp32",
        World(device=torch.device("cpu")),
    )
    losses: list[float] = []
    first: dict[str, list[float]] = {}
    for progress, numbers in islice(trainer.updates(Progress()), cell["steps"]):
        losses.append(trainer.update(progress, numbers).loss)
        first = first or _gradient_norms(model)
    return {"losses": _thinned(losses), "final": _last(losses), "first": first, "last": _gradient_norms(model)}


def _gradient_norms(model: torch.nn.Module) -> dict[str, list[float]]:
    """The norm of the gradient of every layer's parameters, first layer first."""

    def norm(layer: torch.nn.Module) -> float:
        return float(torch.nn.utils.get_total_norm([p.grad for p in layer.parameters() if p.grad is not None]))

    return {
        side: [norm(layer) for layer in getattr(model, side).layers]  # the layers of a Transformer's two stacks
        for side in ("encoder", "decoder")
    }


def _train_identity(cell: Cell) -> Result:
    """An encoder stack asked for M(x) = x on fresh random vectors; the error is relative to that of answering 0."""
    torch.manual_seed(cell["seed"])
    encoder = build(_model_config(cell), 8, 8, IDS.pad).encoder
    optimizer = Adam(encoder)
    errors = []
    for step in range(1, cell["steps"] + 1):
        x: Float[Tensor, "B T D"] = torch.nn.functional.layer_norm(
            torch.randn(16, 16, cell["d_model"]), [cell["d_model"]]
        )
        error = (encoder(x) - x).square().mean() / x.square().mean()
        encoder.zero_grad(set_to_none=True)
        error.backward()
        optimizer.step(inverse_sqrt(step, cell["learning_rate"], cell["warmup"]))
        errors.append(float(error.detach()))
    return {"losses": _thinned(errors), "final": _last(errors)}


def _thinned(values: Sequence[float], points: int = 50) -> list[float]:
    """At most `points` means of equal stretches: a curve to draw."""
    width = max(1, -(-len(values) // points))
    return [round(fmean(values[i : i + width]), 5) for i in range(0, len(values), width)]


def _last(values: Sequence[float]) -> float:
    """The mean of the last tenth."""
    return fmean(values[-max(1, len(values) // 10) :])


# ---- the report


def _of(measured: Measured, what: str, variant: tuple[str, bool], depth: int) -> Iterator[Result]:
    for cell, result in measured:
        if (cell["what"], cell["norm"], cell["residual"], cell["depth"]) == (what, *variant, depth):
            yield result


def report(settings: Settings, measured: Measured, command: str, recipe: str) -> Report:
    """What the grid says."""
    seconds = {w: sum(r["seconds"] for c, r in measured if c["what"] == w) for w in ("task", "identity")}
    deepest = max(settings.depths)
    parts: list[Table | Figure] = [
        _by_depth(settings, measured, "task", LOSS),
        _curves(settings, measured, deepest),
        _gradients(measured, deepest),
        _by_depth(settings, measured, "identity", ERROR),
        _table(settings, measured, "task", f"{LOSS}, mean of the last tenth of the steps", seconds["task"]),
        _table(settings, measured, "identity", f"{ERROR}, mean of the last tenth", seconds["identity"]),
    ]
    return Report(
        title="Why residual connections",
        question="Do deep networks train worse without residual connections? Is the identity what they cannot learn?",
        command=command,
        settings={"recipe": recipe, **asdict(settings)},
        seeds=settings.seeds,
        seen=[*_seen(settings, measured, "task"), *_seen(settings, measured, "identity")],
        parts=parts,
        measured=[{"cell": c, "result": r} for c, r in measured],
        seconds=sum(seconds.values()),
    )


def _seen(settings: Settings, measured: Measured, what: str) -> Iterator[str]:
    """A sentence for each variant: degradation when every seed of the deepest is worse than every one of the best."""
    goal = "training loss" if what == "task" else "error of the identity"
    for variant in VARIANTS:
        finals = {d: [r["final"] for r in _of(measured, what, variant, d)] for d in _depths(settings, what)}
        best = min(finals, key=lambda d: fmean(finals[d]))
        deepest = max(finals)
        text = f"{NAMES[variant]}: {goal} {fmean(finals[best]):.3f} at N = {best}"
        if best == deepest:
            yield f"{text}, the deepest. {'No degradation' if len(settings.seeds) > 1 else 'One seed: no verdict'}."
        else:
            clear = min(finals[deepest]) > max(finals[best])
            seeds = len(settings.seeds)
            verdict = f"Degradation, in all {seeds} seeds." if clear else "Within the spread of the seeds."
            verdict = verdict if seeds > 1 else "One seed: no verdict."
            yield f"{text}, {fmean(finals[deepest]):.3f} at N = {deepest}. {verdict}"


def _depths(settings: Settings, what: str) -> tuple[int, ...]:
    return settings.depths if what == "task" else settings.identity_depths


def _by_depth(settings: Settings, measured: Measured, what: str, label: str) -> Figure:
    figure = drawing()
    axes = figure.subplots()
    depths = _depths(settings, what)
    for variant in VARIANTS:
        finals = [[r["final"] for r in _of(measured, what, variant, d)] for d in depths]
        (line,) = axes.plot(depths, [fmean(f) for f in finals], "o" + _dash(variant), label=NAMES[variant])
        low, high = [min(f) for f in finals], [max(f) for f in finals]
        axes.fill_between(depths, low, high, alpha=0.2, color=line.get_color())
    layers = "layers in each of the two stacks, N" if what == "task" else "layers of the stack, N"
    axes.set(xlabel=layers, ylabel=label, xticks=depths)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return Figure(name=what, caption=f"Against depth: {label}. {_spread(settings)}", drawing=figure)


def _spread(settings: Settings) -> str:
    n = len(settings.seeds)
    return "One seed." if n == 1 else f"Mean of {n} seeds, and from the lowest to the highest."


def _curves(settings: Settings, measured: Measured, depth: int) -> Figure:
    figure = drawing()
    axes = figure.subplots()
    for variant in VARIANTS:
        runs = [r["losses"] for r in _of(measured, "task", variant, depth)]
        mean = [fmean(values) for values in zip(*runs, strict=True)]
        width = settings.steps / len(mean)
        axes.plot([(i + 0.5) * width for i in range(len(mean))], mean, _dash(variant), label=NAMES[variant])
    axes.set(xlabel="update", ylabel="training loss, nats per target piece")
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return Figure(name="curves", caption=f"Training loss at N = {depth}, mean of the seeds.", drawing=figure)


def _gradients(measured: Measured, depth: int) -> Figure:
    figure = drawing(8.0, 4.2)
    axes = figure.subplots(1, 2, sharey=True)
    for side, place in zip(("encoder", "decoder"), axes, strict=True):
        for variant in VARIANTS:
            runs = [r["first"][side] for r in _of(measured, "task", variant, depth)]
            mean = [fmean(values) for values in zip(*runs, strict=True)]
            place.semilogy(range(1, depth + 1), mean, _dash(variant), label=NAMES[variant])
        place.set(title=side, xlabel="layer")
    axes[0].set(ylabel="norm of the gradient")
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=2)
    return Figure(
        name="gradients", caption=f"Gradient norm of each layer at the first update, N = {depth}.", drawing=figure
    )


def _dash(variant: tuple[str, bool]) -> str:
    return "-" if variant[1] else "--"


def _table(settings: Settings, measured: Measured, what: str, caption: str, seconds: float) -> Table:
    def entry(depth: int, variant: tuple[str, bool]) -> str:
        finals = [r["final"] for r in _of(measured, what, variant, depth)]
        spread = f" ({min(finals):.3f} to {max(finals):.3f})" if len(finals) > 1 else ""
        return f"{fmean(finals):.3f}{spread}"

    rows: list[list[str | int | float]] = [
        [n, *(entry(n, variant) for variant in VARIANTS)] for n in _depths(settings, what)
    ]
    head = ["N", *(NAMES[variant] for variant in VARIANTS)]
    return Table(caption=f"{caption}. {_spread(settings)}", head=head, rows=rows, seconds=seconds)
