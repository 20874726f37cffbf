"""The speeds that the cost model works with: measured ones, corrected by real updates of a small model.

Processors differ in what a norm, a softmax or a random number costs beside adding arrays, by more than a third either
way. How far the model is off for one small step is how far it is off, by and large, for others (docs/performance.md).
"""

import functools
import time
from dataclasses import replace

import numpy as np
import torch

from transduce.cost import Work, count, update_seconds
from transduce.data.collate import Batch, collate
from transduce.device import Chosen
from transduce.machine import Machine, measure_machine
from transduce.nn.transformer import Transformer, TransformerConfig, build
from transduce.text.pieces import IDS
from transduce.training.optimizer import Adam
from transduce.training.trainer import train_step

MODEL = TransformerConfig(n_layers=4, d_model=128, d_ff=256, n_heads=4, d_k=32, d_v=32, norm="pre")
PIECES = 6000
ROWS = {17: 56, 10: 96, 14: 68}  # sentences of a batch for their length with its end: about 1,000 tokens a side
FIRST = 10  # piece that is no special one


def calibrated_machine(threads: int, precision: Chosen) -> Machine:
    """This machine with `threads`, all of its speeds divided by `step_ratio`.

    Sets the process's threads to `threads`.
    """
    ratio, found = step_ratio(precision), measure_machine(threads)
    torch.set_num_threads(threads)  # nothing sets them where both were measured before
    speeds = {name: getattr(found, name) / ratio for name in ("fp32", "bf16", "memory", "cache")}
    return replace(found, **speeds, call=found.call * ratio)


@functools.cache
def step_ratio(precision: Chosen) -> float:
    """What updates of `MODEL` take here by what the cost model says, with one thread: measured once, in half a second.

    The thread's own time counts, so that other work shows little.
    """
    machine = measure_machine(1)
    torch.set_num_threads(1)
    batches = [_batch(rows, length) for length, rows in ROWS.items()]
    with torch.random.fork_rng(devices=[]):
        model = build(MODEL, PIECES, PIECES, IDS.pad).train()
        optimizer = Adam(model)
        times = [_update_seconds(model, optimizer, batch, precision) for batch in batches]
    said = [update_seconds(count(MODEL, PIECES, PIECES, _work(batch)), machine, precision) for batch in batches]
    return sum(times[1:]) / sum(said[1:])  # the first one asks for memory


def _batch(rows: int, length: int) -> Batch:
    """Random pieces, without padding."""
    ids = np.random.default_rng(length).integers(FIRST, PIECES, (2, rows, length - 1))
    return collate(list(zip(*ids, strict=True)))


def _work(batch: Batch) -> Work:
    rows, length = batch.source.shape
    n = float(rows * length)
    return Work(source=n, target=n, parts=1, lanes=1, length=length, largest=n, longest=length, pairs=rows, updates=1)


def _update_seconds(model: Transformer, optimizer: Adam, batch: Batch, precision: Chosen) -> float:
    start = time.thread_time()
    train_step(model, [batch], optimizer, rate=1e-4, eps_ls=0.1, clip=0.0, precision=precision)
    return time.thread_time() - start
