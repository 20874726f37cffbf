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

    if what is None and settings:
        raise ConfigError("--set: without a recipe there is no setting to change. Name the recipe.")
    facts = machine() if what is None else describe(what, settings or [])
    if as_json:
        print_json(facts)
        return
    reasons = facts.pop("chosen", {})
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {_shown(value)}")
    if reasons:
        print("\nchosen for the data; to change one, train anew with --set KEY=VALUE:")
        for key, found in reasons.items():
            print(f"  {key} = {json.dumps(found['value'])}: {found['why']}")


def _shown(value: Any) -> str:
    match value:
        case dict():
            return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items())
        case list():
            return ", ".join(map(str, value))
        case int() | float() if not isinstance(value, bool):
            return f"{value:,}"
        case _:
            return str(value)


def machine() -> dict[str, Any]:
    """Processor, memory and devices, what they were measured to do, versions, and the recipes that ship."""
    import os
    import platform

    from transduce.card import versions
    from transduce.config import recipe_names
    from transduce.device import choose_device, choose_precision
    from transduce.machine import instructions, measure_machine, memory, processor, usable_processors
    from transduce.training.world import default_threads

    device = choose_device("auto")
    precision, why = choose_precision("auto", device)
    threads = default_threads(os.environ)
    speed = measure_machine(threads)
    return {
        "device": device.type,
        "precision": precision,
        "why": why,
        "processor": processor(),
        "processors": os.cpu_count() or 1,
        "usable": usable_processors(),
        "threads": threads,
        "instructions": instructions(),
        "fp32_gflops": round(speed.fp32 / 1e9, 1),
        "bf16_gflops": round(speed.bf16 / 1e9, 1),
        "memory_gb_s": round(speed.memory / 1e9, 1),
        "cache_gb_s": round(speed.cache / 1e9, 1),
        "call_microseconds": round(speed.call * 1e6, 1),
        "memory_bytes": memory(),
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
        **_architecture(config.model, size, size),
        "tokenizer": {"source": config.tokenizer.source, "target": config.tokenizer.target},
        "tokens_per_update": batch.tokens,
        "max_steps": t.max_steps,
        "minutes": t.minutes,
        "optimizer": t.optimizer,
        "schedule": f"{t.schedule}, warm-up {t.warmup}",
        "metric": f"{config.evaluation.metric}, tokenize {config.evaluation.tokenize}",
        **_cost(config),
    }


def _cost(config: "RunConfig") -> dict[str, Any]:
    """Predicted for training on the processor of this machine, with full batches and as many pieces as may be.

    `seconds` is of the updates alone; what validations take depends on the dev set.
    """
    import os

    from transduce.calibration import calibrated_machine
    from transduce.cost import BASE, COPIES, Work, count, trained_on, training_memory, update_seconds
    from transduce.device import choose_device, choose_precision
    from transduce.training.parallel import cut
    from transduce.training.world import default_threads

    t, sizes = config.training, (config.tokenizer.size,) * 2
    precision, _ = choose_precision(t.precision, choose_device("cpu"))
    threads = default_threads(os.environ)
    work = trained_on(Work.full(config.batching, cut(threads, config.batching.tokens, config.model.d_model)), t)
    counted = count(config.model, *sizes, work, t.optimizer)
    update = update_seconds(counted, calibrated_machine(threads // work.lanes, precision), precision)
    return {
        "memory_bytes": training_memory(config.model, *sizes, work, precision, BASE, COPIES + (t.ema > 0)),
        "precision": precision,
        "seconds_per_update": round(update, 3),
        "target_pieces_per_second": round(config.batching.tokens / update, 1),
        "seconds": round(t.minutes * 60 if t.minutes > 0 else t.max_steps * update, 1),
    }


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
    facts |= _planned_and_happened(run)
    if (run / "model" / "config.json").is_file():
        facts |= _bundle(run / "model")
    return facts


def _planned_and_happened(run: Path) -> dict[str, Any]:
    """What the plan said, and what the sessions of the run took; as far as earlier versions wrote it down."""
    from transduce.rundata import load_plan
    from transduce.rundir import sessions

    found, plan, took = {}, load_plan(run), sessions(run)
    if plan is not None:
        found["planned"] = {"updates": plan["updates"], "seconds": plan["seconds"], "memory_bytes": plan["memory"]}
    if took:
        found["happened"] = {
            "updates": took[-1]["step"],
            "seconds": sum(session["wall_seconds"] for session in took),
            "memory_bytes": max(session.get("peak_memory_bytes", 0) for session in took),
        }
    rounded: dict[str, Any] = {name: {key: round(n) for key, n in values.items()} for name, values in found.items()}
    for key in ("seconds", "memory_bytes"):  # under a recipe's names: what happened, else what was planned
        known = [rounded[name][key] for name in ("happened", "planned") if rounded.get(name, {}).get(key)]
        rounded |= {key: known[0]} if known else {}
    return rounded


def _bundle(path: Path) -> dict[str, Any]:
    from transduce.bundle import bundle_folder, load_config

    folder = bundle_folder(path)
    config = load_config(folder)
    return {
        "model": str(folder),
        **_architecture(config.model, config.source_size, config.target_size),
        "languages": f"{config.source_lang or '?'} -> {config.target_lang or '?'}",
        **({"tags": list(config.tags)} if config.tags else {}),
        **({"kept": "numbers, addresses and the like, by placeholders"} if config.placeholders else {}),
        "beam": config.beam,
        "alpha": config.alpha,
        "max_length": config.max_length,
        "metric": f"{config.metric}, tokenize {config.tokenize}",
        "provenance": dict(config.provenance),
    }


def _architecture(model: "TransformerConfig", source_size: int, target_size: int) -> dict[str, Any]:
    from transduce.sizes import flops_per_token, parameters

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
    }
