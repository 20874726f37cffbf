"""Where the parts meet: a recipe becomes a run, and a run a model. The only file that sees all of them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import torch

from transduce.bundle import (
    BundleConfig,
    is_bundle,
    load_bundle,
    load_config,
    load_weights_into,
    save_bundle,
    unique_weights,
)
from transduce.card import model_card
from transduce.checkpoint import (
    DevResult,
    Progress,
    load_optimizer,
    load_progress,
    load_weights,
    prune,
    save_checkpoint,
    saved_steps,
    step_folder,
)
from transduce.config import RunConfig, differences
from transduce.data.prepare import Prepared, load_prepared
from transduce.decide import decide, make_trainer, plan_ahead
from transduce.device import choose_precision
from transduce.errors import BundleError, CheckpointError, ConfigError
from transduce.evaluation.metrics import MetricScore
from transduce.files import sha256
from transduce.machine import peak_resident
from transduce.nn import Transformer
from transduce.reporter import Reporter
from transduce.rundata import begin, check_asked, copy_dropped, describe, load_data, make_data
from transduce.rundir import Chosen, alone, dev_score, load_asked, load_chosen, record, resolve, truncate_events
from transduce.training.averaging import average
from transduce.training.meters import Curves, EventLog
from transduce.training.trainer import StepResult, Trainer, TrainingConfig
from transduce.training.world import World, environment
from transduce.validation import DevSet, best_steps, choose_model, last_steps

SHOWN = 200  # characters of a sample


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How `train` ended: `finished`, or stopped on request at `step` to be continued. `dev` is the final model's."""

    step: int
    finished: bool
    dev: MetricScore | None


def train(
    config: RunConfig,
    out: str | Path,
    *,
    fresh: bool = False,
    start_from: str | Path | None = None,
    command: str = "",
    why: Mapping[str, str] = MappingProxyType({}),
    list_dropped: str | Path | None = None,
    reporter: Reporter | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train what `config` describes in the directory `out`, or continue it exactly where it was.

    Args:
        config: A recipe, from `load_recipe` or made in Python.
        out: The run directory. It is made; one of another recipe is an error.
        fresh: Delete what an earlier run left in `out`.
        start_from: A bundle (or run) whose weights and vocabulary to start from: fine-tuning.
        command: What to write on the model card.
        why: Reasons for settings, by `section.key`, to be kept with the run; `transduce info` shows them.
        list_dropped: Where to copy the list of the pairs that are not trained on to, before training.
        reporter: Who is told how it goes.
        stop: Asked after every step; once it says so, everything is saved and the call returns.

    Raises:
        ConfigError, DataError, BundleError, CheckpointError: something asked for cannot be; nothing is half-written.
        SaveError: the disk is full; the last checkpoint is whole.
        TrainingError: the loss is not finite.
    """
    run, reporter = Path(out), reporter or Reporter()
    check_asked(config, None if list_dropped is None else Path(list_dropped))
    with alone(run):
        config, origin, continued = begin(config, run, fresh, start_from, reporter.say)
        if not continued:  # what cannot be computed here is known before the data is prepared
            world = World.from_env(environment(), config.training.device)
            choose_precision(config.training.precision, world.device)
        make_data(run, config, origin, continued, reporter)
        if not continued:
            record(run, config)
        if list_dropped is not None:
            copy_dropped(run, Path(list_dropped))
        prepared = load_data(run, config)
        if not continued:
            reporter.say(describe(config, prepared))
            if origin is not None:
                t = config.training
                rate = "of noam" if t.schedule == "noam" else f"at most {t.learning_rate:g}"
                reporter.say(f"fine-tuning {origin}: learning rate {rate}, warm-up {t.warmup} steps")
        chosen, world = decide(run, config, prepared, origin, command, why, reporter)
        if continued:  # a limit may have been raised
            record(run, config)
        asked, config = config.training, resolve(config, chosen)
        trainer = make_trainer(config, chosen, world, prepared)
        progress = _standing(run, chosen, trainer, prepared, continued)
        if progress.finished and trainer.over(progress) and _has_model(run, progress.step):
            reporter.say(f"{run}: finished at step {progress.step}. The model is in {run / 'model'}.")
            reporter.say(_ended_by(asked, chosen, progress.step))
            return Outcome(step=progress.step, finished=True, dev=dev_score(run))
        return _train(run, config, chosen, trainer, progress, prepared, reporter, stop)


def _train(
    run: Path,
    config: RunConfig,
    chosen: Chosen,
    trainer: Trainer,
    progress: Progress,
    prepared: Prepared,
    reporter: Reporter,
    stop: Callable[[], bool],
) -> Outcome:
    wall, cpu = time.perf_counter(), time.process_time()
    truncate_events(run, progress.step)
    log = EventLog(run / "events.jsonl", partial(_curves, run, progress.step))
    dev = DevSet(config, prepared, trainer.world.device, trainer.precision)
    listeners = _Both(log, reporter, dev)
    reporter.begin(progress, config)

    def save(after: Progress) -> None:
        nonlocal progress
        save_checkpoint(run, after, *trainer.state())
        progress = after
        _prune(run, after, config)

    try:
        progress = trainer.run(
            replace(progress, finished=False), validate=dev.validate, save=save, listener=listeners, stop=stop
        )
        reporter.trained()
        if not progress.finished:
            return Outcome(step=progress.step, finished=False, dev=None)
        reporter.say("choosing the model on the dev set")
        kept = choose_model(run, config, progress, trainer.model, dev, reporter.say)
        facts = {"choice": kept.label, "step": progress.step}
        bundle = _bundle_config(config, prepared, chosen, facts, kept.alpha)
        scores = {kept.metric: kept.score}
        card = model_card(bundle, config, prepared.manifest, chosen, kept.label, dev.describe(), scores)
        save_bundle(run / "model", bundle, kept.weights, prepared.tokenizers, card)
        log.write(event="model", **facts, score=kept.score.score, signature=kept.score.signature)
        return Outcome(step=progress.step, finished=True, dev=kept.score)
    finally:
        cost = {"wall_seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        cost["peak_memory_bytes"] = peak_resident()
        try:
            log.write(event="session", step=progress.step, threads=chosen.threads, **cost)
        finally:
            log.close()


def prepare_data(
    config: RunConfig,
    out: str | Path,
    *,
    fresh: bool = False,
    start_from: str | Path | None = None,
    list_dropped: str | Path | None = None,
    reporter: Reporter | None = None,
) -> bool:
    """Only what `train` does first with the same arguments: the data in `out`, from which `train` goes on.

    Returns whether there was anything to do. Raises as `train` does.
    """
    run, reporter = Path(out), reporter or Reporter()
    check_asked(config, None if list_dropped is None else Path(list_dropped))
    with alone(run):
        config, origin, continued = begin(config, run, fresh, start_from, reporter.say)
        make_data(run, config, origin, continued, reporter)
        other_limits = continued and load_chosen(run) is None and differences(load_asked(run), config)
        if not continued or other_limits:
            record(run, config)
            plan_ahead(run, config, reporter)
        if list_dropped is not None:
            copy_dropped(run, Path(list_dropped))
    return not continued


def average_run(run: Path, last: int, out: Path) -> list[int]:
    """Average the last `last` checkpoints of `run` into the bundle `out`, which has the alpha of the run's own model,
    where there is one; returns their steps.

    Raises:
        CheckpointError: there are fewer, or `run` is not a run.
        BundleError: the run's own model is broken.
    """
    config, chosen, prepared = load_asked(run), load_chosen(run), load_prepared(run / "data")
    steps = saved_steps(run)
    if chosen is None or not steps:
        raise CheckpointError(f"{run}: no checkpoint yet. Train first.")
    validated = [r.step for r in load_progress(run, steps[-1]).history]
    kept = list(takewhile(lambda step: step in steps, reversed(validated)))[::-1]
    if not 1 <= last <= len(kept):
        raise CheckpointError(
            f"{run}: --last {last}, but of its validated checkpoints the last {len(kept)} are kept (a run keeps the "
            f"last and the best training.average = {config.training.average} of them). "
            + (f"Give --last {len(kept)}, or less." if kept else "Continue it first.")
        )
    chosen_steps = kept[-last:]
    weights = average(load_weights(run, step) for step in chosen_steps)
    name = f"average of steps {', '.join(map(str, chosen_steps))}"
    own = load_config(run / "model").alpha if is_bundle(run / "model") else config.decoding.alpha  # or chosen on dev
    bundle = _bundle_config(config, prepared, chosen, {"choice": name, "step": steps[-1]}, own)
    card = model_card(bundle, config, prepared.manifest, chosen, name, "", {})
    save_bundle(out, bundle, weights, prepared.tokenizers, card)
    return chosen_steps


@final
class _Both:
    """Tells the log and the reporter; gives the log the sample outputs."""

    def __init__(self, log: EventLog, reporter: Reporter, dev: DevSet) -> None:
        self._log, self._reporter, self._dev = log, reporter, dev

    def stepped(self, result: StepResult) -> None:
        self._log.stepped(result)
        self._reporter.stepped(result)

    def validated(self, result: DevResult, progress: Progress) -> None:
        self._log.validated(result, progress)
        for sample in self._dev.samples:
            self._log.write(event="sample", step=result.step, **sample)
        self._reporter.validated(result, progress)
        if self._dev.samples:
            source, output, reference = (_shown(self._dev.samples[0][k]) for k in ("source", "output", "reference"))
            self._reporter.say(f"  {source}\n  -> {output}\n   = {reference}")


def _shown(text: str) -> str:
    """Not all of what a model writes that has not learned to end."""
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _standing(run: Path, chosen: Chosen, trainer: Trainer, prepared: Prepared, continued: bool) -> Progress:
    """Where `run` goes on: at its last checkpoint, which the trainer gets; or the beginning, perhaps of a model."""
    progress = _restore(run, trainer) if continued else None
    if progress is None:
        if chosen.start_from:
            _start_from(Path(chosen.start_from), trainer.model, prepared, run)
        return Progress()
    if progress.finished:  # an earlier end, perhaps
        longer = _on_schedule(progress, chosen.checkpoint_every)
        return progress if trainer.over(longer) else longer
    return progress


def _restore(run: Path, trainer: Trainer) -> Progress | None:
    """Bring model and optimizer to the last checkpoint; None when there is none yet."""
    steps = saved_steps(run)
    if not steps:
        return None
    progress = load_progress(run, steps[-1])
    weights, saved = load_weights(run, steps[-1]), load_optimizer(run, steps[-1])
    try:
        trainer.restore(weights, saved, progress.step, step_folder(run, steps[-1]) / "weights.safetensors")
    except CheckpointError as error:
        raise CheckpointError(f"{step_folder(run, steps[-1]) / 'optimizer.safetensors'}: {error}") from error
    return progress


def _start_from(origin: Path, model: Transformer, prepared: Prepared, run: Path) -> None:
    """Give `model` the weights of `origin`. Raises `ConfigError` where the data of `run` are other pieces, or were
    prepared for other weights."""
    began = load_bundle(origin, torch.device("cpu"))
    weights = origin / "model.safetensors"
    if prepared.manifest.get("start_from_sha256") not in (None, sha256(weights)):
        raise ConfigError(f"{weights}: others than when the data of {run} was prepared. Start over with --fresh.")
    if began.tokenizers.hashes() != prepared.tokenizers.hashes():
        raise ConfigError(
            f"{run}: its data was prepared with another vocabulary than that of {origin}. Start over with --fresh."
        )
    load_weights_into(model, unique_weights(began.model), origin)


def _ended_by(asked: TrainingConfig, chosen: Chosen, step: int) -> str:
    """Which setting ended a run at `step`, and has to be raised for it to go on."""
    if step < chosen.max_steps:
        ended, none = f"training.patience = {asked.patience} ended it before step {chosen.max_steps}", " (0: no limit)"
    elif chosen.max_steps < asked.max_steps:
        ended, none = f"training.minutes = {asked.minutes:g} ended it", ""
    else:
        ended, none = f"training.max_steps = {chosen.max_steps} ended it", ""
    return f"{ended}; raise it to go on{none}"


def _has_model(run: Path, step: int) -> bool:
    """Whether `model/` is there and the one of `step`: not of an earlier end, after which the run was prolonged."""
    try:
        return load_config(run / "model").provenance.get("step") == step
    except BundleError:
        return False


def _on_schedule(progress: Progress, every: int) -> Progress:
    """`progress` without validations that were made only because the run ended there."""
    return replace(progress, history=tuple(result for result in progress.history if result.step % every == 0))


def _prune(run: Path, progress: Progress, config: RunConfig) -> None:
    """Keep what an average or a restart may need: the last n, the best n, and the newest two (one may get damaged).

    That is, now, and should this be the end and the run be prolonged."""
    n, newest = config.training.average, saved_steps(run)[-2:]
    kept = set(newest)
    for seen in (progress, _on_schedule(progress, config.training.checkpoint_every)):
        kept |= {*last_steps(seen, n), *best_steps(seen, n)}
    prune(run, sorted(kept), newest)


def _bundle_config(
    config: RunConfig, prepared: Prepared, chosen: Chosen, facts: dict[str, Any], alpha: float
) -> BundleConfig:
    return BundleConfig(
        model=config.model,
        source_size=prepared.tokenizers.source.size,
        target_size=prepared.tokenizers.target.size,
        max_length=config.data.max_length,
        beam=config.decoding.beam,
        alpha=alpha,
        extra_length=config.decoding.extra_length,
        usual_extra=prepared.corpus.usual_extra,
        source_lang=config.data.source_lang,
        target_lang=config.data.target_lang,
        pretokenised=config.data.pretokenised,
        normalise=config.data.normalise,
        tags=config.data.known_tags,
        placeholders=config.data.placeholders > 0,
        metric=config.evaluation.metric,
        tokenize=config.evaluation.tokenize,
        by_line=config.evaluation.by_line,
        provenance={"recipe": config.name, "seed": config.training.seed, "command": chosen.command, **facts},
    )


def _curves(run: Path, step: int) -> Curves | None:
    """TensorBoard's writer, which forgets what came after `step`, where the extra is installed; importing it takes as
    long as an update of a small model."""
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)
