"""How good a model is on the dev set, while it trains and when the one to keep is chosen."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import TypeVar, final

import torch

from transduce.bundle import load_weights_into
from transduce.checkpoint import DevResult, Progress, load_weights, saved_steps
from transduce.config import RunConfig
from transduce.data.collate import Batch, collate
from transduce.data.prepare import Prepared
from transduce.decoding.translator import DecodingConfig, Translator
from transduce.device import Precision, autocast
from transduce.evaluation.compare import compare
from transduce.evaluation.metrics import MetricScore, evaluate, group_references, higher_is_better
from transduce.nn.loss import label_smoothed_nll
from transduce.nn.transformer import Transformer
from transduce.shapes import Tensor
from transduce.text.pieces import IDS
from transduce.training.averaging import average

T = TypeVar("T")

DEV_LOSS_PAIRS = 2000  # the dev loss is of at most so many pairs, so that it cannot stall training
SAMPLES = 3
SURE = 0.84  # of resampled dev sets: one standard error


@final
class DevSet:
    """Measures models on the dev set: loss by teacher forcing, metric by decoding a fixed number of sentences."""

    def __init__(self, config: RunConfig, prepared: Prepared, device: torch.device, precision: Precision) -> None:
        sources, references = group_references(*zip(*prepared.dev, strict=True), by_line=config.evaluation.by_line)
        self._all = len(sources)
        n = config.evaluation.sentences
        self.sources, self.references = spread(sources, n), spread(references, n)
        self.samples: list[dict[str, str]] = []
        self._config = config
        self._prepared = prepared
        self._device = device
        self._precision: Precision = precision
        self._batches = self._loss_batches()

    def describe(self) -> str:
        """How the score is computed, in words."""
        n = len(self.sources)
        return f"{n:,} of {self._all:,} dev inputs, evenly spread" if n < self._all else f"all {n:,} dev inputs"

    def validate(self, model: Transformer, step: int) -> DevResult:
        """Loss and metric of `model` as it is, decoded greedily: a beam costs four times as much and ranks alike."""
        metric = self._config.evaluation.metric
        score = self.score(self.decode(model, replace(self._config.decoding, beam=1))).score
        return DevResult(
            step=step, loss=self.loss(model), metric=metric, score=score, higher_is_better=higher_is_better(metric)
        )

    def decode(self, model: Transformer, decoding: DecodingConfig) -> list[str]:
        """What `model` makes of the dev inputs. Keeps a few outputs in `samples`."""
        outputs = self._translator(model, decoding).translate(self.sources, warn=lambda text: None)
        self.samples = [
            {"source": s, "reference": r[0], "output": o}
            for s, r, o in list(zip(self.sources, self.references, outputs, strict=True))[:SAMPLES]
        ]
        return outputs

    def decode_alphas(self, model: Transformer, alphas: Sequence[float]) -> list[list[str]]:
        """What `model` makes of the dev inputs with each of these length penalties, found by one search."""
        translator = self._translator(model, self._config.decoding)
        return translator.translate_alphas(self.sources, alphas, warn=lambda text: None)

    def score(self, outputs: Sequence[str]) -> MetricScore:
        """The dev metric of these outputs."""
        e = self._config.evaluation
        return evaluate(outputs, self.references, [e.metric], e.tokenize)[e.metric]

    def surely_better(self, outputs: Sequence[str], than: Sequence[str]) -> bool:
        """Whether `outputs` are better in `SURE` of the dev sets drawn from this one with replacement."""
        e = self._config.evaluation
        return compare(than, outputs, self.references, e.metric, e.tokenize).wins_b >= SURE

    def loss(self, model: Transformer) -> float:
        """Nats per target piece, without smoothing."""
        total, n = 0.0, 0
        model.eval()
        with torch.no_grad(), autocast(self._precision, self._device):
            for batch in self._batches:
                states = model(batch.source, batch.target_in)
                nll, count = label_smoothed_nll(states, model.output_weight, batch.target_out, 0.0, IDS.pad)
                total, n = total + float(nll), n + count
        return total / n

    def _translator(self, model: Transformer, decoding: DecodingConfig) -> Translator:
        return Translator(
            model,
            self._prepared.tokenizers,
            decoding,
            device=self._device,
            precision=self._precision,
            max_source_length=self._config.data.max_length,
            max_target_length=self._config.data.max_length + decoding.extra_length,
            usual_extra=self._prepared.corpus.usual_extra,
            placeholders=self._config.data.placeholders > 0,
        )

    def _loss_batches(self) -> list[Batch]:
        pairs = self._prepared.tokenizers.encode_pairs(spread(self._prepared.dev, DEV_LOSS_PAIRS))
        limit = self._config.data.max_length
        rows = [(source[:limit], target[:limit]) for source, target in pairs]
        rows.sort(key=lambda row: (len(row[1]), len(row[0])))
        budget = max(1, self._config.batching.max_tokens)
        batches, current = [], list[tuple[list[int], list[int]]]()
        for row in rows:
            widest = max(len(row[0]), len(row[1]), *(max(map(len, r)) for r in current)) + 1 if current else 0
            if current and widest * (len(current) + 1) > budget:
                batches.append(current)
                current = []
            current.append(row)
        batches.append(current)
        return [collate(batch).to(self._device) for batch in batches]


def spread(items: Sequence[T], n: int) -> list[T]:
    """At most `n` of them, from all over: files are sorted, or by document, more often than not."""
    n = min(n, len(items))
    return [items[i * len(items) // n] for i in range(n)]


def last_steps(progress: Progress, n: int) -> list[int]:
    """Steps of the last `n` validations."""
    return [r.step for r in progress.history[-n:]]


def best_steps(progress: Progress, n: int) -> list[int]:
    """Steps of the best `n` validations, in order."""
    ranked = sorted(progress.history, key=lambda r: r.rank, reverse=True)
    return sorted(r.step for r in ranked[:n])


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A model that may be kept: what it is, and its outputs for the dev set and their `metric` with `alpha`."""

    label: str
    weights: dict[str, Tensor]
    alpha: float
    outputs: list[str]
    metric: str
    score: MetricScore

    @property
    def rank(self) -> float:
        """Higher is better."""
        return self.score.score if higher_is_better(self.metric) else -self.score.score

    def describe(self) -> str:
        """Its line among the candidates."""
        return f"  {self.label}: {self.metric} {self.score.score:.2f}"


def choose_model(
    run: Path, config: RunConfig, progress: Progress, model: Transformer, dev: DevSet, say: Callable[[str], None]
) -> Candidate:
    """The best on dev, decoded as users will: the average of the last n, of the best n, or the best checkpoint; then
    with the best of `evaluation.alphas`.

    The best of many checkpoints is flattered by the lines that chose it, so it has to be `surely_better` than the
    better average (docs/quality.md has what that is worth), and so has another length penalty than the recipe's.

    Differs: the paper takes the average of the last 5 checkpoints (big: 20; section 6.1), as `transduce average` does.
    Here it is one of the candidates.
    """
    n, metric = config.training.average, config.evaluation.metric
    there = saved_steps(run)  # not one that was damaged, and deleted as its error says
    progress = replace(progress, history=tuple(result for result in progress.history if result.step in there))
    model = copy.deepcopy(model)
    tried: dict[tuple[int, ...], Candidate] = {}

    def candidate(which: str, steps: list[int]) -> Candidate:
        if tuple(steps) not in tried:
            name = f"average of the {which} {len(steps)}" if len(steps) > 1 else f"{which} checkpoint"
            weights = average(load_weights(run, step) for step in steps)
            load_weights_into(model, weights, name)
            outputs = dev.decode(model, config.decoding)
            one = Candidate(
                label=f"{name} ({', '.join(map(str, steps))})",
                weights=weights,
                alpha=config.decoding.alpha,
                outputs=outputs,
                metric=metric,
                score=dev.score(outputs),
            )
            say(one.describe())
            tried[tuple(steps)] = one
        return tried[tuple(steps)]

    last = candidate("last", last_steps(progress, n))
    best = candidate("best", best_steps(progress, n))
    single = candidate("best", best_steps(progress, 1))
    chosen = max(last, best, key=attrgetter("rank"))
    if single.rank > chosen.rank:
        if dev.surely_better(single.outputs, chosen.outputs):
            chosen = single
        else:
            say("  the average is kept: on so few lines, the best of many checkpoints may be better by chance")
    if all(alpha == config.decoding.alpha for alpha in config.evaluation.alphas):
        return chosen
    load_weights_into(model, chosen.weights, chosen.label)
    return _choose_alpha(chosen, config, model, dev, say)


def _choose_alpha(
    own: Candidate, config: RunConfig, model: Transformer, dev: DevSet, say: Callable[[str], None]
) -> Candidate:
    alphas = [a for a in config.evaluation.alphas if a != own.alpha]
    others = [
        replace(own, label=f"{own.label}, alpha {alpha:g}", alpha=alpha, outputs=outputs, score=dev.score(outputs))
        for alpha, outputs in zip(alphas, dev.decode_alphas(model, alphas), strict=True)
    ]
    for one in others:
        say(one.describe())
    best = max(own, *others, key=attrgetter("rank"))
    if best is own or dev.surely_better(best.outputs, own.outputs):
        return best
    say(f"  alpha {own.alpha:g} is kept: on so few lines, another may be better by chance")
    return own
