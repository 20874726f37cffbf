"""`transduce train`: two files or a recipe in, a run out; bad input is one line and leaves nothing behind."""

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Transduce
from tests.disk import contents
from tests.tiny import SHORT, mirror, sentences, write_corpus, write_lines, write_recipe
from transduce import compose, presets
from transduce.bundle import load_config
from transduce.cli.train import asked_for, parse_columns, stop_on_interrupt
from transduce.config import load_recipe
from transduce.data.corpus import read_pairs
from transduce.data.prepare import load_prepared
from transduce.errors import ConfigError
from transduce.rundata import begin
from transduce.rundir import load_asked, load_reasons

pytestmark = pytest.mark.unit

QUICK = [word for setting in SHORT for word in ("--set", setting)]
SMALL = [
    word
    for setting in (
        "model.n_layers=1",
        "model.d_model=32",
        "model.d_ff=64",
        "model.n_heads=2",
        "training.precision=fp32",
    )
    for word in ("--set", setting)
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "_curves", lambda run, step: None)  # TensorBoard takes longer than these runs


# ---- from files


def test_two_files_become_a_run(transduce: Transduce, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    files = ("--source", tmp_path / "train.aa", "--target", tmp_path / "train.bb")
    said = transduce("train", *files, "--out", tmp_path / "runs" / "mine", *SMALL, *QUICK)
    assert said.status == 0
    assert said.out == ""
    assert said.err.splitlines()[-1].startswith(
        f"done: {tmp_path / 'runs' / 'mine' / 'model'}. Try: transduce translate"
    )
    config = load_recipe(tmp_path / "runs" / "mine" / "recipe.toml")
    assert (config.data.source_lang, config.data.target_lang, config.name) == ("aa", "bb", "aa-bb")
    assert config.training.minutes == 0  # steps were said
    assert load_config(tmp_path / "runs" / "mine" / "model").placeholders == (config.data.placeholders > 0)
    assert config.data.dev is None
    assert " dev pairs, held out of the training files" in (tmp_path / "runs/mine/model/README.md").read_text()


def write_text(folder: Path) -> dict[str, Path | None]:
    """Two files of what looks like text."""
    lines = [" ".join(f"w{i * j}x" for j in range(1, 9)) for i in range(300)]
    return {"source": write_lines(folder / "a.en", lines), "target": write_lines(folder / "a.de", lines)}


@pytest.mark.parametrize(
    ("settings", "expected", "placeholders"),
    [
        ([], 0.25, 0.1),
        (["data.augment=0.5"], 0.5, 0.1),
        (["data.augment=0"], 0.0, 0.1),
        (["data.placeholders=0"], 0.25, 0.0),
        (["data.pretokenised=true"], 0.0, 0.0),
        (["tokenizer.source=characters", "tokenizer.target=characters"], 0.0, 0.0),
    ],
)
def test_pairs_are_made_of_text_where_nothing_says_otherwise(
    tmp_path: Path, settings: list[str], expected: float, placeholders: float
) -> None:
    config, why, _ = asked_for(None, write_text(tmp_path), None, None, "auto", None, settings)
    assert config.data.augment == expected
    assert config.data.placeholders == placeholders
    assert ("data.augment" in why) == (expected > 0 or settings == ["data.augment=0"])


def test_compressed_files_a_dev_set_languages_and_minutes(transduce: Transduce, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    for side in ("aa", "bb"):
        path = tmp_path / f"train.{side}"
        (tmp_path / f"train.{side}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    files = ["--source", tmp_path / "train.aa.gz", "--target", tmp_path / "train.bb.gz"]
    files += ["--dev-source", tmp_path / "dev.aa", "--dev-target", tmp_path / "dev.bb"]
    said = transduce("train", *files, "--out", tmp_path / "run", "--langs", "xx-yy", "--minutes", 0.005, *SMALL)
    assert said.status == 0, said.err
    config = load_recipe(tmp_path / "run" / "recipe.toml")
    assert (config.data.source_lang, config.data.target_lang, config.name) == ("xx", "yy", "xx-yy")
    assert config.training.minutes == 0.005
    assert "timing a few steps" in said.err
    assert "20 dev pairs.\n" in (tmp_path / "run" / "model" / "README.md").read_text()


def test_what_was_chosen_is_not_chosen_anew(transduce: Transduce, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    files: dict[str, Path | None] = {"source": tmp_path / "train.aa", "target": tmp_path / "train.bb"}
    options = [word for name, path in files.items() for word in (f"--{name}", path)]
    run = tmp_path / "run"
    assert transduce("train", *options, "--out", run, "--minutes", 0.005, *SMALL).status == 0
    asked = (None, files, None, None, "auto", None, ["training.minutes=0", *SMALL[1::2]], run)
    before, (again, why, where), (new, *_) = load_asked(run), asked_for(*asked), asked_for(*asked, True)
    assert (before.training.schedule, new.training.schedule) == ("linear", "inverse_sqrt")  # the minutes decide
    assert again == replace(before, training=replace(before.training, minutes=0.0))
    assert (why, where) == ({}, run)
    other = asked_for(*asked[:6], ["data.max_length=20"], run)[0]
    assert (other.data.max_length, other.training.minutes) == (20, 0.005)
    with (tmp_path / "train.aa").open("a") as source, (tmp_path / "train.bb").open("a") as target:
        source.write("a new dog\n" * 9)
        target.write("god wen a\n" * 9)
    transduce("train", *options, "--out", run, "--minutes", 0.005, *SMALL).refused("train.aa: changed since")


def test_why_it_was_chosen_is_known_after_going_on(transduce: Transduce, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    options = ["--source", tmp_path / "train.aa", "--target", tmp_path / "train.bb", "--out", tmp_path / "run", *SMALL]
    assert transduce("train", *options, *QUICK).status == 0
    why = load_reasons(tmp_path / "run")
    assert "model.norm" in why
    assert transduce("train", *options, *QUICK).status == 0
    assert load_reasons(tmp_path / "run") == why


def test_whoever_counts_steps_has_no_minutes_to_choose_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_corpus(tmp_path)
    monkeypatch.setitem(presets.ENOUGH_PAIRS, "big", 100)
    monkeypatch.setitem(presets.PIECES_A_SECOND, "big", 1e-6)
    files: dict[str, Path | None] = {"source": tmp_path / "train.aa", "target": tmp_path / "train.bb"}
    (timed, *_), (counted, why, _) = (
        asked_for(None, files, None, None, "auto", None, settings) for settings in ([], ["training.max_steps=300"])
    )
    assert (timed.model.d_model, timed.training.minutes) == (128, 30.0)
    assert (counted.model.d_model, counted.training.minutes, counted.training.max_steps) == (1024, 0.0, 300)
    assert (counted.training.schedule, why["training.schedule"]) == ("linear", "down to 0 at the last of these steps")


def test_a_file_of_pairs_with_columns(transduce: Transduce, tmp_path: Path) -> None:
    rows = [f"{number}\t{mirror(line)}\t{line}" for number, line in enumerate(sentences(100, 0))]
    pairs, dev = write_lines(tmp_path / "words.tsv", rows), write_lines(tmp_path / "dev.tsv", rows[:9])
    options = ("--pairs", pairs, "--dev-pairs", dev, "--columns", "3,2", "--out", tmp_path / "run", "--json")
    said = transduce("train", *options, *SMALL, *QUICK)
    assert said.status == 0, said.err
    outcome = json.loads(said.out)
    assert outcome == {
        "run": str(tmp_path / "run"),
        "step": 12,
        "finished": True,
        "chrf": {"score": outcome["chrf"]["score"], "signature": outcome["chrf"]["signature"]},
    }
    assert load_recipe(tmp_path / "run" / "recipe.toml").name == "words"


def test_older_pairs_may_have_columns_of_their_own(transduce: Transduce, tmp_path: Path) -> None:
    lines = sentences(60, 0)
    new = write_lines(tmp_path / "new.tsv", [f"{mirror(line)}\t{line}" for line in lines[:30]])
    old = write_lines(tmp_path / "old.tsv", [f"{line}\t{mirror(line)}" for line in lines[30:]])
    given = ("--pairs", new, "--columns", "2,1", "--mix-pairs", old, "--mix-columns", "1,2", "--mix-share", "0.5")
    said = transduce("prepare", *given, *SMALL, "--out", tmp_path / "run")
    assert said.status == 0, said.err
    prepared = load_prepared(tmp_path / "run" / "data")
    sides = [prepared.corpus.pair(i) for i in range(len(prepared.corpus))]
    assert all(prepared.tokenizers.source.decode(source).islower() for source, _ in sides)
    assert all(prepared.tokenizers.target.decode(target).isupper() for _, target in sides)


TMX_UNIT = '<tu><tuv xml:lang="{}"><seg>{}</seg></tuv><tuv xml:lang="bb"><seg>{}</seg></tuv></tu>'
FORMATS: dict[str, tuple[str, Callable[[str, str], str], str]] = {
    "jsonl": ("", lambda s, t: json.dumps({"t": {"aa": s, "bb": t}}) + "\n", ""),
    "po": ("", lambda s, t: f'msgid "{s}"\nmsgstr "{t}"\n\n', ""),
    "tmx": ("<tmx>", lambda s, t: TMX_UNIT.format("aa-XX", s, t) + TMX_UNIT.format("cc", "no", t), "</tmx>"),
    "xliff": ("<xliff>", lambda s, t: f"<trans-unit><source>{s}</source><target>{t}</target></trans-unit>", "</xliff>"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_for_training_development_and_test(transduce: Transduce, tmp_path: Path, name: str) -> None:
    before, one, after = FORMATS[name]
    for part, seed in (("train", 0), ("dev", 1), ("test", 2)):
        body = "".join(one(line, mirror(line)) for line in dict.fromkeys(sentences(60, seed)))
        (tmp_path / f"{part}.{name}").write_text(before + body + after, encoding="utf-8")
    options = ["--langs", "aa-bb", *(["--columns", "t.aa,t.bb"] if name == "jsonl" else [])]
    files = ["--pairs", tmp_path / f"train.{name}", "--dev-pairs", tmp_path / f"dev.{name}"]
    test = ["--set", f'data.test={{ pairs = "{tmp_path / "test"}.{name}" }}']
    said = transduce("train", *files, *options, *test, "--out", tmp_path / "run", *SMALL, *QUICK)
    assert said.status == 0, said.err
    assert "dev pairs; judged by " in said.err
    assert "held out" not in said.err
    said = transduce("evaluate", tmp_path / "run", "--metric", "chrf", "--json")
    again = transduce("evaluate", tmp_path / "run", "--pairs", tmp_path / f"test.{name}", *options[2:], "--json")
    assert json.loads(said.out)["chrf"] == json.loads(again.out)["chrf"]


# ---- going on from a model


def test_without_a_recipe_fine_tuning_has_a_lower_rate(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    files = ["--source", tmp_path / "dev.aa", "--target", tmp_path / "dev.bb", "--from", run]
    files += ["--mix-source", tmp_path / "train.aa", "--mix-target", tmp_path / "train.bb", "--mix-share", 0.5]
    said = transduce("train", *files, "--out", tmp_path / "tuned", *QUICK)
    assert said.status == 0, said.err
    config = load_recipe(tmp_path / "tuned" / "recipe.toml")
    warmup = config.training.warmup
    assert (config.training.learning_rate, warmup) == (0.0008, config.training.max_steps // 5)
    assert (config.model.d_model, config.data.mix_share) == (32, 0.5)
    assert f"fine-tuning {run / 'model'}: learning rate at most 0.0008, warm-up {warmup} steps" in said.err
    again = [*files, "--out", tmp_path / "other", *QUICK, "--set", "training.learning_rate=0.01"]
    assert f"learning rate at most 0.01, warm-up {warmup} steps" in transduce("train", *again).err


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_fine_tuning_is_judged_by_what_the_model_reads(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Few different words look like symbols, but the pieces are the model's."""
    monkeypatch.setattr("transduce.rundata.kinds_of", lambda origin: lambda source, target: (kind, kind))
    write_corpus(tmp_path)
    files: dict[str, Path | None] = {"source": tmp_path / "dev.aa", "target": tmp_path / "dev.bb"}
    config, why, _ = asked_for(None, files, None, None, "auto", run, [])
    assert (config.evaluation.metric, config.evaluation.alphas) == ("bleu", (1.0, 1.4))
    assert (config.training.label_smoothing, config.model.p_drop) == (0.1, 0.3)
    assert "tokenizer.source" not in why
    assert begin(config, tmp_path / "run", False, run, print)[0].tokenizer.source == kind


def test_what_the_model_to_start_from_decides_cannot_be_asked_for(
    transduce: Transduce, run: Path, tmp_path: Path
) -> None:
    write_corpus(tmp_path)
    given = ("--source", tmp_path / "dev.aa", "--target", tmp_path / "dev.bb", "--out", tmp_path / "tuned", *QUICK)
    tuned = (*given, "--from", run)
    n = load_config(run / "model").model.n_layers
    message = f"model.n_layers = {n + 1} and --from: the model to start from has {n}, which stays."
    transduce("train", *tuned, "--set", f"model.n_layers={n + 1}").refused(message)
    transduce("train", *tuned, "--set", "data.normalise=nfc").refused("data.normalise = 'nfc' and --from")
    transduce("train", *tuned, "--set", 'model.layer={kind="recurrent"}').refused("model.layer = {'kind': 'recurrent'}")
    for setting in ("tokenizer.size=700", "tokenizer.joint=true", "tokenizer.source=unigram"):
        transduce("train", *tuned, "--set", setting).refused(
            setting.split("=")[0], "and --from: the model to start from"
        )
    assert transduce("train", *tuned, "--set", f"model.n_layers={n}").status == 0
    transduce("train", *given, "--set", f"model.n_layers={n + 1}").refused(message)  # it goes on without --from too


def test_a_rate_that_the_schedule_does_not_hear_is_refused(transduce: Transduce, tmp_path: Path) -> None:
    given = [word for name, path in write_text(tmp_path).items() for word in (f"--{name}", path)]
    asked = ["--set", "training.schedule=noam", "--set", "training.learning_rate=0.01", "--out", tmp_path / "run"]
    message = "training.learning_rate: the schedule noam sets the rate itself (eq. 3)."
    transduce("train", *given, *asked).refused(message)
    transduce("train", write_recipe(tmp_path), *asked).refused(message)


def test_other_optimizers_have_their_own_rate_and_no_dropout_has_no_r_drop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presets, "FEW_PAIRS", 100)
    monkeypatch.setattr(presets, "R_DROP_PASSES", 0)
    files = write_text(tmp_path)

    def chosen(*settings: str) -> tuple[str, float, float]:
        training = asked_for(None, files, None, None, "tiny", None, list(settings))[0].training
        return training.optimizer, training.learning_rate, training.r_drop

    assert chosen() == ("muon", 0.006, 3.0)
    assert chosen("training.optimizer=adam") == ("adam", 0.004, 0.0)
    assert chosen("model.p_drop=0") == ("muon", 0.006, 0.0)


def test_steps_without_minutes_let_the_rate_come_down(tmp_path: Path) -> None:
    files = write_text(tmp_path)
    for more in ([], ["training.minutes=0"]):
        config, why, _ = asked_for(None, files, None, None, "tiny", None, ["training.max_steps=9", *more])
        assert (config.training.schedule, why["training.schedule"]) == (
            "linear",
            "down to 0 at the last of these steps",
        )


def test_what_a_run_from_files_is_called(tmp_path: Path) -> None:
    """After both languages, or the pairs; or as asked. One that goes on keeps its name, whatever is left out."""
    write_corpus(tmp_path)
    shutil.copy(tmp_path / "train.bb", tmp_path / "target")

    def called(files: dict[str, Path | None], *settings: str, langs: str | None = None) -> tuple[str, Path]:
        config, _, run = asked_for(None, files, None, langs, "tiny", None, list(settings))
        return config.name, run

    both: dict[str, Path | None] = {"source": tmp_path / "train.aa", "target": tmp_path / "train.bb"}
    assert called(both) == ("aa-bb", Path("runs/aa-bb"))
    assert called(both, "name=mine") == ("mine", Path("runs/mine"))
    assert called(both | {"target": tmp_path / "target"}) == ("model", Path("runs/model"))


def test_languages_need_not_be_said_again(transduce: Transduce, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    pairs = write_lines(tmp_path / "p.tsv", [f"{line}\t{mirror(line)}" for line in sentences(40, seed=3)])
    given = ("train", "--pairs", pairs, "--out", tmp_path / "run", *SMALL, *QUICK)
    assert transduce(*given, "--langs", "aa-bb").status == 0
    said = transduce(*given)
    assert (said.status, "finished at step 12" in said.err) == (0, True)


def test_a_named_size_is_chosen_once_too(transduce: Transduce, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    given = ("--source", tmp_path / "train.aa", "--target", tmp_path / "train.bb", "--out", tmp_path / "run")
    tiny = (*given, *SMALL, *QUICK, "--preset", "tiny")
    assert transduce("train", *tiny, "--minutes", 0.005).status == 0
    again = transduce("train", *tiny, "--minutes", 0)  # without a limit it would be inverse_sqrt
    assert again.status == 0, again.err
    assert load_asked(tmp_path / "run").training.schedule == "linear"
    message = ("--preset base: ", "was begun with model.n_layers = ", "or --fresh to start over")
    transduce("train", *given, "--preset", "base").refused(*message)


def test_data_that_was_prepared_is_trained_on_as_it_was_chosen(transduce: Transduce, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    files: dict[str, Path | None] = {"source": tmp_path / "train.aa", "target": tmp_path / "train.bb"}
    options = [word for name, path in files.items() for word in (f"--{name}", path)]
    given = (*options, "--out", tmp_path / "run", *SMALL, *QUICK)
    assert transduce("prepare", *given, "--minutes", 0.005).status == 0
    config, why, _ = asked_for(None, files, None, None, "auto", None, ["training.minutes=0"], tmp_path / "run")
    assert config.training.schedule == "linear"
    assert "model.norm" in why
    assert "training.schedule" not in why  # today's reason would be another's
    said = transduce("train", *given, "--minutes", 0)
    assert said.status == 0, said.err
    assert load_reasons(tmp_path / "run")["training.schedule"] == ("linear", "down to 0 at the last of these steps")


def test_fine_tuning_goes_on_showing_placeholders(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transduce.rundata.kinds_of", lambda origin: lambda source, target: ("bpe", "bpe"))
    files = write_text(tmp_path)
    keeping = tmp_path / "keeping"
    shutil.copytree(run / "model", keeping)
    fields = json.loads((keeping / "config.json").read_text("utf-8"))
    (keeping / "config.json").write_text(json.dumps(fields | {"placeholders": True}), "utf-8")
    for start_from, expected in ((None, 0.1), (run, 0.0), (keeping, 0.1)):
        config, _, _ = asked_for(None, files, None, None, "auto", start_from, [])
        assert config.data.placeholders == expected
        assert (config.data.augment > 0) == (start_from is None)


def test_fine_tuning_keeps_the_languages(run: Path, tmp_path: Path) -> None:
    """In a translation memory too, whose header says something else."""
    unit = '<tu><tuv xml:lang="aa"><seg>dog {}</seg></tuv><tuv xml:lang="bb"><seg>GOD {}</seg></tuv></tu>'
    units = "".join(unit.format(i, i) for i in range(60))
    (tmp_path / "memory.tmx").write_text(f"<tmx><header srclang='bb'/>{units}</tmx>", encoding="utf-8")
    known = tmp_path / "known"
    shutil.copytree(run / "model", known)
    fields = json.loads((known / "config.json").read_text("utf-8")) | {"source_lang": "aa", "target_lang": "bb"}
    (known / "config.json").write_text(json.dumps(fields), "utf-8")
    config, *_ = asked_for(None, {"pairs": tmp_path / "memory.tmx"}, None, None, "auto", known, [])
    data = begin(config, tmp_path / "run", False, known, print)[0].data
    assert (data.source_lang, data.target_lang) == ("aa", "bb")
    assert next(read_pairs(data.files(data.train))) == ("dog 0", "GOD 0")


# ---- from a recipe


def test_a_recipe_names_its_run(transduce: Transduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path)
    recipe = write_recipe(tmp_path, root=".")
    assert transduce("train", recipe.name, *QUICK).status == 0
    assert (tmp_path / "runs" / "tiny" / "model" / "config.json").is_file()
    again = transduce("train", recipe.name, *QUICK, "--json")
    assert again.status == 0
    score = json.loads(again.out)["chrf"]
    assert json.loads(again.out) == {"run": "runs/tiny", "step": 12, "finished": True, "chrf": score}
    assert f"| chrf | {score['score']:.2f} |" in (tmp_path / "runs/tiny/model/README.md").read_text()
    assert "runs/tiny: finished at step 12. The model is in runs/tiny/model." in again.err
    more = transduce("train", recipe.name, *QUICK, "--set", "training.max_steps=13")
    assert "continuing at step 12" in more.err
    over = transduce("train", recipe.name, *QUICK, "--fresh", "--set", "training.seed=2")
    assert over.status == 0
    tuned = transduce("train", recipe.name, *QUICK, "--from", "runs/tiny", "--out", "runs/tuned", "--device", "cpu")
    assert tuned.status == 0
    assert "Started from the weights of `runs/tiny/model`." in (tmp_path / "runs/tuned/model/README.md").read_text()


def test_a_stop_says_how_to_go_on(transduce: Transduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["transduce", "train", "my tiny.toml", "--debug", "--fresh"])
    monkeypatch.setattr("transduce.cli.train.stop_on_interrupt", lambda say, updating: stop_at_once())
    write_corpus(tmp_path)
    said = transduce("train", write_recipe(tmp_path), *QUICK, "--out", tmp_path / "run", "--json")
    assert said.status == 130
    assert json.loads(said.out)["finished"] is False
    assert said.err.splitlines()[-2:] == [
        "stopped at step 1, everything is saved. To continue, run:",
        "  transduce train 'my tiny.toml'",
    ]


class stop_at_once:  # noqa: N801 - stands for a function
    def __enter__(self) -> Callable[[], bool]:
        return lambda: True

    def __exit__(self, *error: object) -> None:
        pass


def test_interrupts_ask_first_and_then_insist() -> None:
    import signal

    said: list[str] = []
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_on_interrupt(said.append) as stop:
        assert not stop()
        signal.raise_signal(signal.SIGTERM)
        assert stop()
        assert said == ["stopping after this step; again to stop at once"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    with stop_on_interrupt(said.append, lambda: False), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # nothing is being updated


def test_an_interruption_of_what_can_be_done_again_says_how_to_go_on(
    transduce: Transduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["transduce", "train", "my tiny.toml"])
    monkeypatch.setattr("transduce.data.prepare.train_tokenizers", interrupt)
    write_corpus(tmp_path)
    said = transduce("train", write_recipe(tmp_path), *QUICK, "--out", tmp_path / "run")
    assert said.status == 130
    assert said.err.splitlines()[-3:] == [
        "stopped at once, before any training. To start again, run:",
        "  transduce train 'my tiny.toml'",
        "interrupted",
    ]


# ---- options that cannot be

RECIPE_SAYS = "and a recipe: the recipe says that itself. Give one or the other."
TELL = "Give a recipe, or --source and --target, or --pairs. See `transduce train --help`."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", TELL),
        ("--pairs P --source S --target T", TELL),
        ("--dev-source S --dev-target T", TELL),
        ("--source S", "--target is missing: --source and --target belong together."),
        ("--target T --pairs P", "--source is missing"),
        ("--source S --target T --dev-target T", "--dev-source is missing"),
        ("--pairs P --dev-pairs P --dev-source S --dev-target T", "--dev-source and --dev-pairs: give one of them."),
        ("--source S --target T --columns 1,2", "--columns: there is no --pairs to take columns from."),
        ("--source S --target T --langs ende", "--langs ende: write it as en-de, or as en-us,de-at."),
        ("--source S --target T --preset huge", "--preset huge: choose one of auto, tiny, small, base, big."),
        (
            "--source S --target T --set training.minutes=abc",
            'training.minutes = "abc": Input should be a valid number.',
        ),
        ('--pairs P --set tokenizer.source=["bpe"]', 'tokenizer.source = ["bpe"]: Input should be'),
        ("--pairs P --set name=3", "name = 3: Input should be a valid string."),
        ("--pairs P --set model.p_drop=high", 'model.p_drop = "high": Input should be a valid number.'),
        ("--pairs P --list-dropped x.tsv.gz", "--list-dropped x.tsv.gz: the list is plain text. Call it x.tsv."),
        ("--source S --target T --set tokenizer=abc", "--set tokenizer=abc: which section?"),
        ("--source S --target T --minutes -1", "training.minutes = -1.0: must be finite and not negative"),
        ("--source S --target T --minutes soon", "'--minutes'"),
        ("--source S --target T --device tpu", 'training.device = "tpu": Input should be'),
        ("--source S --target nothing", "nothing: cannot open it (No such file or directory)."),
        ("--source S --target P", "s.aa has 3 lines, "),
        ("--source S --target LATIN", "latin.bb:2: not UTF-8"),
        ("--source S --target EMPTY", "empty.bb: the file is empty."),
        ("--pairs P --columns 1", "--columns 1: write source,target"),
        ("--pairs P --columns a,b", "p.tsv: columns ('a', 'b'): names are for JSON lines; here they are numbers."),
        ("--pairs P --mix-source S", "--mix-target is missing"),
        ("--pairs P --mix-pairs P --mix-source S --mix-target T", "--mix-source and --mix-pairs: give one of them."),
        ("--pairs P --mix-share 0.5", "--mix-share: there is no older data to take it from."),
        ("RECIPE --mix-share 0.5", "--mix-share: there is no older data to take it from. Give the recipe a data.mix."),
        ("--pairs P --mix-columns 2,1", "--mix-columns: there is no --mix-pairs to take columns from."),
        ("--pairs P --mix-pairs P --mix-share 1", "data.mix_share = 1.0: must be above 0 and below 1."),
        ("--pairs P --from nothing", "nothing: no such folder."),
        ("RECIPE --mix-pairs P", f"--mix-pairs {RECIPE_SAYS}"),
        ("--pairs P --columns 1,9", "p.tsv:1: 2 tab-separated columns, but column 9 is needed"),
        ("--pairs S", "s.aa:1: 1 tab-separated columns, but column 2 is needed"),
        ("RECIPE --source S", f"--source {RECIPE_SAYS}"),
        ("RECIPE --columns 1,2", f"--columns {RECIPE_SAYS}"),
        ("--pairs P --list-dropped no/x.tsv", "no/x.tsv: no is no folder. Make it first"),
        ("--pairs p\udcff.tsv", "'p\\udcff.tsv': its name is not UTF-8. Give it another."),
        ("RECIPE --langs aa-bb", f"--langs {RECIPE_SAYS}"),
        ("RECIPE --preset tiny", f"--preset {RECIPE_SAYS}"),
        ("RECIPE --set model.d_modle=9", "model.d_modle: no such field. Did you mean `d_model`?"),
        ("RECIPE --set model.p_drop=9", "model.p_drop = 9.0: a probability, at least 0 and below 1."),
        ("RECIPE --from nothing", "nothing: no such folder."),
        ("RECIPE --device cuda", "device = 'cuda', but this machine has none that PyTorch can use."),
        ("nothing.toml", "nothing.toml: cannot read this recipe ("),
        (
            "multi30k",
            "multi30k: no such recipe file, and none of this name ships with transduce. Did you mean `multi30",
        ),
        ("RECIPE --set data.root=nothing", "cannot open it (No such file or directory). Check the path."),
        (
            "scan_simple --set data.root=no",
            "Check the path. To download the public original: transduce fetch scan_simple",
        ),
    ],
)
def test_what_cannot_be_trained_leaves_nothing(
    transduce: Transduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path)
    names = {
        "S": write_lines(tmp_path / "s.aa", ["cat", "dog", "cat dog"]),
        "T": write_lines(tmp_path / "t.bb", ["TAC", "GOD", "TAC GOD"]),
        "P": write_lines(tmp_path / "p.tsv", ["cat\tTAC", "dog\tGOD"]),
        "LATIN": tmp_path / "latin.bb",
        "EMPTY": write_lines(tmp_path / "empty.bb", []),
        "RECIPE": write_recipe(tmp_path),
    }
    names["LATIN"].write_bytes(b"x\nK\xf6ter\nx\n")
    before = contents(tmp_path)
    transduce("train", *(names.get(word, word) for word in options.split()), "--out", "run").refused(message)
    assert contents(tmp_path) == before
    assert not Path("run").exists()


def test_a_place_that_is_taken(transduce: Transduce, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    recipe = write_recipe(tmp_path)
    before = contents(tmp_path)
    transduce("train", recipe, "--out", tmp_path).refused(
        "not empty, and not a run of transduce. Choose another --out."
    )
    transduce("train", recipe, "--out", recipe).refused("tiny.toml: a file, not a run directory.")
    said = transduce("train", recipe, "--out", recipe / "run")
    assert said.status == 1
    said.failed("tiny.toml/run: cannot be made (Not a directory). Choose another --out.")
    assert contents(tmp_path) == before


# ---- runs that cannot go on


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A finished run that may be damaged."""
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_of_another_recipe(transduce: Transduce, copy: Path, corpus: Path) -> None:
    before = contents(copy)
    said = transduce("train", corpus / "tiny.toml", "--set", "model.d_ff=32", "--out", copy)
    said.refused("this run was begun with model.d_ff = 64, now it is 32. Use another --out, the old value, or --fresh")
    assert contents(copy) == before


CHECKPOINT = "checkpoints/step-00000160"


@pytest.mark.parametrize(
    "name",
    [
        f"{CHECKPOINT}/weights.safetensors",
        f"{CHECKPOINT}/optimizer.safetensors",
        f"{CHECKPOINT}/state.json",
        "resolved.toml",
        "recipe.toml",
        "data/manifest.json",
        "data/dev.jsonl",
        "data/source.model",
        "data/target.model",
        "data/train/manifest.json",
        "data/train/00000.source.npy",
        "data/train/00000.target_ends.npy",
    ],
)
@pytest.mark.parametrize("change", ["missing", "truncated", "foreign"])
def test_a_damaged_run_is_one_line_that_names_the_file(
    transduce: Transduce, copy: Path, corpus: Path, name: str, change: str
) -> None:
    path = copy / name
    content = path.read_bytes()
    path.unlink()
    if change != "missing":
        part = 10 if name.endswith(".toml") else len(content) // 3  # TOML that ends after a line may be valid
        path.write_bytes(content[:part] if change == "truncated" else b'{"best": 3}\n')
    elif name == "resolved.toml":
        return  # everything in it is chosen again
    said = transduce("train", corpus / "tiny.toml", "--out", copy)
    where = name if change != "missing" else str(Path(name).parent)
    said.refused("" if "train/" in name or name.startswith("data/") else where.split("/")[-1])
    assert str(copy) in said.err


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json"])
def test_a_checkpoint_of_another_model(
    transduce: Transduce, copy: Path, corpus: Path, tmp_path: Path, name: str
) -> None:
    options = ("--set", "model.d_model=16", "--set", "training.max_steps=4", "--out", tmp_path / "other")
    assert transduce("train", corpus / "tiny.toml", *QUICK, *options).status == 0
    shutil.copy(tmp_path / "other" / "checkpoints" / "step-00000004" / name, copy / CHECKPOINT / name)
    transduce("train", corpus / "tiny.toml", "--out", copy).refused(f"{copy / CHECKPOINT / name}: ")


# ---- helpers


@pytest.mark.parametrize(("text", "columns"), [("1,2", [1, 2]), ("3,1", [3, 1]), ("1+3,2", [[1, 3], 2])])
def test_columns(text: str, columns: list[int | str | list[int | str]]) -> None:
    assert parse_columns(text) == columns


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "1+,2", "1;2", "a,"])
def test_columns_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="write source,target, for instance 1,2"):
        parse_columns(text)
