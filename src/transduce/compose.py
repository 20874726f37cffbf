"""Where the parts meet: a recipe becomes a run, and a run a model. The only file that sees all of them."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import torch

from transduce.bundle import (
    BundleConfig,
    bundle_folder,
    load_bundle,
    load_config,
    load_weights_into,
    save_bundle,
    unique_weights,
)
from transduce.card import model_card, versions
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
from transduce.config import RunConfig
from transduce.cost import BASE
from transduce.data.corpus import Files, Mixed, languages_of
from transduce.data.preflight import Preflight, reasons
from transduce.data.prepare import Prepared, Sources, check_inputs, load_prepared, prepare, with_drawn_pieces
from transduce.device import Chosen as ChosenPrecision
from transduce.device import choose_precision, tune_process
from transduce.errors import BundleError, CheckpointError, ConfigError, DataError
from transduce.evaluation.metrics import MetricScore
from transduce.files import copy_atomically, write_json
from transduce.machine import measure_machine, peak_resident, resident
from transduce.nn.transformer import build
from transduce.plan import Plan, Timing, fit, make_plan, predict, to_values
from transduce.rundir import (
    Chosen,
    check_same,
    is_begun,
    load_asked,
    load_chosen,
    new_data,
    record,
    resolve,
    save_resolved,
    truncate_events,
)
from transduce.text.pieces import IDS
from transduce.text.tokenizer import TokenizerPair
from transduce.training.averaging import average
from transduce.training.meters import Curves, EventLog
from transduce.training.optimizer import build_optimizer
from transduce.training.parallel import cut
from transduce.training.schedule import learning_rate
from transduce.training.trainer import StepResult, Trainer
from transduce.training.world import World, default_threads, environment
from transduce.validation import DEV_LOSS_PAIRS, DevSet, best_steps, choose_model, last_steps

TIMED_STEPS = 8
TIMED_SECONDS = 5.0  # when steps have taken so long, there are no more
LONGER = 10  # pieces than the mean target: what decoding takes as long for as that of a model that ends its outputs


@runtime_checkable  # so that tests can check annotations at run time
class Reporter(Protocol):
    """Who is told how a run goes: the command line's progress display, or nobody."""

    def say(self, text: str) -> None:
        """One line for a person."""
        ...

    def surveyed(self, preflight: Preflight) -> None:
        """The data was prepared: what it is like, and what was left out."""
        ...

    def planned(self, plan: Plan) -> None:
        """What will be trained, and what it takes on this machine."""
        ...

    def begin(self, progress: Progress, config: RunConfig) -> None:
        """Training starts or goes on from `progress`."""
        ...

    def stepped(self, result: StepResult) -> None:
        """After every update."""
        ...

    def validated(self, result: DevResult, progress: Progress) -> None:
        """After every validation."""
        ...


@final
class Quiet:
    """A reporter that tells nobody."""

    def say(self, text: str) -> None:
        """Nothing."""

    def surveyed(self, preflight: Preflight) -> None:
        """Nothing."""

    def planned(self, plan: Plan) -> None:
        """Nothing."""

    def begin(self, progress: Progress, config: RunConfig) -> None:
        """Nothing."""

    def stepped(self, result: StepResult) -> None:
        """Nothing."""

    def validated(self, result: DevResult, progress: Progress) -> None:
        """Nothing."""


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
    run, reporter = Path(out), reporter or Quiet()
    config, origin, continued = _begin(config, run, fresh, start_from, reporter.say)
    if not continued:  # what cannot be computed here is known before the data is prepared
        world = World.from_env(environment(), config.training.device)
        choose_precision(config.training.precision, world.device)
    _make_data(run, config, origin, continued, reporter)
    record(run, config)
    if list_dropped is not None:
        copy_dropped(run, Path(list_dropped))
    prepared = _load_prepared(run, config)
    if not continued:
        reporter.say(_describe(config, prepared))
        if origin is not None:
            t = config.training
            rate = "of noam" if t.schedule == "noam" else f"at most {t.learning_rate:g}"
            reporter.say(f"fine-tuning {origin}: learning rate {rate}, warm-up {t.warmup} steps")
    chosen, world = _choose(run, config, prepared, origin, command, why, reporter)
    trainer = _trainer(resolve(config, chosen), chosen, world, prepared)
    progress = _restore(run, trainer) if continued else None
    if progress is None:
        progress = Progress()
        if chosen.start_from:
            began = load_bundle(Path(chosen.start_from), world.device).model
            load_weights_into(trainer.model, unique_weights(began), chosen.start_from)
    if progress.finished:  # an earlier end, perhaps
        longer = _on_schedule(progress, chosen.checkpoint_every)
        progress = longer if _may_go_on(trainer, longer) else progress
    if progress.finished and not _may_go_on(trainer, progress) and _has_model(run, progress.step):
        reporter.say(f"{run}: finished at step {progress.step}. The model is in {run / 'model'}.")
        return Outcome(step=progress.step, finished=True, dev=None)
    return _train(run, resolve(config, chosen), chosen, trainer, progress, prepared, reporter, stop)


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
    log = EventLog(run / "events.jsonl", partial(_curves, run))
    dev = DevSet(config, prepared, trainer.world.device, trainer.precision)
    listeners = _Both(log, reporter, dev)
    reporter.begin(progress, config)

    def save(after: Progress) -> None:
        save_checkpoint(run, after, *trainer.state())
        _prune(run, after, config)

    try:
        progress = trainer.run(
            replace(progress, finished=False), validate=dev.validate, save=save, listener=listeners, stop=stop
        )
        if not progress.finished:
            return Outcome(step=progress.step, finished=False, dev=None)
        reporter.say("choosing the model on the dev set")
        name, weights, scores = choose_model(run, config, progress, trainer.model, dev, reporter.say)
        bundle = _bundle_config(config, prepared, chosen, {"choice": name, "step": progress.step})
        dev_score = scores[config.evaluation.metric]
        card = model_card(bundle, config, prepared.manifest, chosen, name, dev.describe(), scores)
        save_bundle(run / "model", bundle, weights, prepared.tokenizers, card)
        log.write(event="model", step=progress.step, choice=name, score=dev_score.score, signature=dev_score.signature)
        return Outcome(step=progress.step, finished=True, dev=dev_score)
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
    run, reporter = Path(out), reporter or Quiet()
    config, origin, continued = _begin(config, run, fresh, start_from, reporter.say)
    _make_data(run, config, origin, continued, reporter)
    if not continued:
        record(run, config)
        _plan_ahead(run, config, reporter)
    if list_dropped is not None:
        copy_dropped(run, Path(list_dropped))
    return not continued


def load_report(run: Path) -> dict[str, Any]:
    """The preflight report of `run` as it was saved. Raises `DataError` when there is none."""
    values: dict[str, Any] = json.loads(_saved(run, "preflight.json").read_text(encoding="utf-8"))
    return values


def copy_dropped(run: Path, to: Path) -> None:
    """The list of the pairs of `run` that are not trained on, as a file at `to`.

    Raises:
        DataError: there is none.
        SaveError: `to` cannot be written.
    """
    copy_atomically(_saved(run, "dropped.tsv"), to)


def _saved(run: Path, name: str) -> Path:
    path = run / "data" / name
    if not path.is_file():
        raise DataError(f"{path}: not there; the data was prepared by an earlier version. Start over with --fresh.")
    return path


def _begin(
    config: RunConfig, run: Path, fresh: bool, start_from: str | Path | None, say: Callable[[str], None]
) -> tuple[RunConfig, Path | None, bool]:
    """What is asked, once the model to start from and the files had their say; that model; whether `run` goes on."""
    origin = None if start_from is None else bundle_folder(Path(start_from))
    config = config if origin is None else _take_over(config, origin)
    continued = _continues(run, fresh)
    return _with_languages(config, run if continued else None, say), origin, continued


def _continues(run: Path, fresh: bool) -> bool:
    """Whether `run` goes on, or starts (over). Raises `CheckpointError` when neither is possible."""
    if is_begun(run) and not fresh:
        return True
    if not fresh and saved_steps(run):
        raise CheckpointError(f"{run}: has checkpoints, but no recipe.toml. Put it back, or start over with --fresh.")
    return False


def _make_data(run: Path, config: RunConfig, origin: Path | None, continued: bool, reporter: Reporter) -> None:
    """The data of `run`, prepared; or, for one that goes on, checked to be of this recipe and these files."""
    if continued:
        check_same(run, config)
        check_inputs(load_prepared(run / "data").manifest)
    else:
        tokenizer = config.tokenizer if origin is None else _tokenizers(config, origin)
        with new_data(run) as data:  # bad input is known before anything that stood here is gone
            preflight = prepare(data, sources(config), tokenizer, reporter.say, lambda n: None)
        reporter.surveyed(preflight)


def _load_prepared(run: Path, config: RunConfig) -> Prepared:
    """The data of `run` as it is trained on."""
    prepared = load_prepared(run / "data")
    return with_drawn_pieces(prepared, config.tokenizer, max_length=config.data.max_length, seed=config.training.seed)


def sources(config: RunConfig) -> Sources:
    """The inputs of `prepare` that a recipe names."""
    d = config.data
    train: Files = d.files(d.train)
    if d.mix is not None:
        train = Mixed(new=train, old=d.files(d.mix), share=d.mix_share, seed=config.training.seed)
    return Sources(
        train=train,
        dev=None if d.dev is None else d.files(d.dev),
        test=None if d.test is None else d.files(d.test),
        pretokenised=d.pretokenised,
        max_length=d.max_length,
        seed=config.training.seed,
        cleaning=config.cleaning,
        tags=d.known_tags,
        augment=d.augment,
        inflected=config.tokenizer.source == "tagged",
    )


def average_run(run: Path, last: int, out: Path) -> list[int]:
    """Average the last `last` checkpoints of `run` into the bundle `out`; returns their steps.

    Raises:
        CheckpointError: there are fewer, or `run` is not a run.
    """
    config, chosen, prepared = load_asked(run), load_chosen(run), load_prepared(run / "data")
    steps = saved_steps(run)
    if chosen is None or not steps:
        raise CheckpointError(f"{run}: no checkpoint yet. Train first.")
    validated = [r.step for r in load_progress(run, steps[-1]).history if r.step in steps]
    if not 1 <= last <= len(validated):
        raise CheckpointError(
            f"{run}: --last {last}, but {len(validated)} validated checkpoints are kept. A run keeps the last and the "
            f"best training.average = {config.training.average} of them."
        )
    chosen_steps = validated[-last:]
    weights = average(load_weights(run, step) for step in chosen_steps)
    name = f"average of steps {', '.join(map(str, chosen_steps))}"
    bundle = _bundle_config(config, prepared, chosen, {"choice": name, "step": steps[-1]})
    save_bundle(
        out, bundle, weights, prepared.tokenizers, model_card(bundle, config, prepared.manifest, chosen, name, "", {})
    )
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
            sample = self._dev.samples[0]
            self._reporter.say(f"  {sample['source']}\n  -> {sample['output']}\n   = {sample['reference']}")


def _describe(config: RunConfig, prepared: Prepared) -> str:
    """What is going to be trained on, and judged by."""
    train, dev = prepared.manifest["train"], prepared.manifest["dev"]
    held_out = ", held out of the training files (data/dev.jsonl)" if dev["held_out_of_train"] else ""
    left_out = reasons(train) or "none"
    made = f" and {train['made']:,} made from them" if train.get("made") else ""
    return (
        f"{train['kept']:,} training pairs{made} (left out: {left_out}), {dev['pairs']:,} dev pairs{held_out}; "
        f"judged by {config.evaluation.metric}"
    )


def _take_over(config: RunConfig, origin: Path) -> RunConfig:
    """Fine-tuning keeps the architecture (but for dropout), vocabulary, tags and normal form of the model before."""
    before, asked, asked_model = load_config(origin), config.tokenizer, config.model
    joint = TokenizerPair.load(origin).joint
    return replace(
        config,
        model=replace(
            before.model,
            p_drop=asked_model.p_drop,
            attention_dropout=asked_model.attention_dropout,
            activation_dropout=asked_model.activation_dropout,
        ),
        tokenizer=replace(asked, joint=joint, target=asked.source if joint else asked.target),
        data=replace(
            config.data,
            pretokenised=before.pretokenised,
            normalise=before.normalise,
            tags=tuple(dict.fromkeys([*before.tags, *config.data.known_tags])),  # those it has keep their pieces
        ),
    )


def _tokenizers(config: RunConfig, origin: Path) -> TokenizerPair:
    """The vocabulary of the model to start from, with the tags of both."""
    before = load_bundle(origin, torch.device("cpu")).tokenizers
    return TokenizerPair(before.source, before.target, config.data.known_tags)


def _with_languages(config: RunConfig, begun: Path | None, say: Callable[[str], None]) -> RunConfig:
    """Where nobody says which languages a translation memory is read in: those that it has, or the run has had."""
    if config.data.source_lang or config.data.target_lang:
        return config
    if begun is not None:
        data = load_asked(begun).data
        source, target = data.source_lang, data.target_lang
    else:
        source, target = languages_of(config.data.files(config.data.train))
        if source:
            say(f"languages: from {source} to {target}, as the translation memory has them (--langs says otherwise)")
    return replace(config, data=replace(config.data, source_lang=source, target_lang=target))


def _choose(
    run: Path,
    config: RunConfig,
    prepared: Prepared,
    origin: Path | None,
    command: str,
    why: Mapping[str, str],
    reporter: Reporter,
) -> tuple[Chosen, World]:
    """What the machine and the clock decide: once, before step 1. On continuing, only more steps may be added."""
    chosen = load_chosen(run)
    asked = config.training
    if chosen is None:
        world = World.from_env(environment(), asked.device)
        chosen, because = _first_choice(config, world, command, "" if origin is None else str(origin))
        reporter.say(f"precision {because}; {chosen.threads} thread{'s' if chosen.threads > 1 else ''}")
        tune_process(chosen.threads)
        base = resident()
        timing: Timing | None
        if asked.minutes > 0:
            measured = _measure(config, chosen, world, prepared, reporter)
            chosen, timing = _fit_minutes(config, chosen, measured, reporter), measured
        else:  # nothing depends on it, so the first update need not wait for it
            timing = _predict(config, chosen, world, prepared)
        _announce(run, make_plan(config, chosen, prepared, timing, base, peak_resident()), reporter)
    else:
        if origin is not None and chosen.start_from != str(origin):
            raise ConfigError(
                f"{run}: was begun from {chosen.start_from or 'nothing'}, not {origin}. Use another --out."
            )
        world = World.from_env(environment(), chosen.device)  # type: ignore[arg-type]
        tune_process(chosen.threads)
        steps = asked.max_steps
        if asked.minutes > 0 and chosen.seconds_per_step > 0:
            steps = min(steps, max(1, int(asked.minutes * 60 / chosen.seconds_per_step)))
        chosen = replace(chosen, max_steps=max(steps, chosen.max_steps))
    facts = {"versions": versions(), "train": prepared.manifest["train"], "why": dict(why)}
    save_resolved(run, config, chosen, facts)
    return chosen, world


def _first_choice(config: RunConfig, world: World, command: str = "", start_from: str = "") -> tuple[Chosen, str]:
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


def _precision(chosen: Chosen) -> ChosenPrecision:
    return "bf16" if chosen.precision == "bf16" else "fp32"


def _measure(config: RunConfig, chosen: Chosen, world: World, prepared: Prepared, reporter: Reporter) -> Timing:
    """Time a few steps and a validation on a throw-away model."""
    reporter.say("timing a few steps")
    trainer = _trainer(config, chosen, world, prepared)
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
    steps, every, seconds = fit(config.training, timing)
    warmup = min(chosen.warmup, max(1, steps // 5))  # a run that ends while the rate still rises has learned little
    reporter.say(
        f"{timing.update:.2f} s a step, {timing.validation:.1f} s a validation: {steps} steps in "
        f"{config.training.minutes:g} minutes"
        + (f"; warm-up {warmup} of them instead of {chosen.warmup}" if warmup < chosen.warmup else "")
    )
    return replace(chosen, max_steps=steps, checkpoint_every=every, warmup=warmup, seconds_per_step=seconds)


def _plan_ahead(run: Path, config: RunConfig, reporter: Reporter) -> None:
    """The plan of a run that is yet to begin, with times predicted."""
    try:
        world = World.from_env(environment(), config.training.device)
        chosen, _ = _first_choice(config, world)
    except ConfigError as error:
        return reporter.say(f"no plan: {error}")
    prepared = _load_prepared(run, config)
    tune_process(chosen.threads)
    timing = _predict(config, chosen, world, prepared)
    if timing is not None and config.training.minutes > 0:
        steps, every, _ = fit(config.training, timing)
        chosen = replace(chosen, max_steps=steps, checkpoint_every=every)
    _announce(run, make_plan(config, chosen, prepared, timing, BASE, peak=0), reporter)


def _predict(config: RunConfig, chosen: Chosen, world: World, prepared: Prepared) -> Timing | None:
    """The times that the cost model predicts from a moment of measuring; None on another device than the processor."""
    if world.device.type != "cpu":
        return None
    parts = cut(chosen.threads, config.batching.tokens, config.model.d_model)
    machine = measure_machine(chosen.threads // parts.lanes)
    torch.set_num_threads(chosen.threads)
    scored = min(len(prepared.dev), DEV_LOSS_PAIRS)
    return predict(config, _precision(chosen), prepared, machine, parts, scored)


def _announce(run: Path, plan: Plan, reporter: Reporter) -> None:
    """Tell of the plan, and keep it with the preflight report (which an earlier version did not write)."""
    path = run / "data" / "preflight.json"
    if path.is_file():
        write_json(path, load_report(run) | {"plan": to_values(plan)})
    reporter.planned(plan)


def _trainer(config: RunConfig, chosen: Chosen, world: World, prepared: Prepared) -> Trainer:
    torch.manual_seed(config.training.seed)
    tokenizers = prepared.tokenizers
    model = build(config.model, tokenizers.source.size, tokenizers.target.size, IDS.pad).to(world.device)
    t = config.training
    rate = learning_rate(
        t.schedule, d_model=config.model.d_model, peak=t.learning_rate, warmup=t.warmup, steps=t.max_steps
    )
    optimizer, precision = build_optimizer(t.optimizer, model), _precision(chosen)
    return Trainer(model, optimizer, prepared.epochs, rate, config.batching, t, precision, world, chosen.threads)


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


def _may_go_on(trainer: Trainer, progress: Progress) -> bool:
    t = trainer.training
    return progress.step < t.max_steps and not (t.patience > 0 and progress.stale >= t.patience)


def _has_model(run: Path, step: int) -> bool:
    """Whether `model/` is there and the one of `step`: not of an earlier end, after which the run was prolonged."""
    try:
        return load_config(run / "model").provenance.get("step") == step
    except BundleError:
        return False


def _on_schedule(progress: Progress, every: int) -> Progress:
    """Without the validation at an end between two others: a longer run would not have made it."""
    return replace(progress, history=tuple(result for result in progress.history if result.step % every == 0))


def _prune(run: Path, progress: Progress, config: RunConfig) -> None:
    """Keep what an average or a restart may need: the last n, the best n, and the newest two (one may get damaged).

    That is, now, and should this be the end and the run be prolonged."""
    n, newest = config.training.average, saved_steps(run)[-2:]
    kept = set(newest)
    for seen in (progress, _on_schedule(progress, config.training.checkpoint_every)):
        kept |= {*last_steps(seen, n), *best_steps(seen, n)}
    prune(run, sorted(kept), newest)


def _bundle_config(config: RunConfig, prepared: Prepared, chosen: Chosen, facts: dict[str, Any]) -> BundleConfig:
    return BundleConfig(
        model=config.model,
        source_size=prepared.tokenizers.source.size,
        target_size=prepared.tokenizers.target.size,
        max_length=config.data.max_length,
        beam=config.decoding.beam,
        alpha=config.decoding.alpha,
        extra_length=config.decoding.extra_length,
        source_lang=config.data.source_lang,
        target_lang=config.data.target_lang,
        pretokenised=config.data.pretokenised,
        normalise=config.data.normalise,
        tags=config.data.known_tags,
        metric=config.evaluation.metric,
        tokenize=config.evaluation.tokenize,
        provenance={"recipe": config.name, "seed": config.training.seed, "command": chosen.command, **facts},
    )


def _curves(run: Path) -> Curves | None:
    """TensorBoard's writer where the extra is installed; importing it takes as long as an update of a small model."""
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(run / "tensorboard"))
