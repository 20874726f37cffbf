"""The model card: README.md of a bundle. Nothing in it depends on when, where or how often the run was interrupted."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from transduce.bundle import BundleConfig
from transduce.config import RunConfig, to_toml, to_values
from transduce.data.preflight import reasons
from transduce.evaluation.metrics import MetricScore
from transduce.rundir import Chosen


def versions() -> dict[str, str]:
    """Versions of what computed the model."""
    packages = ("transduce", "torch", "sentencepiece", "sacrebleu")
    return {name: version(name) for name in packages} | {"python": platform.python_version()}


def model_card(
    bundle: BundleConfig,
    config: RunConfig,
    manifest: Mapping[str, Any],
    chosen: Chosen,
    choice: str,
    dev: str,
    scores: Mapping[str, MetricScore],
) -> str:
    """README.md: what the model is, what it was made from and with, and how good it is on the dev set."""
    name = config.name or "model"
    direction = f"{bundle.source_lang} to {bundle.target_lang}" if bundle.source_lang else "source to target"
    quality = [f"| {m} | {s.score:.2f} | `{s.signature.replace('|', chr(92) + '|')}` |" for m, s in scores.items()]
    inputs = [f"| `{i['path']}` | {i['bytes']:,} | `{i['sha256']}` |" for i in manifest["inputs"]]
    train, held = manifest["train"], manifest["dev"]["held_out_of_train"]
    c = config.model
    return "\n".join(
        [
            "---",
            "library_name: transduce",
            "license: unknown  # yours to fill in; the data's licence matters",
            "---",
            "",
            f"# {name}: {direction}",
            "",
            f"A Transformer of {c.n_layers} + {c.n_layers} {c.layer.kind} layers, d_model {c.d_model}, d_ff {c.d_ff}, "
            f"{c.n_heads} heads, {bundle.source_size:,} source and {bundle.target_size:,} target pieces, trained with "
            f"transduce.",
            "",
            "```",
            f'transduce translate PATH "{"some text" if not bundle.pretokenised else "text , split into tokens"}"',
            "```",
            "",
            "## Quality",
            "",
            f"On {dev}; the model is the {choice}, chosen on the same set." if quality else f"Not measured: {choice}.",
            "",
            *(["| metric | score | signature |", "|---|---|---|", *quality, ""] if quality else []),
            "## Data",
            "",
            f"{train['kept']:,} training pairs ({train['source_tokens']:,} source and {train['target_tokens']:,} "
            f"target pieces); left out: {reasons(train) or 'none'}. "
            f"{manifest['dev']['pairs']:,} dev pairs{', held out of the training files' if held else ''}.",
            "",
            "| file | bytes | SHA-256 |",
            "|---|---|---|",
            *inputs,
            "",
            "## Made with",
            "",
            *([f"`{chosen.command}`", ""] if chosen.command else []),
            *([f"Started from the weights of `{chosen.start_from}`.", ""] if chosen.start_from else []),
            f"Up to {chosen.max_steps:,} steps, {chosen.precision} on {chosen.device}, threads: {chosen.threads}. "
            + ", ".join(f"{k} {v}" for k, v in versions().items())
            + ".",
            "",
            "```toml",
            to_toml(to_values(config)).rstrip(),
            "```",
            "",
        ]
    )
