"""The speeds that the cost model works with: measured ones, corrected by real updates of a small model.

Processors differ in what a norm, a softmax or a random number costs beside adding arrays, by two times. How far the
model is off in one small step, matrix products apart, is how far it is off, by and large, in others
(docs/performance.md).
"""

import functools
import math
import time
from dataclasses import replace

import numpy as np
import torch

from transduce.cost import Work, count, update_seconds
from transduce.data.collate import Batch, collate
from transduce.device import Precision
from transduce.machine import Machine, measure_machine
from transduce.nn.transformer import Transformer, TransformerConfig, build
from transduce.text.pieces import IDS
from transduce.training.optimizer import Adam
from transduce.training.trainer import train_step

MODEL = TransformerConfig(n_layers=4, d_model=128, d_ff=256, n_heads=4, d_k=32, d_v=32, norm="pre")
PIECES = 6000
ROWS = {17: 56, 10: 96, 14: 68}  # sentences of a batch for their length with its end: about 1,000 tokens a side
FIRST = 10  # piece that is no special one
LEAST = 0.1  # ratio: where products were measured too slow, nothing but them is left


def calibrated_machine(threads: int, precision: Precision) -> Machine:
    """This machine with `threads`, all of its speeds but those of matrix products divided by `step_ratio`.

    Sets the process's threads to `threads`.
    """
    ratio, found = step_ratio(precision), measure_machine(threads)
    torch.set_num_threads(threads)  # nothing sets them where both were measured before
    return replace(found, memory=found.memory / ratio, cache=found.cache / ratio, call=found.call * ratio)


@functools.cache
def step_ratio(precision: Precision) -> float:
    """What updates of `MODEL` take here, without their matrix products, by what the cost model says: measured once, in
    half a second. One thread's own time counts, so that other work shows little.
    """
    machine = measure_machine(1)
    only_products = replace(machine, memory=math.inf, cache=math.inf, call=0.0)
    torch.set_num_threads(1)
    batches = [_batch(rows, length) for length, rows in ROWS.items()]
    with torch.random.fork_rng(devices=[]):
        model = build(MODEL, PIECES, PIECES, IDS.pad).train()
        optimizer = Adam(model)
        times = [_update_seconds(model, optimizer, batch, precision) for batch in batches]
    counted = [count(MODEL, PIECES, PIECES, _work(batch)) for batch in batches[1:]]  # the first one asks for memory
    said, products = (sum(update_seconds(n, m, precision) for n in counted) for m in (machine, only_products))
    return max(LEAST, (sum(times[1:]) - products) / (said - products))


def _batch(rows: int, length: int) -> Batch:
    """Random pieces, without padding."""
    ids = np.random.default_rng(length).integers(FIRST, PIECES, (2, rows, length - 1))
    return collate(list(zip(*ids, strict=True)))


def _work(batch: Batch) -> Work:
    rows, length = batch.source.shape
    n = float(rows * length)
    return Work(source=n, target=n, parts=1, lanes=1, length=length, largest=n, longest=length, pairs=rows, updates=1)


def _update_seconds(model: Transformer, optimizer: Adam, batch: Batch, precision: Precision) -> float:
    start = time.thread_time()
    train_step(model, [batch], optimizer, rate=1e-4, eps_ls=0.1, clip=0.0, precision=precision)
    return time.thread_time() - start
