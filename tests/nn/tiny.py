"""Tiny Transformers, and batches for them."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from transduce.nn.transformer import Transformer, TransformerConfig, build

PAD, BOS = 0, 2
SIZE = 13

TINY = TransformerConfig(n_layers=2, d_model=12, d_ff=20, n_heads=3, d_k=2, d_v=5, p_drop=0.0, max_positions=16)

VARIANTS = [  # every two values of two settings meet in one of them
    {"norm": norm, "residual": residual, "positions": positions, "share_embeddings": share}
    for norm, residual, positions, share in (
        ("post", True, "sinusoidal", "all"),
        ("post", False, "learned", "target"),
        ("post", True, "learned", "none"),
        ("pre", False, "learned", "all"),
        ("pre", True, "sinusoidal", "target"),
        ("pre", False, "sinusoidal", "none"),
    )
]


def variant_name(changes: dict[str, Any]) -> str:
    return "-".join(str(value) for value in changes.values())


def tiny(**changes: Any) -> Transformer:
    """A float64 Transformer whose biases and norms are not the zeros and ones that they start as."""
    config = replace(TINY, **changes)
    model = build(config, SIZE if config.share_embeddings == "all" else SIZE - 2, SIZE, PAD).double()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def rand(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def ids(lengths: list[int], extra: int = 0, limit: int = SIZE - 2) -> Tensor:
    """Random rows of these lengths, padded to the longest and `extra` more."""
    rows = torch.randint(4, limit, (len(lengths), max(lengths) + extra))
    return rows.masked_fill(torch.arange(rows.shape[1]) >= torch.tensor(lengths)[:, None], PAD)


def backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


def grad(x: Tensor) -> Tensor:
    """The gradient of `x`, which must be there."""
    assert x.grad is not None
    return x.grad


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter's gradient."""
    return {name: grad(p).clone() for name, p in model.named_parameters()}
