"""What an update costs in time and memory, predicted from the settings and a few measured speeds of the processor.

    seconds = operations / (GEMM x speed of a matrix product)
            + bytes moved / bandwidth of the cache, for activations and logits, or of memory, for weights
            + CALLS x sub-layers x parts x cost of a call

with all but the weights divided by the lanes that compute parts of the update at once (`training.parallel`).
Wide models spend their time in the first term, narrow ones in the second, small batches in the third. `calibration`
corrects the sum for the processor at hand.
docs/performance.md tells how the constants were fitted (`python -m benchmarks.cost_model`), and how well they predict.
"""

from dataclasses import dataclass, replace
from itertools import starmap
from typing import NamedTuple, Self

import numpy as np

from transduce.data.batching import token_batches
from transduce.data.shards import Corpus
from transduce.device import Precision
from transduce.machine import Machine
from transduce.nn.loss import LOGITS
from transduce.nn.transformer import TransformerConfig
from transduce.sizes import SENTENCE, linear_shapes, parameters, stacks
from transduce.training.optimizer import ITERATIONS, OptimizerName
from transduce.training.parallel import Cut
from transduce.training.trainer import BatchingConfig, TrainingConfig

# Of a step's time, fitted by `benchmarks.cost_model`; those of fp32 lie between two processors' (docs/performance.md)
GEMM = {"fp32": 1.1, "bf16": 0.83}  # share of the measured speed that its matrix products reach
MOVES = {"fp32": 55.0, "bf16": 27.0}  # times that a number kept for the backward pass, or one like it, is moved
LOGIT_MOVES = {"fp32": 25.0, "bf16": 140.0}  # the same of a logit
WEIGHT_MOVES = 12.0  # times that a weight is moved by the optimizer and by the norm of the gradient
CALLS = {
    "fp32": 120.0,
    "bf16": 930.0,
}  # for a sub-layer, forward and backward: operators, and kernels made for new shapes
SCORE = 0.7  # the time of a pair's dev loss, by that of training on it
DECODE = 1.6  # the time of decoding its source greedily, by the same

# Of memory
KEPT = {"fp32": 0.8, "bf16": 0.45}  # copies of the kept numbers at the worst moment, with what the heap cannot fill
KERNELS = {"fp32": 140_000_000, "bf16": 430_000_000}  # bytes of what the libraries load and compile, decoding included
BASE = 260_000_000  # bytes of Python and PyTorch before the first step
COPIES = 4  # weights, gradient, Adam's two moments; one more with `training.ema`
CHOOSING = 24  # bytes a weight, beside those of training, when candidates for the final model are compared


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """An average update: padded `source` and `target` positions in `parts` parts, `lanes` of them at once, and the
    length that an average position is padded to. `largest` and `longest` are of the worst part: positions of a side,
    and their length. `pairs` are in an update and `updates` in an epoch."""

    source: float
    target: float
    parts: float
    lanes: int
    length: float
    largest: float
    longest: float
    pairs: float
    updates: int

    @classmethod
    def of(cls, corpus: Corpus, batching: BatchingConfig, cut: Cut, seed: int) -> Self:
        """What the updates of the first epoch are on average."""
        pairs = corpus.of_epoch(0)
        lengths = pairs.source_lengths + 1, pairs.target_lengths + 1
        batches = token_batches(*lengths, max_tokens=batching.max_tokens, seed=seed, epoch=0)
        rows = np.array([len(batch) for batch in batches], dtype=np.float64)
        source, target = (np.array([side[batch].max() for batch in batches]) for side in lengths)
        updates = -(-len(batches) // batching.accumulate)
        sides = float((rows * source).sum()), float((rows * target).sum())
        longer, parts = np.maximum(source, target), cut.of_each(batching.accumulate)
        return cls(
            source=sides[0] / updates,
            target=sides[1] / updates,
            parts=parts * len(batches) / updates,
            lanes=cut.lanes,
            length=float((rows * (source**2 + target**2)).sum()) / sum(sides),
            largest=float((np.ceil(rows / parts) * longer).max()),
            longest=float(longer.max()),
            pairs=len(pairs) / updates,
            updates=updates,
        )

    @classmethod
    def full(cls, batching: BatchingConfig, cut: Cut) -> Self:
        """Full batches of sentences of 25 pieces: for data that nobody has looked at."""
        n, parts = float(batching.tokens), cut.of_each(batching.accumulate)
        return cls(
            source=n,
            target=n,
            parts=parts * batching.accumulate,
            lanes=cut.lanes,
            length=SENTENCE,
            largest=batching.max_tokens / parts,
            longest=2 * SENTENCE,
            pairs=n / SENTENCE,
            updates=1,
        )


def trained_on(work: Work, training: TrainingConfig) -> Work:
    """What updates do that read `work`: R-Drop does everything twice."""
    if training.r_drop == 0:
        return work
    return replace(work, source=2 * work.source, target=2 * work.target, largest=2 * work.largest)


class Counted(NamedTuple):
    """What an average update does: multiplications, numbers kept for the backward pass, logits, weights, parts
    times sub-layers, and the optimizer's multiplications; and how many lanes share all but the weights."""

    multiplied: float
    kept: float
    logits: float
    weights: float
    sublayers: float
    optimizing: float
    lanes: int


def count(
    c: TransformerConfig, source_size: int, target_size: int, work: Work, optimizer: OptimizerName = "adam"
) -> Counted:
    """Count what an average update does."""
    encoder, decoder = stacks(c, round(work.length))
    logits = target_size * work.target
    return Counted(
        multiplied=encoder.multiplied * work.source + decoder.multiplied * work.target + logits * c.d_model,
        kept=encoder.kept * work.source + decoder.kept * work.target,
        logits=logits,
        weights=parameters(c, source_size, target_size),
        sublayers=(encoder.sublayers + decoder.sublayers) * work.parts,
        optimizing=sum(starmap(orthogonalised, linear_shapes(c))) if optimizer == "muon" else 0,
        lanes=work.lanes,
    )


def orthogonalised(rows: int, columns: int) -> int:
    """Multiplications of `orthogonalise`, for one matrix."""
    shorter, longer = min(rows, columns), max(rows, columns)
    return ITERATIONS * (2 * shorter**2 * longer + shorter**3)


def update_seconds(n: Counted, machine: Machine, precision: Precision) -> float:
    """Seconds of an update that does `n`; `machine` is what a lane has."""
    rate = machine.fp32 if precision == "fp32" else machine.bf16
    products = 6 * n.multiplied / (GEMM[precision] * rate)
    moved = 4 * (MOVES[precision] * n.kept + LOGIT_MOVES[precision] * n.logits) / machine.cache
    called = CALLS[precision] * n.sublayers * machine.call
    optimizer = 4 * WEIGHT_MOVES * n.weights / machine.memory + 2 * n.optimizing / machine.fp32
    return (products + moved + called) / n.lanes + optimizer


def validation_seconds(update: float, work: Work, *, scored: int, decoded: int) -> float:
    """Seconds of a validation where an update takes `update`: the loss of `scored` pairs, and `decoded` outputs."""
    return update / work.pairs * (SCORE * scored + DECODE * decoded)


def training_memory(
    c: TransformerConfig,
    source_size: int,
    target_size: int,
    work: Work,
    precision: Precision,
    base: int = BASE,
    copies: int = COPIES,
) -> int:
    """Bytes that a training process holds at most: `base` without it, `copies` of the weights, and what either a step
    needs or choosing the final model."""
    weights = parameters(c, source_size, target_size)
    step = step_memory(c, target_size, work, precision) + 4 * (work.lanes - 1) * weights
    return round(base + 4 * copies * weights + KERNELS[precision] + max(step, CHOOSING * weights))


def step_memory(c: TransformerConfig, target_size: int, work: Work, precision: Precision) -> float:
    """Bytes of a step whose lanes all have the largest part: what each layer keeps for the backward pass, the logits
    held at a time and the gradient of the output matrix."""
    logits = min(float(LOGITS), work.largest * target_size) * (4 if precision == "fp32" else 2)
    return work.lanes * (KEPT[precision] * kept_bytes(c, work) + logits + 4 * target_size * c.d_model)


def kept_bytes(c: TransformerConfig, work: Work) -> float:
    """Bytes that the layers keep of the largest part, as float32 and each number once."""
    encoder, decoder = stacks(c, round(work.longest))
    return 4 * work.largest * (encoder.kept + decoder.kept)
