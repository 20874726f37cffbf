"""The run directory: what is begun can be told from what is not, and nothing that is not ours is touched."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.disk import contents
from transduce.config import RunConfig, apply_settings, build_config, derive
from transduce.errors import CheckpointError, ConfigError, DataError, SaveError
from transduce.files import NEW, OLD
from transduce.rundir import (
    OURS,
    Chosen,
    alone,
    check_same,
    is_begun,
    load_asked,
    load_chosen,
    load_reasons,
    new_data,
    record,
    resolve,
    save_resolved,
    truncate_events,
)

pytestmark = pytest.mark.unit

CHOSEN = Chosen(
    max_steps=70,
    checkpoint_every=7,
    warmup=5,
    precision="bf16",
    device="cpu",
    threads=3,
    seconds_per_step=0.1 + 0.2,
    command="transduce train 'ü \"x\"'",
    start_from="",
)


def config(*settings: str) -> RunConfig:
    values = {"data": {"train": {"pairs": "a.tsv"}}, "training": {"max_steps": 100, "minutes": 5.0, "patience": 3}}
    return build_config(derive(apply_settings(values, settings)), "here")


def prepare(run: Path, text: str = "new") -> None:
    with alone(run), new_data(run) as data:
        data.mkdir(exist_ok=True)  # a killed process may have left it; `data.prepare` replaces it
        (data / "manifest.json").write_text(text)


def begin(run: Path) -> Path:
    """A run with a bit of everything in it."""
    prepare(run, "old")
    record(run, config())
    save_resolved(run, config(), CHOSEN, {})
    for name in ("checkpoints/step-00000007/state.json", "model/config.json", "tensorboard/events.out.1"):
        (run / name).parent.mkdir(parents=True)
        (run / name).write_text('{"special_ids": {}}')
    (run / "events.jsonl").write_text("")
    return run


# ---- begun or not


def test_nothing_and_an_empty_folder_are_not_begun(tmp_path: Path) -> None:
    assert not is_begun(tmp_path / "run")
    assert not is_begun(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_begun_once_its_recipe_is_there(tmp_path: Path) -> None:
    run = tmp_path / "x" / "run"
    prepare(run)
    assert not is_begun(run)
    record(run, config())
    assert is_begun(run)
    assert load_asked(run) == config()


def test_a_file_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with (
        pytest.raises(CheckpointError, match="run: a file, not a run directory. Choose another --out."),
        alone(tmp_path / "run"),
    ):
        pass


def test_two_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with alone(tmp_path / "run"):
        with (
            pytest.raises(CheckpointError, match="run: another process is at work there. Wait for it, stop it, or"),
            alone(tmp_path / "run"),
        ):
            pass
        assert (tmp_path / "run").is_dir()
        with alone(tmp_path / "other"):
            pass
    with alone(tmp_path / "run"):
        pass


@pytest.mark.parametrize(
    "name",
    [
        "thesis.tex",
        "thesis/chapter1.tex",
        "data/corpus.en",
        "model/weights.pt",
        "model/config.json",
        "checkpoints/epoch1.pt",
        "tensorboard/thesis.tex",
        "recipe.toml/x",
        "recipe.toml",
        "data-new/corpus.en",
        "x.tmp",
    ],
)
def test_a_folder_with_anything_else_in_it_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    """A folder of the user's may well be called `data`, and hold the only copy of what is to be trained on."""
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).resolve().write_text("years of work")
    before = contents(tmp_path)
    with pytest.raises(CheckpointError, match="Choose another --out."):
        is_begun(tmp_path)
    assert contents(tmp_path) == before


def test_an_average_is_ours(tmp_path: Path) -> None:
    """`transduce average RUN` puts it there, and a run that is being started over may be killed."""
    (tmp_path / "average-5").mkdir()
    (tmp_path / "average-5" / "config.json").write_text('{"special_ids": {}}')
    assert not is_begun(tmp_path)
    (tmp_path / "average-5" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not empty, and not a run of transduce"):
        is_begun(tmp_path)


def test_what_a_killed_process_left_is_ours(tmp_path: Path) -> None:
    for name in OURS:
        for suffix in (NEW, OLD):
            (tmp_path / (name + suffix)).mkdir()
            (tmp_path / (name + suffix) / "half").write_text("")
    assert not is_begun(tmp_path)
    prepare(tmp_path)
    assert contents(tmp_path) == {"data/manifest.json": b"new"} | {
        f"data-new{suffix}/half": b""
        for suffix in (NEW, OLD)  # those are `prepare`'s to remove
    }


# ---- starting over


def test_new_data_replaces_everything_of_an_old_run(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    (run / "average-5").mkdir()
    (run / "average-5" / "config.json").write_text("made by the user")
    prepare(run)
    assert contents(run) == {"data/manifest.json": b"new", "average-5/config.json": b"made by the user"}
    assert not is_begun(tmp_path / "other")


def test_links_in_an_old_run_go_and_what_they_stand_for_stays(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    for name in ("checkpoints", "data"):
        (run / name).rename(tmp_path / name)
        (run / name).symlink_to(tmp_path / name)
    (run / "tensorboard").rename(tmp_path / "gone")
    (run / "tensorboard").symlink_to(tmp_path / "nowhere")
    elsewhere = contents(tmp_path / "checkpoints")
    prepare(run)
    assert [f.name for f in run.iterdir()] == ["data"]
    assert not (run / "data").is_symlink()
    assert contents(tmp_path / "checkpoints") == elsewhere


def test_data_that_cannot_be_prepared_leaves_an_old_run_as_it_was(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    before = contents(run)
    with pytest.raises(DataError), new_data(run):
        raise DataError("no")
    assert contents(run) == before
    assert is_begun(run)


def test_data_that_cannot_be_prepared_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError), alone(tmp_path / "a" / "b" / "run"):
        raise DataError("no")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SaveError, match="cannot be made .Not a directory.. Choose another --out."),
        alone(tmp_path / "file" / "run"),
    ):
        pass


def test_a_kill_while_starting_over_never_mixes_two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it stops, what is left is the old run or none that could be continued; and starting over works."""
    rename, unlink = Path.rename, Path.unlink
    for moment in range(40):
        run = begin(tmp_path / str(moment))
        calls = 0

        def counted(moments: int = moment) -> None:
            nonlocal calls
            calls += 1
            if calls > moments:
                raise KeyboardInterrupt

        def counting_rename(self: Path, target: Path) -> Path:
            counted()
            return rename(self, target)

        def counting_unlink(self: Path, missing_ok: bool = False) -> None:
            counted()
            unlink(self, missing_ok)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", counting_rename)
            patch.setattr(Path, "unlink", counting_unlink)
            try:
                prepare(run)
            except KeyboardInterrupt:
                pass
            else:
                break
        if is_begun(run):
            assert (run / "data" / "manifest.json").read_text() == "old"
            assert (run / "checkpoints" / "step-00000007").is_dir()
        prepare(run)
        assert contents(run) == {"data/manifest.json": b"new"}
    assert moment > 5


# ---- the same recipe


def test_the_same_recipe_goes_on(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    check_same(run, config())


@pytest.mark.parametrize(
    "setting",
    [
        "training.max_steps=101",
        "training.minutes=5.5",
        "training.minutes=0",
        "training.patience=4",
        "training.patience=0",
    ],
)
def test_limits_may_be_raised(tmp_path: Path, setting: str) -> None:
    run = begin(tmp_path / "run")
    check_same(run, config(setting))


def test_limits_of_data_that_was_only_prepared_may_be_lowered(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    (run / "resolved.toml").unlink()
    check_same(run, config("training.max_steps=99"))
    with pytest.raises(ConfigError, match="begun with training.seed"):
        check_same(run, config("training.seed=2"))


@pytest.mark.parametrize(
    ("begun", "now", "message"),
    [
        (
            "",
            "training.max_steps=99",
            "training.max_steps was 100; it may be raised on continuing, but not lowered to 99.",
        ),
        ("", "training.minutes=4", "training.minutes was 5.0; it may be raised"),
        ("", "training.patience=2", "training.patience was 3; it may be raised"),
        ("training.minutes=0", "training.minutes=60", "training.minutes had no limit; it may be raised"),
        ("training.patience=0", "training.patience=9", "training.patience had no limit; it may be raised"),
        (
            "",
            "training.seed=2",
            "this run was begun with training.seed = 1, now it is 2. Use another --out, the old value",
        ),
        ("", "model.d_ff=3", "this run was begun with model.d_ff = 2048, now it is 3."),
        (
            "",
            "data.dev={pairs='d'}",
            "data.dev = None, now it is {'pairs': 'd'}. Use another --out, the old value, or --fr",
        ),
        ("", "name=other", "name = '', now it is 'other'."),
    ],
)
def test_any_other_difference_is_an_error_that_names_it(tmp_path: Path, begun: str, now: str, message: str) -> None:
    record(tmp_path, config(*[begun] * bool(begun)))
    save_resolved(tmp_path, config(), CHOSEN, {})
    with pytest.raises(ConfigError) as caught:
        check_same(tmp_path, config(now))
    assert str(caught.value).startswith(f"{tmp_path}: ")
    assert message in str(caught.value)


# ---- its files


@pytest.mark.parametrize("content", [None, b"\xff", b"[data", b"colour = 3\n", b""])
def test_a_broken_recipe(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "recipe.toml").write_bytes(content)
    with pytest.raises((CheckpointError, ConfigError), match="recipe.toml"):
        load_asked(tmp_path)


def test_what_was_chosen_comes_back_exactly(tmp_path: Path) -> None:
    assert load_chosen(tmp_path) is None
    save_resolved(tmp_path, config(), CHOSEN, {"versions": {"torch": "2.0"}})
    assert load_chosen(tmp_path) == CHOSEN
    assert 'torch = "2.0"' in (tmp_path / "resolved.toml").read_text()


def test_resolved_has_what_is_used_in_the_place_of_what_was_asked() -> None:
    used = resolve(config(), CHOSEN)
    assert (used.training.max_steps, used.training.checkpoint_every, used.training.warmup) == (70, 7, 5)
    assert replace(used, training=config().training) == config()


@pytest.mark.parametrize("content", [b"\xff", b"[chosen", b"", b"chosen = 3\n", b"[chosen]\nmax_steps = 3\n"])
def test_a_broken_record_of_what_was_chosen(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "resolved.toml").write_bytes(content)
    with pytest.raises(CheckpointError, match="resolved.toml: broken .*Start over with --fresh."):
        load_chosen(tmp_path)


def test_reasons_come_back_with_the_value_that_is_used(tmp_path: Path) -> None:
    save_resolved(tmp_path, config(), CHOSEN, {"why": {"training.max_steps": "so many"}})
    assert load_reasons(tmp_path) == {"training.max_steps": (70, "so many")}
    save_resolved(tmp_path, config(), CHOSEN, {})
    assert load_reasons(tmp_path) == {}


@pytest.mark.parametrize("content", [b"\xff", b"[facts", b"", b"facts = 3\n", b"[facts.why]\nno = 'key'\n"])
def test_broken_reasons(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "resolved.toml").write_bytes(content)
    with pytest.raises(CheckpointError, match="resolved.toml: broken .*Start over with --fresh."):
        load_reasons(tmp_path)


def test_events_after_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    kept = [{"event": "step", "step": 10}, {"event": "dev", "step": 20}, {"event": "note"}]
    gone = [{"event": "step", "step": 21}, {"event": "model", "step": 20}]
    lines = [json.dumps(event) for event in (kept[0], gone[0], kept[1], gone[1], kept[2])]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + '\n{"event": "step", "st')
    truncate_events(tmp_path, 20)
    found = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert found == kept


def test_without_events_there_is_nothing_to_forget(tmp_path: Path) -> None:
    truncate_events(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path, flags: int) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(SaveError, match="run: cannot be opened .Permission denied.. Choose another --out."):
        alone(tmp_path / "run").__enter__()
