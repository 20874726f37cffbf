"""What the machine and the clock decide, once, before the first update; and the trainer that follows."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from transduce.calibration import calibrated_machine
from transduce.card import versions
from transduce.checkpoint import Progress
from transduce.config import RunConfig
from transduce.cost import BASE, Work
from transduce.data.prepare import Prepared
from transduce.device import choose_precision, tune_process
from transduce.errors import ConfigError
from transduce.machine import peak_resident, resident
from transduce.nn.transformer import build
from transduce.plan import Timing, fit, make_plan, predict
from transduce.reporter import Reporter
from transduce.rundata import load_data, save_plan
from transduce.rundir import Chosen, load_chosen, load_facts, save_resolved
from transduce.text.pieces import IDS
from transduce.training.optimizer import build_optimizer
from transduce.training.parallel import cut
from transduce.training.schedule import learning_rate
from transduce.training.trainer import Trainer
from transduce.training.world import World, default_threads, environment
from transduce.validation import DEV_LOSS_PAIRS, DevSet

TIMED_STEPS = 8
TIMED_SECONDS = 5.0  # when steps have taken so long, there are no more
# An untrained model never ends an output. Cut off so many pieces beyond the usual target, it takes a trained one's time
LONGER = 10


def decide(
    run: Path,
    config: RunConfig,
    prepared: Prepared,
    origin: Path | None,
    command: str,
    why: Mapping[str, str],
    reporter: Reporter,
) -> tuple[Chosen, World]:
    """What the machine and the clock decide: once, before step 1. On continuing, only more steps may be added.

    Raises:
        ConfigError: the device or precision is not there; `run` was begun from another model than `origin`.
        CheckpointError: what was decided before cannot be read.
    """
    chosen = load_chosen(run)
    begun = {} if chosen is None else load_facts(run)
    if chosen is None:
        chosen, world = _decide_first(run, config, prepared, origin, command, reporter)
    else:
        chosen, world = _decide_again(run, config, chosen, origin, command)
    now, first = versions(), begun.get("versions", {})
    for name in [name for name in now if first.get(name, now[name]) != now[name]]:
        reporter.say(f"{run}: begun with {name} {first[name]}, now it is {now[name]}: the last bits may differ")
    facts = {"versions": first or now, "train": prepared.manifest["train"], "why": dict(why) or begun.get("why", {})}
    save_resolved(run, config, chosen, facts)
    return chosen, world


def _decide_first(
    run: Path, config: RunConfig, prepared: Prepared, origin: Path | None, command: str, reporter: Reporter
) -> tuple[Chosen, World]:
    world = World.from_env(environment(), config.training.device)
    chosen, because = _first_choice(config, world, command, "" if origin is None else str(origin))
    reporter.say(f"precision {because}; {chosen.threads} thread{'s' if chosen.threads > 1 else ''}")
    tune_process(chosen.threads)
    base = resident()
    work, timing = _work(config, chosen, prepared), None
    if config.training.minutes > 0:
        measured = _measure(config, chosen, world, prepared, reporter)
        chosen, timing = _fit_minutes(config, chosen, measured, reporter), measured
    else:  # nothing depends on it, so the first update need not wait for it
        timing = _predict(config, chosen, world, prepared, work)
    plan = make_plan(config, chosen, prepared, timing, work, base, peak_resident())
    save_plan(run, plan)
    reporter.planned(plan)
    return chosen, world


def _decide_again(
    run: Path, config: RunConfig, before: Chosen, origin: Path | None, command: str
) -> tuple[Chosen, World]:
    if origin is not None and before.start_from != str(origin):
        raise ConfigError(f"{run}: was begun from {before.start_from or 'nothing'}, not {origin}. Use another --out.")
    world = World.from_env(environment(), before.device)
    tune_process(before.threads)
    steps, minutes = config.training.max_steps, config.training.minutes
    if minutes > 0 and before.seconds_per_step > 0:
        steps = min(steps, max(1, int(minutes * 60 / before.seconds_per_step)))
    if steps <= before.max_steps:
        return before, world
    return replace(before, max_steps=steps, command=command), world  # the first command would not lead here


def _first_choice(config: RunConfig, world: World, command: str, start_from: str) -> tuple[Chosen, str]:
    """What is chosen when no clock has a say, and why this precision."""
    asked = config.training
    precision, because = choose_precision(asked.precision, world.device)
    chosen = Chosen(
        max_steps=asked.max_steps,
        checkpoint_every=asked.checkpoint_every,
        warmup=asked.warmup,
        precision=precision,
        device=world.device.type,
        threads=default_threads(environment()),
        seconds_per_step=0.0,
        command=command,
        start_from=start_from,
    )
    return chosen, because


def _measure(config: RunConfig, chosen: Chosen, world: World, prepared: Prepared, reporter: Reporter) -> Timing:
    """Time a few steps and a validation on a throw-away model."""
    reporter.say("timing a few steps")
    trainer = make_trainer(config, chosen, world, prepared)
    times: list[float] = []
    for progress, numbers in trainer.updates(Progress()):
        start = time.perf_counter()
        trainer.update(progress, numbers)
        times.append(time.perf_counter() - start)
        if len(times) == 2 + TIMED_STEPS or sum(times) > TIMED_SECONDS:
            break
    timed = times[min(2, len(times) - 1) :]  # the first ones make kernels and fill memory
    # a model that has learned nothing ends no output by itself
    first = prepared.epochs.of_epoch(0)
    lengths = first.target_lengths, first.source_lengths
    longer = round(float(np.maximum(lengths[0] - lengths[1], 0).mean())) + LONGER
    decoding = replace(config.decoding, extra_length=min(longer, config.decoding.extra_length))
    dev = DevSet(replace(config, decoding=decoding), prepared, trainer.world.device, trainer.precision)
    start = time.perf_counter()
    dev.validate(trainer.model, 0)
    validation = time.perf_counter() - start
    return Timing(update=sum(timed) / len(timed), validation=validation, measured=True)


def _fit_minutes(config: RunConfig, chosen: Chosen, timing: Timing, reporter: Reporter) -> Chosen:
    """The number of steps follows from the minutes, and stays."""
    steps, every, seconds = fit(config.training, timing, bool(config.evaluation.alphas))
    warmup = chosen.warmup
    if config.training.schedule != "noam":  # whose peak would rise
        warmup = min(warmup, max(1, steps // 5))  # a run that ends while the rate still rises has learned little
    reporter.say(
        f"{timing.update:.2f} s a step, {timing.validation:.1f} s a validation: {steps} steps in "
        f"{config.training.minutes:g} minutes"
        + (f"; warm-up {warmup} of them instead of {chosen.warmup}" if warmup < chosen.warmup else "")
    )
    return replace(chosen, max_steps=steps, checkpoint_every=every, warmup=warmup, seconds_per_step=seconds)


def plan_ahead(run: Path, config: RunConfig, reporter: Reporter) -> None:
    """The plan of a run that is yet to begin, with times predicted."""
    try:
        world = World.from_env(environment(), config.training.device)
        chosen, _ = _first_choice(config, world, "", "")
    except ConfigError as error:
        return reporter.say(f"no plan: {error}")
    prepared = load_data(run, config)
    tune_process(chosen.threads)
    work = _work(config, chosen, prepared)
    timing = _predict(config, chosen, world, prepared, work)
    if timing is not None and config.training.minutes > 0:
        steps, every, _ = fit(config.training, timing, bool(config.evaluation.alphas))
        chosen = replace(chosen, max_steps=steps, checkpoint_every=every)
    plan = make_plan(config, chosen, prepared, timing, work, BASE, peak=0)
    save_plan(run, plan)
    reporter.planned(plan)


def _work(config: RunConfig, chosen: Chosen, prepared: Prepared) -> Work:
    """What an average update is on this machine."""
    parts = cut(chosen.threads, config.batching.tokens, config.model.d_model)
    return Work.of(prepared.epochs, config.batching, parts, config.training.seed)


def _predict(config: RunConfig, chosen: Chosen, world: World, prepared: Prepared, work: Work) -> Timing | None:
    """The times that the cost model predicts from a moment of measuring; None on another device than the processor."""
    if world.device.type != "cpu":
        return None
    machine = calibrated_machine(chosen.threads // work.lanes, chosen.precision)
    torch.set_num_threads(chosen.threads)
    scored = min(len(prepared.dev), DEV_LOSS_PAIRS)
    return predict(config, chosen.precision, prepared, machine, work, scored)


def make_trainer(config: RunConfig, chosen: Chosen, world: World, prepared: Prepared) -> Trainer:
    """A new model of `config`, and what trains it; the seed of both is the recipe's."""
    torch.manual_seed(config.training.seed)
    tokenizers = prepared.tokenizers
    model = build(config.model, tokenizers.source.size, tokenizers.target.size, IDS.pad).to(world.device)
    t = config.training
    rate = learning_rate(
        t.schedule, d_model=config.model.d_model, peak=t.learning_rate, warmup=t.warmup, steps=t.max_steps
    )
    optimizer, precision = build_optimizer(t.optimizer, model, t.weight_decay), chosen.precision
    return Trainer(model, optimizer, prepared.epochs, rate, config.batching, t, precision, world, chosen.threads)
