"""`transduce info`: what is this machine, recipe, run or model?"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transduce.errors import ConfigError

if TYPE_CHECKING:
    from transduce.config import RunConfig
    from transduce.nn.transformer import TransformerConfig


def info(
    what: Annotated[
        str | None, typer.Argument(metavar="[BUNDLE|RUN|RECIPE]", help="Without one: this machine.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting of a recipe.")
    ] = None,
) -> None:
    """Sizes, parameters, FLOPs, memory and provenance of a model, run or recipe; or what this machine offers.

    \b
    Examples:
      transduce info
      transduce info multi30k_ende
      transduce info runs/mine --json
    """
    from transduce.cli.console import print_json

    facts = machine() if what is None else describe(what, settings or [])
    if as_json:
        print_json(facts)
        return
    reasons = facts.pop("chosen", {})
    width = max(map(len, facts))
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        elif isinstance(value, int) and not isinstance(value, bool):
            value = f"{value:,}"
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        print(f"{name:{width}}  {value}")
    if reasons:
        print("\nchosen for the data; to change one, train anew with --set KEY=VALUE:")
        for key, found in reasons.items():
            print(f"  {key} = {json.dumps(found['value'])}: {found['why']}")


def machine() -> dict[str, Any]:
    """Processor, memory and devices, versions, and the recipes that ship with the package."""
    import os
    import platform

    import torch

    from transduce.card import versions
    from transduce.config import recipe_names
    from transduce.device import choose_device, choose_precision
    from transduce.training.world import default_threads

    device = choose_device("auto")
    precision, why = choose_precision("auto", device)
    return {
        "device": device.type,
        "precision": precision,
        "why": why,
        "processors": os.cpu_count() or 1,
        "threads": default_threads(os.environ),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "versions": versions(),
        "recipes": recipe_names(),
    }


def describe(what: str, settings: list[str]) -> dict[str, Any]:
    """A bundle, a run or a recipe. Raises `ConfigError` when `what` is none of them."""
    path = Path(what)
    if path.is_dir():
        if settings:
            raise ConfigError(f"--set changes recipes; {path} is a directory.")
        return _run(path) if (path / "recipe.toml").is_file() else _bundle(path)
    from transduce.config import load_recipe

    return _recipe(load_recipe(what, settings))


def _recipe(config: "RunConfig") -> dict[str, Any]:
    size = config.tokenizer.size
    batch, t = config.batching, config.training
    never_run = {"status": "complete, never run by us"} if config.name.startswith("wmt14") else {}
    return {
        "recipe": config.name,
        **never_run,
        **_architecture(config.model, size, size, batch.max_tokens),
        "tokenizer": {"source": config.tokenizer.source, "target": config.tokenizer.target},
        "tokens_per_update": batch.max_tokens * batch.accumulate,
        "max_steps": t.max_steps,
        "minutes": t.minutes,
        "schedule": f"{t.schedule}, warm-up {t.warmup}",
        "metric": f"{config.evaluation.metric}, tokenize {config.evaluation.tokenize}",
        "seconds": _seconds(config),
    }


def _seconds(config: "RunConfig") -> float:
    """About how long the steps will take here: counted FLOPs over half the rate of a matrix product measured now."""
    import time

    import torch

    from transduce.sizes import flops_per_token

    if config.training.minutes > 0:
        return config.training.minutes * 60
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - start)
    rate = 2 * 1024**3 / min(times) / 2
    size, batch = config.tokenizer.size, config.batching
    tokens = config.training.max_steps * batch.max_tokens * batch.accumulate
    return round(tokens * flops_per_token(config.model, size, size) / rate, 1)


def _run(run: Path) -> dict[str, Any]:
    from transduce.checkpoint import load_progress, saved_steps
    from transduce.rundir import load_asked, load_chosen, load_reasons

    config, chosen, steps = load_asked(run), load_chosen(run), saved_steps(run)
    facts: dict[str, Any] = {"run": str(run), "recipe": config.name, "checkpoints": steps}
    if chosen is not None:
        facts |= {"max_steps": chosen.max_steps, "precision": chosen.precision, "command": chosen.command}
        reasons = {key: {"value": value, "why": why} for key, (value, why) in load_reasons(run).items()}
        facts |= {"chosen": reasons} if reasons else {}
    if steps:
        progress = load_progress(run, steps[-1])
        facts |= {"step": progress.step, "epoch": progress.epoch, "finished": progress.finished}
        if progress.best is not None:
            best = progress.best
            facts |= {"best": f"{best.metric} {best.score:.2f} at step {best.step}"}
    if (run / "model" / "config.json").is_file():
        facts |= _bundle(run / "model")
    return facts


def _bundle(path: Path) -> dict[str, Any]:
    from transduce.bundle import bundle_folder, load_config

    folder = bundle_folder(path)
    config = load_config(folder)
    return {
        "model": str(folder),
        **_architecture(config.model, config.source_size, config.target_size, 4096),
        "languages": f"{config.source_lang or '?'} -> {config.target_lang or '?'}",
        **({"tags": list(config.tags)} if config.tags else {}),
        "beam": config.beam,
        "alpha": config.alpha,
        "max_length": config.max_length,
        "metric": f"{config.metric}, tokenize {config.tokenize}",
        "provenance": dict(config.provenance),
    }


def _architecture(model: "TransformerConfig", source_size: int, target_size: int, tokens: int) -> dict[str, Any]:
    from transduce.sizes import flops_per_token, parameters, training_memory

    n = parameters(model, source_size, target_size)
    return {
        "n_layers": model.n_layers,
        "d_model": model.d_model,
        "d_ff": model.d_ff,
        "n_heads": model.n_heads,
        "d_k": model.d_k,
        "d_v": model.d_v,
        "norm": model.norm,
        "positions": model.positions,
        "layer": asdict(model.layer),
        "vocabulary": {"source": source_size, "target": target_size},
        "parameters": n,
        "flops_per_token": flops_per_token(model, source_size, target_size),
        "weight_bytes": 4 * n,
        "memory_bytes": training_memory(model, source_size, target_size, tokens),
    }
