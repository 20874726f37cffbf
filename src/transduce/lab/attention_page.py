"""One self-contained HTML file that shows every layer and head of a model at work (the paper's figures 3 to 5)."""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from itertools import accumulate
from typing import Any

import torch

from transduce.decoding.attention import KINDS, AttentionMaps, head_statistics, role
from transduce.decoding.translator import Attention
from transduce.errors import ConfigError
from transduce.shapes import Float, Tensor

START, END = "⟨s⟩", "⟨/s⟩"
MOST_LINES = 100
MOST_BYTES = 64 * 2**20  # a page that a browser still takes


def attention_page(title: str, shown: Sequence[tuple[str, str, Attention]]) -> str:
    """The page for (source text, output text, attention) of some sentences. It asks nothing of the network.

    Weights are rounded to 1/255.

    Raises:
        ConfigError: nothing to show, or so much that no browser would open it.
    """
    if not shown:
        raise ConfigError("attention page: no line to show. Give one that is neither blank nor too long.")
    if len(that_fit(shown)) < len(shown):
        size = sum(_page_bytes(a) for _, _, a in shown)
        raise ConfigError(
            f"attention page: {len(shown)} lines make {size * 4 // 3 // 2**20} MB. Give fewer or shorter lines."
        )
    data = {"title": title, "sentences": [_sentence(*one) for one in shown]}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    template = files("transduce.lab").joinpath("attention.html").read_text(encoding="utf-8")
    return template.replace("{}", text, 1)


def that_fit(shown: Sequence[tuple[str, str, Attention]]) -> list[tuple[str, str, Attention]]:
    """As many of the first sentences as fit on one page."""
    sizes = accumulate(_page_bytes(a) for _, _, a in shown)
    return [one for one, size in zip(shown, sizes, strict=True) if size <= MOST_BYTES]


def _page_bytes(a: Attention) -> int:
    return sum(weights.numel() for weights in _stacks(a.weights).values())


def _sentence(source: str, target: str, a: Attention) -> dict[str, Any]:
    read, written = [*a.source, END], [*a.target, END]
    sides = {"encoder": (read, read), "decoder": (written, [START, *a.target]), "cross": (written, read)}
    stacks = _stacks(a.weights)
    return {
        "source": source,
        "target": target,
        "kinds": {
            kind: {
                "rows": sides[kind][0],
                "columns": sides[kind][1],
                "layers": stacks[kind].shape[0],
                "heads": stacks[kind].shape[1],
                "weights": _bytes(stacks[kind]),
                "statistics": [[_statistics(w, kind) for w in layer] for layer in stacks[kind]],
            }
            for kind in KINDS
        },
    }


def _stacks(maps: AttentionMaps) -> dict[str, Float[Tensor, "I H T L"]]:
    return {"encoder": maps.encoder, "decoder": maps.decoder, "cross": maps.cross}


def _statistics(weights: Float[Tensor, "T L"], kind: Any) -> dict[str, Any]:
    found = head_statistics(weights, kind)
    return {name: round(value, 3) for name, value in asdict(found).items()} | {"role": role(found, kind)}


def _bytes(weights: Float[Tensor, "I H T L"]) -> str:
    return base64.b64encode((weights * 255).round().to(torch.uint8).numpy().tobytes()).decode("ascii")
