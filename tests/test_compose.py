"""A recipe becomes a run, and a run a model: the same model however often it was stopped on the way."""

import json
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import run_time_checks
from tests.disk import contents, full_disk
from tests.heard import Heard
from tests.tiny import After, Killed, tiny_config, write_corpus, write_lines
from transduce import compose, decide, load_recipe
from transduce.bundle import load_config
from transduce.checkpoint import load_optimizer, load_progress, load_weights, saved_steps
from transduce.compose import Outcome, average_run, prepare_data, train
from transduce.data.batching import token_batches
from transduce.data.corpus import Mixed
from transduce.data.prepare import load_prepared, with_drawn_pieces
from transduce.decoding.translator import Translator
from transduce.errors import BundleError, CheckpointError, ConfigError, DataError, SaveError, TransduceError
from transduce.evaluation.metrics import evaluate, group_references
from transduce.machine import peak_resident
from transduce.plan import to_values
from transduce.reporter import Reporter
from transduce.rundata import load_plan, sources
from transduce.rundir import load_asked
from transduce.text.tokenizer import TokenizerPair
from transduce.validation import DevSet, spread

pytestmark = pytest.mark.learn


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "_curves", lambda run, step: None)  # TensorBoard takes longer than these runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the corpus is. Not to be changed."""
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    """A corpus that may be changed."""
    return write_corpus(tmp_path / "corpus")


def chosen(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((run / "resolved.toml").read_text())["chosen"]
    return found


def events(run: Path, kind: str) -> list[dict[str, Any]]:
    found = map(json.loads, (run / "events.jsonl").read_text().splitlines())
    return [event for event in found if event["event"] == kind]


# ---- a run


def test_a_run_has_the_files_that_the_design_promises(folder: Path, tmp_path: Path) -> None:
    heard = Heard()
    with run_time_checks(on=True):
        outcome = train(tiny_config(folder), tmp_path / "run", reporter=heard, command="transduce train it")
    assert (outcome.step, outcome.finished) == (12, True)
    assert outcome.dev is not None
    assert heard.steps == list(range(1, 13))
    run = tmp_path / "run"
    assert sorted(f.name for f in run.iterdir()) == [
        "checkpoints", "data", "events.jsonl", "model", "recipe.toml", "resolved.toml",
    ]  # fmt: skip
    assert sorted(f.name for f in (run / "model").iterdir()) == [
        "README.md", "config.json", "model.safetensors", "source.model", "target.model",
    ]  # fmt: skip
    assert load_recipe(run / "recipe.toml") == tiny_config(folder)
    assert load_config(run / "model").usual_extra == load_prepared(run / "data").corpus.usual_extra
    assert [e["step"] for e in events(run, "dev")] == [4, 8, 12]
    assert events(run, "sample")[0].keys() == {"event", "step", "source", "reference", "output"}
    (model,) = events(run, "model")
    assert model["score"] == outcome.dev.score
    card = (run / "model" / "README.md").read_text()
    assert "`transduce train it`" in card
    assert f"| {outcome.dev.score:.2f} |" in card


def test_a_finished_run_says_so_and_stays_as_it_is(folder: Path, tmp_path: Path) -> None:
    first = train(tiny_config(folder), tmp_path / "run")
    before, heard = contents(tmp_path / "run"), Heard()
    assert train(tiny_config(folder), tmp_path / "run", reporter=heard) == first
    assert heard.steps == []
    assert heard.lines == [
        f"{tmp_path / 'run'}: finished at step 12. The model is in {tmp_path / 'run' / 'model'}.",
        "training.max_steps = 12 ended it; raise it to go on",
    ]
    assert contents(tmp_path / "run") == before


def test_the_card_of_a_run_that_went_on_names_the_command_that_leads_there(folder: Path, tmp_path: Path) -> None:
    for steps, command in (12, "first"), (14, "further"), (14, "once more"):
        train(tiny_config(folder, f"training.max_steps={steps}"), tmp_path / "run", command=f"transduce {command}")
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "`transduce further`\n\nUp to 14 steps" in card


def test_the_model_is_the_best_of_the_candidates(folder: Path, tmp_path: Path) -> None:
    heard = Heard()
    train(tiny_config(folder), tmp_path / "run", reporter=heard)
    tried = [line.strip() for line in heard.lines[heard.lines.index("choosing the model on the dev set") + 1 :]]
    (model,) = events(tmp_path / "run", "model")
    averages_only = any(line.startswith("the average is kept") for line in tried)
    candidates = [line for line in tried if ": chrf " in line and (line.startswith("average") or not averages_only)]
    best = max(candidates, key=lambda line: float(line.split()[-1]))
    assert best == f"{model['choice']}: chrf {model['score']:.2f}"
    stored = load_file(tmp_path / "run" / "model" / "model.safetensors")
    steps = [int(step) for step in model["choice"].split("(")[1].strip(")").split(", ")]
    summed = [load_weights(tmp_path / "run", step) for step in steps]
    for name, value in stored.items():
        mean = torch.stack([weights[name].double() for weights in summed]).mean(0)
        assert torch.allclose(value.double(), mean, atol=1e-7)


def test_of_a_long_sample_the_beginning_is_shown(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "SHOWN", 6)
    heard = Heard()
    train(tiny_config(folder), tmp_path / "run", reporter=heard)
    logged = events(tmp_path / "run", "sample")[0]["source"]
    assert len(logged) > 6
    source, output, reference = next(line for line in heard.lines if "\n  -> " in line).split("\n")
    assert source == f"  {logged[:5]}\N{HORIZONTAL ELLIPSIS}"
    assert len(output) <= len("  -> ") + 6 == len(reference)


def test_the_bundle_has_the_length_penalty_that_was_chosen(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever it is, outputs of the bundle have the score that chose it."""
    monkeypatch.setattr(DevSet, "surely_better", lambda self, outputs, than: True)
    outcome = train(tiny_config(folder, "evaluation.alphas=[0,4]", "decoding.alpha=1"), tmp_path / "run")
    (model,) = events(tmp_path / "run", "model")
    config = load_config(tmp_path / "run" / "model")
    assert config.alpha in (0, 1, 4)
    assert model["choice"].endswith("" if config.alpha == 1 else f", alpha {config.alpha:g}")
    pairs, n = load_prepared(tmp_path / "run" / "data").dev, tiny_config(folder).evaluation.sentences
    sources, references = group_references([source for source, _ in pairs], [target for _, target in pairs])
    outputs = Translator.load(tmp_path / "run").translate(spread(sources, n))
    (measured,) = evaluate(outputs, spread(references, n), [config.metric], config.tokenize).values()
    assert outcome.dev is not None
    assert measured.score == outcome.dev.score


def test_an_average_has_the_length_penalty_of_the_model(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(tiny_config(folder, "decoding.alpha=0.6"), run)
    path = run / "model" / "config.json"
    path.write_text(path.read_text().replace('"alpha": 0.6', '"alpha": 1.4'))
    average_run(run, 2, tmp_path / "average")
    assert load_config(tmp_path / "average").alpha == 1.4
    shutil.rmtree(run / "model")
    average_run(run, 2, tmp_path / "average")
    assert load_config(tmp_path / "average").alpha == 0.6


def test_dev_outputs_and_those_of_the_bundle_are_waited_for_alike(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[int | None] = set()
    begin = Translator.__init__

    def spy(self: Translator, *arguments: Any, **options: Any) -> None:
        asked.add(options["usual_extra"])
        begin(self, *arguments, **options)

    monkeypatch.setattr(Translator, "__init__", spy)
    train(tiny_config(folder), tmp_path / "run")
    Translator.load(tmp_path / "run")
    Translator.load([tmp_path / "run", tmp_path / "run"])
    assert asked == {load_prepared(tmp_path / "run" / "data").corpus.usual_extra}


# ---- stopping and going on


def straight(folder: Path, *settings: str) -> Path:
    """A run that was never stopped; made once for the same settings."""
    run = folder / "straight" / "-".join(["run", *settings])
    if not run.exists():
        train(tiny_config(folder, *settings), run)
    return run


CASES = {
    "every step": (1,),
    "accumulate": (2, "batching.accumulate=3", "batching.max_tokens=64"),
    "epochs": (3, "batching.max_tokens=1024"),
    "patience": (1, "training.patience=1", "training.checkpoint_every=2"),
    "average": (3, "training.average=1", "training.checkpoint_every=5"),
    "bf16": (3, "training.precision=bf16", "model.norm=post", "training.clip=0.5"),
}


@pytest.mark.parametrize(("every", "settings"), [(n, settings) for n, *settings in CASES.values()], ids=CASES.keys())
def test_stopped_again_and_again_it_ends_in_the_same_model(
    folder: Path, tmp_path: Path, every: int, settings: list[str]
) -> None:
    expected = straight(folder, *settings)
    stops = 0
    while not train(tiny_config(folder, *settings), tmp_path / "run", stop=After(every)).finished:
        stops += 1
    assert stops >= 3
    assert contents(tmp_path / "run" / "model") == contents(expected / "model")
    assert events(tmp_path / "run", "dev") == events(expected, "dev")


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 11])
def test_killed_after_any_step_it_ends_in_the_same_model(folder: Path, tmp_path: Path, steps: int) -> None:
    expected = straight(folder)
    with pytest.raises(Killed):
        train(tiny_config(folder), tmp_path / "run", stop=After(steps, kill=True))
    assert saved_steps(tmp_path / "run") == [step for step in (4, 8, 12) if step <= steps][-3:]
    assert train(tiny_config(folder), tmp_path / "run").finished
    assert contents(tmp_path / "run" / "model") == contents(expected / "model")
    assert events(tmp_path / "run", "dev") == events(expected, "dev")


def test_pieces_drawn_anew_in_every_epoch_are_the_same_after_a_stop(folder: Path, tmp_path: Path) -> None:
    kinds = ("tokenizer.source=bpe", "tokenizer.target=bpe", "tokenizer.size=330", "data.max_length=40")
    config = tiny_config(folder, *kinds, "tokenizer.dropout=0.3", "batching.max_tokens=1500")
    train(config, tmp_path / "straight")
    train(config, tmp_path / "run", stop=After(5))
    train(config, tmp_path / "run", stop=After(3))
    assert load_progress(tmp_path / "run", 8).epoch > 0
    train(config, tmp_path / "run")
    assert contents(tmp_path / "run" / "model") == contents(tmp_path / "straight" / "model")
    prepared, plan = load_prepared(tmp_path / "run" / "data"), load_plan(tmp_path / "run")
    drawn = with_drawn_pieces(prepared, config.tokenizer, max_length=40, seed=config.training.seed).epochs.of_epoch(0)
    pieces = int(drawn.target_lengths.sum()) + len(drawn)
    assert plan is not None
    assert plan["target_pieces_an_update"] * 12 / plan["passes"] == pytest.approx(pieces)
    assert pieces > 1.1 * (prepared.corpus.target_lengths.sum() + len(drawn))


def test_the_threads_are_those_that_it_began_with(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They cut updates into lanes, whose sums are rounded apart."""
    config = tiny_config(folder, "batching.max_tokens=2048")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    train(config, tmp_path / "straight")
    train(config, tmp_path / "run", stop=After(5))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    train(config, tmp_path / "run")
    assert [session["threads"] for session in events(tmp_path / "run", "session")] == [2, 2]
    ours, theirs = (run / "model" / "model.safetensors" for run in (tmp_path / "run", tmp_path / "straight"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_the_first_weights_follow_from_the_seed(folder: Path, tmp_path: Path) -> None:
    found = []
    for i, seed in enumerate((1, 1, 2)):
        config = tiny_config(folder, f"training.seed={seed}", "training.learning_rate=1e-9")
        train(config, tmp_path / str(i), stop=After(1))
        found.append(load_weights(tmp_path / str(i), 1))
    one, same, other = found
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert max(float((one[name] - other[name]).abs().max()) for name in one) > 0.01


def test_a_stop_saves_where_it_is(folder: Path, tmp_path: Path) -> None:
    outcome = train(tiny_config(folder), tmp_path / "run", stop=After(6))
    assert outcome == Outcome(step=6, finished=False, dev=None)
    assert saved_steps(tmp_path / "run") == [4, 6]
    assert load_progress(tmp_path / "run", 6).interim
    heard = Heard()
    train(tiny_config(folder), tmp_path / "run", reporter=heard)
    assert heard.steps[0] == 7
    assert 6 not in saved_steps(tmp_path / "run")


@pytest.mark.parametrize(
    ("module", "moment"),
    [
        *((compose, moment) for moment in ("choose_model", "save_bundle", "save_checkpoint", "prune", "record")),
        (decide, "save_resolved"),
    ],
)
def test_killed_between_the_steps_it_ends_in_the_same_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, moment: str
) -> None:
    expected = straight(folder)

    def die(*arguments: object, **options: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, moment, die)
        with pytest.raises(Killed):
            train(tiny_config(folder), tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()
    assert train(tiny_config(folder), tmp_path / "run").finished
    assert contents(tmp_path / "run" / "model") == contents(expected / "model")


def test_the_checkpoint_before_a_damaged_one_is_as_good(folder: Path, tmp_path: Path) -> None:
    """As the error about it says: delete it, and go on."""
    expected = straight(folder)
    train(tiny_config(folder), tmp_path / "run", stop=After(9))
    damaged = tmp_path / "run" / "checkpoints" / "step-00000009"
    (damaged / "optimizer.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=f"Delete {damaged} to go on without it"):
        train(tiny_config(folder), tmp_path / "run")
    for file in damaged.iterdir():
        file.unlink()
    damaged.rmdir()
    train(tiny_config(folder), tmp_path / "run")
    assert contents(tmp_path / "run" / "model") == contents(expected / "model")


def test_a_damaged_one_before_the_last_is_done_without(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(tiny_config(folder), run)
    shutil.rmtree(run / "model")
    damaged = run / "checkpoints" / "step-00000008"
    (damaged / "weights.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=f"Delete {damaged} to go on without it"):
        train(tiny_config(folder), run)
    shutil.rmtree(damaged)
    assert train(tiny_config(folder), run).finished
    assert "8" not in str(load_config(run / "model").provenance["choice"])


def test_what_nothing_needs_any_more_is_deleted(folder: Path, tmp_path: Path) -> None:
    train(tiny_config(folder, "training.checkpoint_every=1", "training.average=2"), tmp_path / "run")
    steps = saved_steps(tmp_path / "run")
    assert steps[-2:] == [11, 12]
    assert len(steps) <= 4
    for step in steps[-2:]:  # two, in case the newest gets damaged
        load_optimizer(tmp_path / "run", step)
    for step in steps[:-2]:
        with pytest.raises(CheckpointError):
            load_optimizer(tmp_path / "run", step)


# ---- more steps, another recipe, other inputs


def test_more_steps_go_on(folder: Path, tmp_path: Path) -> None:
    train(tiny_config(folder), tmp_path / "run")
    heard = Heard()
    more = tiny_config(folder, "training.max_steps=16")
    assert train(more, tmp_path / "run", reporter=heard).step == 16
    assert heard.steps == [13, 14, 15, 16]
    assert load_config(tmp_path / "run" / "model").provenance["step"] == 16
    for step in (12, 16):
        one, other = load_weights(tmp_path / "run", step), load_weights(straight(folder, "training.max_steps=16"), step)
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("first", [4, 9, 10, 15])
@pytest.mark.parametrize("settings", [(), ("training.average=1", "training.checkpoint_every=3")])
def test_a_prolonged_run_ends_as_if_it_had_been_asked_for_from_the_start(
    folder: Path, tmp_path: Path, first: int, settings: tuple[str, ...]
) -> None:
    expected = straight(folder, "training.max_steps=16", *settings)
    train(tiny_config(folder, f"training.max_steps={first}", *settings), tmp_path / "run")
    assert load_config(tmp_path / "run" / "model").provenance["step"] == first
    more = tiny_config(folder, "training.max_steps=16", *settings)
    train(more, tmp_path / "run", stop=After(1))
    train(more, tmp_path / "run")
    last = load_progress(tmp_path / "run", 16)
    assert last == load_progress(expected, 16)
    ours, theirs = (load_file(run / "model" / "model.safetensors") for run in (tmp_path / "run", expected))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert load_config(tmp_path / "run" / "model") == load_config(expected / "model")


def test_more_minutes_go_on_with_the_same_weights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minutes = ("training.max_steps=1000", "training.minutes=0.02")

    def fit(config: Any, chosen: Any, *rest: object) -> Any:
        return replace(chosen, max_steps=6, checkpoint_every=4, seconds_per_step=0.2)

    with monkeypatch.context() as patch:
        patch.setattr(decide, "_fit_minutes", fit)
        assert train(tiny_config(folder, *minutes), tmp_path / "run").step == 6
    again = train(tiny_config(folder, "training.max_steps=1000", "training.minutes=0.0401"), tmp_path / "run")
    assert again == Outcome(step=12, finished=True, dev=again.dev)
    assert [r.step for r in load_progress(tmp_path / "run", 12).history] == [4, 8, 12]
    ours, theirs = (load_file(run / "model" / "model.safetensors") for run in (tmp_path / "run", straight(folder)))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_that_patience_ended_ends_as_a_more_patient_one_would(folder: Path, tmp_path: Path) -> None:
    settings = ("training.checkpoint_every=1", "training.max_steps=40", "evaluation.metric=bleu", "training.average=1")
    patient = straight(folder, *settings, "training.patience=3")
    first = train(tiny_config(folder, *settings, "training.patience=1"), tmp_path / "run")
    more = train(tiny_config(folder, *settings, "training.patience=3"), tmp_path / "run")
    assert first.step < more.step == saved_steps(patient)[-1]
    assert load_progress(tmp_path / "run", more.step) == load_progress(patient, more.step)
    longer = tiny_config(folder, *settings, "training.patience=3", "training.max_steps=50")
    heard = Heard()
    assert train(longer, tmp_path / "run", reporter=heard).step == more.step  # more steps would not have helped it
    assert heard.steps == []
    ours, theirs = (load_file(run / "model" / "model.safetensors") for run in (tmp_path / "run", patient))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_more_patience_goes_on(folder: Path, tmp_path: Path) -> None:
    impatient = (
        "training.patience=1",
        "training.checkpoint_every=1",
        "training.max_steps=60",
        "evaluation.metric=bleu",
    )
    first = train(tiny_config(folder, *impatient), tmp_path / "run")
    assert first.finished
    assert first.step < 60
    heard = Heard()
    again = train(tiny_config(folder, *impatient, "training.max_steps=70"), tmp_path / "run", reporter=heard)
    assert again.step == first.step
    assert heard.lines[-1] == "training.patience = 1 ended it before step 70; raise it to go on (0: no limit)"
    more = train(tiny_config(folder, *impatient, "training.max_steps=70", "training.patience=2"), tmp_path / "run")
    assert more.step > first.step


def test_a_prolonged_run_that_was_killed_before_its_new_model_makes_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny_config(folder), tmp_path / "run")
    more = tiny_config(folder, "training.max_steps=16")

    def die(*arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(compose, "choose_model", die)
        with pytest.raises(Killed):
            train(more, tmp_path / "run")
    assert load_config(tmp_path / "run" / "model").provenance["step"] == 12
    train(more, tmp_path / "run")
    assert load_config(tmp_path / "run" / "model").provenance["step"] == 16


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.max_steps=11", "training.max_steps was 12; it may be raised on continuing, but not lowered to 11"),
        ("training.seed=2", "this run was begun with training.seed = 1, now it is 2"),
        ("model.p_drop=0.2", "this run was begun with model.p_drop = 0.3, now it is 0.2"),
    ],
)
def test_another_recipe_is_refused(folder: Path, tmp_path: Path, setting: str, message: str) -> None:
    train(tiny_config(folder), tmp_path / "run", stop=After(1))
    before = contents(tmp_path / "run")
    with pytest.raises(ConfigError, match=message):
        train(tiny_config(folder, setting), tmp_path / "run")
    assert contents(tmp_path / "run") == before


def test_starting_over(folder: Path, tmp_path: Path) -> None:
    train(tiny_config(folder, "training.seed=2"), tmp_path / "run")
    train(tiny_config(folder), tmp_path / "run", fresh=True)
    assert contents(tmp_path / "run" / "model") == contents(straight(folder) / "model")
    assert saved_steps(tmp_path / "run") == saved_steps(straight(folder))


def test_a_changed_input_is_refused(own_folder: Path, tmp_path: Path) -> None:
    train(tiny_config(own_folder), tmp_path / "run", stop=After(1))
    lines = (own_folder / "train.aa").read_text().splitlines()
    write_lines(own_folder / "train.aa", ["cat", *lines[1:]])
    with pytest.raises(DataError, match="train.aa: changed since this run was started"):
        train(tiny_config(own_folder), tmp_path / "run")
    write_lines(own_folder / "train.aa", lines)
    assert train(tiny_config(own_folder), tmp_path / "run").finished


# ---- fine-tuning


def test_fine_tuning_starts_from_the_model(folder: Path, tmp_path: Path) -> None:
    train(tiny_config(folder), tmp_path / "first")
    dropout = ("model.p_drop=0.1", "model.attention_dropout=0.2", "model.activation_dropout=0.3")
    other = tiny_config(folder, "model.n_layers=3", *dropout, "tokenizer.size=50", "training.seed=9")
    train(other, tmp_path / "second", start_from=tmp_path / "first", stop=After(1))
    began = load_file(tmp_path / "first" / "model" / "model.safetensors")
    found = load_weights(tmp_path / "second", 1)
    assert found.keys() == began.keys()
    for name, value in found.items():  # a step of Adam moves nothing by more than its rate, 0.01 / 20
        assert (value - began[name]).abs().max() <= 0.0006
    asked = load_recipe(tmp_path / "second" / "recipe.toml")
    assert (asked.model.n_layers, asked.model.p_drop) == (1, 0.1)
    assert (asked.model.attention_dropout, asked.model.activation_dropout) == (0.2, 0.3)
    tokenizers = [TokenizerPair.load(path) for path in (tmp_path / "first" / "model", tmp_path / "second" / "data")]
    assert tokenizers[0].source.to_bytes() == tokenizers[1].source.to_bytes()
    assert chosen(tmp_path / "second")["start_from"] == str(tmp_path / "first" / "model")
    assert train(other, tmp_path / "second", start_from=tmp_path / "first").finished
    assert "Started from the weights of" in (tmp_path / "second" / "model" / "README.md").read_text()


def test_fine_tuning_that_was_killed_before_its_first_checkpoint_starts_from_the_model_again(
    folder: Path, tmp_path: Path
) -> None:
    train(tiny_config(folder, "training.max_steps=4"), tmp_path / "first")
    train(tiny_config(folder), tmp_path / "straight", start_from=tmp_path / "first")
    with pytest.raises(Killed):
        train(tiny_config(folder), tmp_path / "run", start_from=tmp_path / "first", stop=After(2, kill=True))
    train(tiny_config(folder), tmp_path / "run", start_from=tmp_path / "first")
    assert contents(tmp_path / "run" / "model") == contents(tmp_path / "straight" / "model")


def test_fine_tuning_a_joint_vocabulary_whatever_the_recipe_s_kinds(folder: Path, tmp_path: Path) -> None:
    joint = ("tokenizer.joint=true", "training.max_steps=4")
    train(tiny_config(folder, *joint), tmp_path / "first")
    apart = tiny_config(folder, "tokenizer.source=characters", "training.max_steps=4")
    train(apart, tmp_path / "second", start_from=tmp_path / "first")
    assert (tmp_path / "second" / "model" / "tokenizer.model").is_file()


def test_a_fine_tuned_run_goes_on_without_the_model_that_it_began_from(folder: Path, tmp_path: Path) -> None:
    """Under another name for the same place, and when it is gone: its checkpoints have everything."""
    train(tiny_config(folder), tmp_path / "first")
    asked = replace(tiny_config(folder), model=replace(tiny_config(folder).model, n_layers=2))
    train(asked, tmp_path / "run", start_from=tmp_path / "first", stop=After(1))
    there = tmp_path / "run" / ".." / "first"
    assert not train(asked, tmp_path / "run", start_from=there, stop=After(1)).finished
    shutil.rmtree(tmp_path / "first")
    assert not train(asked, tmp_path / "run", start_from=tmp_path / "first", stop=After(1)).finished
    assert train(asked, tmp_path / "run").finished


def test_data_prepared_to_start_from_a_model_is_not_trained_on_without_it(folder: Path, tmp_path: Path) -> None:
    train(tiny_config(folder), tmp_path / "first")
    prepare_data(tiny_config(folder), tmp_path / "run", start_from=tmp_path / "first")
    with pytest.raises(ConfigError, match=r"its data was prepared to start from .*first.model. Give --from"):
        train(tiny_config(folder), tmp_path / "run")
    assert train(tiny_config(folder), tmp_path / "run", start_from=tmp_path / "first").finished


def test_data_prepared_to_start_from_a_model_is_not_trained_on_from_other_weights(folder: Path, tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("other", 2)):
        train(tiny_config(folder, f"training.seed={seed}", "training.max_steps=4"), tmp_path / name)
    prepare_data(tiny_config(folder), tmp_path / "run", start_from=tmp_path / "first")
    weights = tmp_path / "first" / "model" / "model.safetensors"
    shutil.copy(tmp_path / "other" / "model" / "model.safetensors", weights)
    with pytest.raises(ConfigError, match=f"{weights}: others than when the data of .*run was prepared"):
        train(tiny_config(folder), tmp_path / "run", start_from=tmp_path / "first")


def test_a_run_goes_on_from_where_it_began_only(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        train(tiny_config(folder, "training.max_steps=4"), tmp_path / name)
    train(tiny_config(folder), tmp_path / "run", start_from=tmp_path / "one", stop=After(1))
    with pytest.raises(ConfigError, match="run: was begun from .*one.*, not .*two.*. Use another --out."):
        train(tiny_config(folder), tmp_path / "run", start_from=tmp_path / "two")


@pytest.mark.parametrize("fresh", [False, True])
def test_a_model_is_not_deleted_to_start_from_it(folder: Path, tmp_path: Path, fresh: bool) -> None:
    train(tiny_config(folder, "training.max_steps=4"), tmp_path / "mine")
    before = contents(tmp_path)
    other = tiny_config(folder, "training.seed=9")
    with pytest.raises(ConfigError, match="mine: " + ("the model to start from is in it" if fresh else "this run was")):
        train(other, tmp_path / "mine", start_from=tmp_path / "mine", fresh=fresh)
    assert contents(tmp_path) == before


def test_a_model_without_its_run_is_not_deleted(folder: Path, tmp_path: Path) -> None:
    train(tiny_config(folder, "training.max_steps=4"), tmp_path / "first")
    (tmp_path / "copy").mkdir()
    (tmp_path / "first" / "model").rename(tmp_path / "copy" / "model")
    before = contents(tmp_path / "copy")
    for start_from in (None, tmp_path / "copy"):
        with pytest.raises(CheckpointError, match="copy: has a model, but no recipe.toml. .*choose another --out"):
            prepare_data(tiny_config(folder), tmp_path / "copy", start_from=start_from)
    assert contents(tmp_path / "copy") == before
    assert prepare_data(tiny_config(folder), tmp_path / "copy", fresh=True)


def test_data_of_another_vocabulary_is_not_trained_on_from_a_model(folder: Path, tmp_path: Path) -> None:
    train(tiny_config(folder, "training.max_steps=4"), tmp_path / "first")
    write_lines(tmp_path / "more.tsv", [f"zebra {i}\tARBEZ {i}" for i in range(90)])
    other = tiny_config(folder, f"data.train={{ pairs = '{tmp_path / 'more.tsv'}' }}")
    prepare_data(other, tmp_path / "run")
    with pytest.raises(ConfigError, match="run: its data was prepared with another vocabulary than that of .*first"):
        train(other, tmp_path / "run", start_from=tmp_path / "first")
    assert saved_steps(tmp_path / "run") == []


def test_fine_tuning_with_a_recipe_keeps_what_the_model_keeps(folder: Path, tmp_path: Path) -> None:
    kinds = ("tokenizer.source=unigram", "tokenizer.target=unigram", "tokenizer.size=320")
    train(tiny_config(folder, *kinds, "training.max_steps=4", "data.placeholders=0.3"), tmp_path / "first")
    train(tiny_config(folder, "training.max_steps=4"), tmp_path / "second", start_from=tmp_path / "first")
    asked = load_asked(tmp_path / "second")
    assert (asked.tokenizer.source, asked.tokenizer.target, asked.data.placeholders) == ("unigram", "unigram", 0.1)
    assert load_config(tmp_path / "second" / "model").placeholders


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "source.model"])
def test_fine_tuning_a_broken_model_leaves_nothing(folder: Path, tmp_path: Path, name: str) -> None:
    train(tiny_config(folder, "training.max_steps=4"), tmp_path / "first")
    path = tmp_path / "first" / "model" / name
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(BundleError, match=name):
        train(tiny_config(folder), tmp_path / "run", start_from=tmp_path / "first")
    assert not (tmp_path / "run").exists()


def test_old_data_is_mixed_in(folder: Path, tmp_path: Path) -> None:
    train(tiny_config(folder, "training.max_steps=4"), tmp_path / "first")
    write_lines(tmp_path / "new.tsv", [f"the dog {i}\tGOD {i}" for i in range(90)])
    mixed = tiny_config(
        folder,
        f"data.train={{ pairs = '{tmp_path / 'new.tsv'}' }}",
        "data.mix={ source = 'train.aa', target = 'train.bb' }",
        "data.mix_share=0.1",
    )
    heard = Heard()
    train(mixed, tmp_path / "run", start_from=tmp_path / "first", stop=After(3), reporter=heard)
    said = f"fine-tuning {tmp_path / 'first' / 'model'}: learning rate at most 0.01, warm-up 20 steps"
    assert said in heard.lines
    prepared = load_prepared(tmp_path / "run" / "data")
    assert len(prepared.corpus) == 100
    assert [Path(entry["path"]).name for entry in prepared.manifest["inputs"]] == [
        "new.tsv", "train.aa", "train.bb", "dev.aa", "dev.bb",
    ]  # fmt: skip
    train(mixed, tmp_path / "run", start_from=tmp_path / "first")
    train(mixed, tmp_path / "straight", start_from=tmp_path / "first")
    assert contents(tmp_path / "run" / "model") == contents(tmp_path / "straight" / "model")
    with pytest.raises(ConfigError, match="begun with data.mix_share = 0.1, now it is 0.2"):
        train(replace(mixed, data=replace(mixed.data, mix_share=0.2)), tmp_path / "run", start_from=tmp_path / "first")


def test_the_seed_picks_what_is_held_out_and_what_is_mixed_in(folder: Path) -> None:
    found = sources(tiny_config(folder, "data.mix={ source = 'train.aa', target = 'train.bb' }", "training.seed=7"))
    assert isinstance(found.train, Mixed)
    assert (found.seed, found.train.seed) == (7, 7)


def test_fine_tuning_keeps_tags_and_normal_form_and_adds_tags(folder: Path, tmp_path: Path) -> None:
    both = "data.train=[{ source = 'train.aa', target = 'train.bb', tag = 'xx' }]"
    train(tiny_config(folder, both, "data.normalise=nfc", "training.max_steps=4"), tmp_path / "first")
    config = load_config(tmp_path / "first" / "model")
    assert (list(config.tags), config.normalise) == (["xx"], "nfc")
    other = tiny_config(folder, both.replace("xx", "yy"))
    train(other, tmp_path / "second", start_from=tmp_path / "first")
    config = load_config(tmp_path / "second" / "model")
    assert (list(config.tags), config.normalise) == (["xx", "yy"], "nfc")
    assert load_prepared(tmp_path / "second" / "data").tokenizers.tags == ("xx", "yy")
    with pytest.raises(DataError, match=">>zz<<, but the tags of this model are >>xx<<, >>yy<<"):
        Translator.load(tmp_path / "second").translate([">>zz<< the dog"])


# ---- translation memories


def test_a_run_remembers_the_languages_of_its_translation_memory(folder: Path, tmp_path: Path) -> None:
    variants = '<tu><tuv xml:lang="{}"><seg>the dog {}</seg></tuv><tuv xml:lang="bb"><seg>GOD {}</seg></tuv></tu>'
    units = "".join(variants.format("aa", i, i) for i in range(40))
    (tmp_path / "a.tmx").write_text(f"<tmx><header srclang='bb'/>{units}</tmx>", encoding="utf-8")
    config = tiny_config(
        folder, f"data.train={{ pairs = '{tmp_path / 'a.tmx'}' }}", "data.source_lang=''", "data.target_lang=''"
    )
    heard = Heard()
    train(config, tmp_path / "run", reporter=heard, stop=After(1))
    assert "languages: from bb to aa, as the translation memory has them (--langs says otherwise)" in heard.lines
    (tmp_path / "a.tmx").unlink()  # what is gone is no matter
    assert train(config, tmp_path / "run").finished
    bundle = load_config(tmp_path / "run" / "model")
    assert (bundle.source_lang, bundle.target_lang) == ("bb", "aa")


# ---- what cannot be


def lines_of(name: str, content: bytes | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)

    return change


@pytest.mark.parametrize("begun", [False, True], ids=["new", "starting over"])
@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lines_of("train.aa", None), (), "train.aa: cannot open it"),
        (lines_of("dev.bb", None), (), "dev.bb: cannot open it"),
        (lines_of("train.aa", b"cat\n"), (), "train.aa has 1 lines, .*train.bb has 300"),
        (lines_of("train.bb", b"cat\n\xff\n"), (), "train.bb:2: not UTF-8"),
        (lines_of("dev.aa", b""), (), "dev.aa: the file is empty"),
        (lambda folder: None, ("training.device=cuda",), "device = 'cuda', but this machine has none"),
        (lambda folder: None, ("tokenizer.size=21",), "tokenizer.size = 21: "),
    ],
    ids=["missing", "missing dev", "unequal", "not UTF-8", "empty", "device", "impossible"],
)
def test_bad_input_leaves_everything_as_it_was(
    own_folder: Path,
    tmp_path: Path,
    change: Callable[[Path], None],
    settings: tuple[str, ...],
    message: str,
    begun: bool,
) -> None:
    config = tiny_config(own_folder, *settings)
    if begun:
        train(tiny_config(own_folder), tmp_path / "run", stop=After(1))
    change(own_folder)
    before = contents(tmp_path)
    with pytest.raises(TransduceError, match=message) as caught:
        train(config, tmp_path / "run", fresh=begun)
    assert caught.value.exit_status == 2
    assert contents(tmp_path) == before
    assert (tmp_path / "run").exists() == begun


def test_a_folder_of_the_user_s_is_not_touched(folder: Path, tmp_path: Path) -> None:
    """`--out .` where the corpus is in `data/`."""
    config = tiny_config(tmp_path / "project" / "data")
    before = contents(tmp_path)
    with pytest.raises(CheckpointError, match="data: not made by transduce, and in the way. Choose another --out."):
        train(config, tmp_path / "project", fresh=True)
    assert contents(tmp_path) == before


def test_there_is_no_average_of_a_run_that_has_not_begun(folder: Path, tmp_path: Path) -> None:
    prepare_data(tiny_config(folder), tmp_path / "run")
    with pytest.raises(CheckpointError, match="run: no checkpoint yet. Train first."):
        average_run(tmp_path / "run", 1, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_data_that_was_lost_is_an_error_that_helps(folder: Path, tmp_path: Path) -> None:
    train(tiny_config(folder), tmp_path / "run", stop=After(1))
    (tmp_path / "run" / "data" / "manifest.json").unlink()
    with pytest.raises(DataError, match="data: not complete .* Start over with --fresh."):
        train(tiny_config(folder), tmp_path / "run")
    assert train(tiny_config(folder), tmp_path / "run", fresh=True).finished


def test_a_full_disk_leaves_the_last_checkpoint_and_the_run_goes_on(folder: Path, tmp_path: Path) -> None:
    expected = straight(folder)

    def fill_after(steps: int) -> Any:
        counted = After(steps)
        disk = full_disk(60_000)  # weights fit, moments do not

        def stop() -> bool:
            if counted():
                disk.__enter__()
            return False

        return stop, disk

    stop, disk = fill_after(5)
    with pytest.raises(SaveError, match="step-00000008: cannot be written .*Free space, then go on."):
        train(tiny_config(folder), tmp_path / "run", stop=stop)
    disk.__exit__(None, None, None)
    assert saved_steps(tmp_path / "run") == [4]
    train(tiny_config(folder), tmp_path / "run")
    assert contents(tmp_path / "run" / "model") == contents(expected / "model")


# ---- minutes


class Clock:
    """Every look at it takes `seconds`: so does every step, and every validation."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds

    def perf_counter(self) -> float:
        self.now += self.seconds
        return self.now

    def process_time(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("minutes", "max_steps", "steps"),
    [
        (0.0625, 10_000, 19),  # 30 times 1/8 s: less 6 for choosing the model, and a validation after every fourth step
        (0.025, 10_000, 6),  # 12 times: less 4, for after two validations there are two candidates
        (0.001, 10_000, 1),  # not even the first
        (0.0625, 7, 7),  # steps are the tighter limit
        (10.0, 9, 9),
    ],
)
def test_minutes_become_steps_before_the_first(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: float, max_steps: int, steps: int
) -> None:
    monkeypatch.setattr(decide, "time", Clock(0.125))
    settings = (f"training.minutes={minutes}", f"training.max_steps={max_steps}")
    heard = Heard()
    assert train(tiny_config(folder, *settings), tmp_path / "run", reporter=heard).step == steps
    assert chosen(tmp_path / "run")["max_steps"] == steps
    assert chosen(tmp_path / "run")["checkpoint_every"] <= steps
    assert chosen(tmp_path / "run")["warmup"] == max(1, steps // 5)  # 20 are asked for
    assert [line for line in heard.lines if line.startswith("0.12 s a step, 0.1 s a validation")]


def test_few_minutes_do_not_raise_the_peak_of_the_papers_schedule(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its peak is (d_model * warmup)^-0.5 (equation 3): a shorter warm-up would have a higher one."""
    monkeypatch.setattr(decide, "time", Clock(0.125))
    train(tiny_config(folder, "training.schedule=noam", "training.minutes=0.0625"), tmp_path / "run")
    assert chosen(tmp_path / "run")["max_steps"] < chosen(tmp_path / "run")["warmup"] == 20


def test_the_clock_is_read_once_for_all(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ("training.minutes=0.0625", "training.max_steps=10000")
    monkeypatch.setattr(decide, "time", Clock(0.125))
    train(tiny_config(folder, *settings), tmp_path / "straight")
    train(tiny_config(folder, *settings), tmp_path / "run", stop=After(5))
    monkeypatch.setattr(decide, "time", Clock(7.0))  # a much slower machine all at once
    train(tiny_config(folder, *settings), tmp_path / "run")
    assert contents(tmp_path / "run" / "model") == contents(tmp_path / "straight" / "model")


@pytest.mark.parametrize(
    ("more", "steps"),
    [
        ("training.minutes=0.125", 38),
        ("training.minutes=0", 40),
        ("training.minutes=1000", 40),
    ],
)
def test_more_minutes_are_more_steps(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, steps: int
) -> None:
    monkeypatch.setattr(decide, "time", Clock(0.125))
    settings = ("training.minutes=0.0625", "training.max_steps=40")
    assert train(tiny_config(folder, *settings), tmp_path / "run").step == 19
    assert train(tiny_config(folder, *settings, more), tmp_path / "run").step == steps


def test_more_steps_in_minutes_that_were_not_used_up(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decide, "time", Clock(0.125))
    assert train(tiny_config(folder, "training.minutes=1.0"), tmp_path / "run").step == 12
    more = tiny_config(folder, "training.minutes=1.0", "training.max_steps=20")
    assert train(more, tmp_path / "run").step == 20


def test_a_run_goes_on_only_on_a_device_that_there_is(folder: Path, tmp_path: Path) -> None:
    train(tiny_config(folder), tmp_path / "run", stop=After(5))
    resolved = tmp_path / "run" / "resolved.toml"
    assert chosen(tmp_path / "run")["device"] == "cpu"
    resolved.write_text(resolved.read_text().replace('device = "cpu"', 'device = "tpu"'))
    with pytest.raises(ConfigError, match="device = 'tpu': choose one of auto, cpu, cuda, mps"):
        train(tiny_config(folder), tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(ConfigError, match="device = 'tpu'"):
        train(tiny_config(folder, "training.max_steps=99"), tmp_path / "run")
    assert contents(tmp_path / "run") == before  # no limit was raised


def test_other_versions_are_said_and_those_of_the_beginning_are_kept(folder: Path, tmp_path: Path) -> None:
    train(tiny_config(folder), tmp_path / "run", stop=After(5))
    resolved, heard = tmp_path / "run" / "resolved.toml", Heard()
    resolved.write_text(resolved.read_text().replace(f'torch = "{torch.__version__}"', 'torch = "0.1"'))
    train(tiny_config(folder), tmp_path / "run", reporter=heard)
    assert any("begun with torch 0.1, now it is" in line for line in heard.lines)
    assert tomllib.loads(resolved.read_text())["facts"]["versions"]["torch"] == "0.1"


def test_a_session_that_died_tells_of_what_it_saved(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):  # an error: a kill writes nothing more
        train(tiny_config(folder, "training.checkpoint_every=4"), tmp_path / "run", stop=After(6, kill=True))
    (session,) = events(tmp_path / "run", "session")
    assert session["step"] == saved_steps(tmp_path / "run")[-1] == 4


# ---- the plan


def test_the_plan_of_a_run_is_predicted(folder: Path, tmp_path: Path) -> None:
    heard = Heard()
    train(tiny_config(folder), tmp_path / "run", reporter=heard)
    assert heard.tokenised_pairs == [300]
    (plan,) = heard.plans
    assert plan.updates == 12
    assert plan.timing is not None
    assert not plan.timing.measured
    assert plan.pairs == 300
    (session,) = events(tmp_path / "run", "session")
    assert session["peak_memory_bytes"] == pytest.approx(peak_resident(), rel=0.5)
    assert plan.memory >= 0.5 * session["peak_memory_bytes"]


def test_the_plan_of_a_run_by_the_clock_is_measured_and_kept(folder: Path, tmp_path: Path) -> None:
    heard, settings = Heard(), ("training.max_steps=80", "training.minutes=100", "training.precision=fp32")
    train(tiny_config(folder, *settings), tmp_path / "run", reporter=heard, stop=After(1))
    (plan,) = heard.plans
    assert plan.timing is not None
    assert plan.timing.measured
    assert plan.passes == pytest.approx(80 / plan_updates(tmp_path / "run"))
    assert load_plan(tmp_path / "run") == json.loads(json.dumps(to_values(plan)))
    assert prepare_data(tiny_config(folder, *settings), tmp_path / "run", reporter=heard) is False
    assert len(heard.plans) == 1


def plan_updates(run: Path) -> int:
    """Updates in the first epoch of `run`, as its trainer counts them."""
    config, prepared = load_asked(run), load_prepared(run / "data")
    batches = token_batches(
        prepared.corpus.source_lengths + 1,
        prepared.corpus.target_lengths + 1,
        max_tokens=config.batching.max_tokens,
        seed=config.training.seed,
        epoch=0,
    )
    return -(-len(batches) // config.batching.accumulate)


def test_a_plan_made_ahead_is_predicted(folder: Path, tmp_path: Path) -> None:
    heard = Heard()
    prepare_data(tiny_config(folder, "training.minutes=1"), tmp_path / "run", reporter=heard)
    (plan,) = heard.plans
    assert plan.timing is not None
    assert not plan.timing.measured
    assert plan.updates == 12  # fewer than fit into a minute


def test_no_plan_for_a_device_that_is_elsewhere(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    heard = Heard()
    assert prepare_data(tiny_config(folder, "training.device=cuda"), tmp_path / "run", reporter=heard)
    assert heard.plans == []
    assert heard.lines[-1].startswith("no plan: device = 'cuda', but this machine has none")
    assert load_plan(tmp_path / "run") is None


# ---- quiet


def test_nobody_needs_to_listen(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    train(tiny_config(folder), tmp_path / "run", reporter=Reporter())
    assert capsys.readouterr() == ("", "")


def test_the_library_s_front_door() -> None:
    import transduce

    assert transduce.train is train
    assert transduce.load_recipe is load_recipe
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        _ = transduce.colour
