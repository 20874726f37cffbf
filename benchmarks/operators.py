"""Which of PyTorch's operators does a training step spend its time in?

    python -m benchmarks.operators --model tiny --precision fp32

A dispatch mode takes the processor time of every operator, one thread; looking costs about a tenth by itself. Prints
the time by what it is for (the loss: whatever has the vocabulary as an axis), then operator by operator.
"""

import argparse
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.cases import EPS_LS, P_DROP, RATE, SHAPES, Shape, batches_of
from benchmarks.ours import config
from transduce.data.collate import collate
from transduce.device import tune_process
from transduce.nn.transformer import build
from transduce.text.pieces import IDS
from transduce.training.optimizer import Adam
from transduce.training.trainer import train_step

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")


class Profile(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the seconds of operators by (what for, name)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        self.calls: Counter[tuple[str, str]] = Counter()
        self._shape = shape

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        call: Callable[..., Any] = func
        start = time.thread_time()
        out = call(*args, **(kwargs or {}))
        seconds = time.thread_time() - start
        name = str(func).split(".")[1]
        key = self._purpose(name, [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]), name
        self.seconds[key] += seconds
        self.calls[key] += 1
        return out

    def _purpose(self, name: str, tensors: Sequence[torch.Tensor]) -> str:
        axes = {size for t in tensors for size in t.shape}
        if name.startswith(("_fused_adam", "_foreach")):
            return "Adam, norm of the gradient"
        if self._shape.vocabulary in axes and not name.startswith("embedding"):
            return "loss: products" if name in PRODUCTS else "loss: the rest"
        if name in ("bmm", "baddbmm", "_softmax", "_softmax_backward_data") or any(t.dim() == 4 for t in tensors):
            return "attention: all but the projections"
        if name in PRODUCTS:
            return "products of the layers"
        return "norms, dropout, residuals, activations"


def main() -> None:
    """Warm up, then profile some steps."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", choices=list(SHAPES), default="tiny")
    options.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    options.add_argument("--tokens", type=int, default=2048, help="target positions in the batch, at most")
    options.add_argument("--steps", type=int, default=4)
    options.add_argument("--data", type=Path, default=os.environ.get("TRANSDUCE_DATA"))
    a = options.parse_args()
    shape = SHAPES[a.model]
    tune_process(1)
    torch.manual_seed(0)
    batches = [collate(batches_of(a.model, a.tokens, 1, a.data)[0])]
    model = build(config(shape), shape.vocabulary, shape.vocabulary, IDS.pad).train()
    optimizer = Adam(model)

    def step() -> None:
        train_step(model, batches, optimizer, rate=RATE, eps_ls=EPS_LS, clip=0.0, precision=a.precision)

    for _ in range(2):
        step()
    plain = []
    for _ in range(a.steps):
        start = time.thread_time()
        step()
        plain.append(time.thread_time() - start)
    with Profile(shape) as profile:
        for _ in range(a.steps):
            step()
    _print(profile, a.steps, min(plain))


def _print(profile: Profile, steps: int, plain: float) -> None:
    purposes: defaultdict[str, float] = defaultdict(float)
    for (purpose, _), seconds in profile.seconds.items():
        purposes[purpose] += seconds
    print("| what for | ms a step |\n|---|---|")
    for purpose, seconds in sorted(purposes.items(), key=lambda item: -item[1]):
        print(f"| {purpose} | {1000 * seconds / steps:.1f} |")
    print(f"| all operators | {1000 * sum(purposes.values()) / steps:.1f} |")
    print(f"| a step without looking inside, the fastest of {steps} | {1000 * plain:.1f} |")
    print(
        f"\nP_drop {P_DROP}, label smoothing {EPS_LS}\n\n| what for | operator | calls | ms a step |\n|---|---|---|---|"
    )
    for (purpose, name), seconds in sorted(profile.seconds.items(), key=lambda item: -item[1])[:30]:
        print(f"| {purpose} | {name} | {profile.calls[purpose, name] // steps} | {1000 * seconds / steps:.1f} |")


if __name__ == "__main__":
    main()
