"""Sequence transduction with the Transformer of "Attention Is All You Need" (Vaswani et al., 2017).

`Translator`, `train` and `load_recipe` are loaded when first used, so importing this package does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transduce.compose import train
    from transduce.config import load_recipe
    from transduce.decoding.translator import Translator

__all__ = ["Translator", "load_recipe", "train"]

_HOMES = {
    "Translator": "transduce.decoding.translator",
    "load_recipe": "transduce.config",
    "train": "transduce.compose",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for from its home (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'transduce' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
