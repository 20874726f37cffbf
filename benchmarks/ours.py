"""Times our own training step in this process: one case, one JSON line. `benchmarks.train_step` starts it.

python -m benchmarks.ours --model tiny --precision bf16 --batches F
"""

import json
from importlib.metadata import version

import numpy as np
import torch

from benchmarks.batches import Pair, read
from benchmarks.cases import EPS_LS, P_DROP, RATE, SHAPES, Shape
from benchmarks.timing import gemm_peak, parser, passes, record, spread_logits
from transduce.data.batching import split_rows
from transduce.data.collate import Batch, collate
from transduce.device import tune_process
from transduce.nn.transformer import TransformerConfig, build
from transduce.text.pieces import IDS
from transduce.training.optimizer import Adam
from transduce.training.parallel import cut, in_lanes
from transduce.training.trainer import train_step


def config(shape: Shape) -> TransformerConfig:
    """The paper's Transformer of this shape."""
    return TransformerConfig(
        n_layers=shape.n_layers,
        d_model=shape.d_model,
        d_ff=shape.d_ff,
        n_heads=shape.n_heads,
        d_k=shape.d_model // shape.n_heads,
        d_v=shape.d_model // shape.n_heads,
        p_drop=P_DROP,
    )


def main() -> None:
    """Measure what the command line asks for: forward, loss, backward and Adam."""
    a = parser(__doc__).parse_args()
    shape, pairs = SHAPES[a.model], read(a.batches)
    tune_process(a.threads)
    torch.manual_seed(0)
    peak = gemm_peak(torch.bfloat16 if a.precision == "bf16" else torch.float32)
    model = build(config(shape), shape.vocabulary, shape.vocabulary, IDS.pad).train()
    if a.state == "early":
        spread_logits(model.output_weight)
    optimizer, lanes = Adam(model), in_lanes(model, a.threads)

    def parts(rows: list[Pair]) -> list[Batch]:
        """A batch as `Trainer.update` takes it."""
        n = cut(a.threads, sum(len(target) + 1 for _, target in rows), shape.d_model).parts
        return [collate([rows[int(i)] for i in part]) for part in split_rows(np.arange(len(rows)), n)]

    def step(batch: list[Batch]) -> float:
        loss, _ = train_step(
            model,
            batch,
            optimizer,
            rate=RATE,
            eps_ls=EPS_LS,
            clip=0.0,
            precision=a.precision,
            lanes=lanes,
            threads=a.threads,
        )
        return loss

    timed = passes(step, [parts(rows) for rows in pairs], a.warm_up, a.repeats)
    facts = {"tool": "transduce", "version": version("transduce")}
    facts |= {"model": a.model, "precision": a.precision, "state": a.state}
    print(json.dumps(record(facts, shape, pairs, timed, peak)), flush=True)


if __name__ == "__main__":
    main()
