"""`transduce info`: machine, recipe, run, model."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.cli.conftest import Transduce
from tests.tiny import write_corpus, write_lines
from transduce.config import recipe_names

pytestmark = pytest.mark.unit


def facts(transduce: Transduce, *arguments: object) -> dict[str, Any]:
    said = transduce("info", *arguments, "--json")
    assert (said.status, said.err) == (0, "")
    found: dict[str, Any] = json.loads(said.out)
    assert said.out.count("\n") == 1
    return found


def test_the_machine(transduce: Transduce) -> None:
    found = facts(transduce)
    assert found["processors"] >= found["usable"] >= 1
    assert found["threads"] >= 1
    assert min(found[f"{name}_gflops"] for name in ("fp32", "bf16")) > 0
    assert min(found[f"{name}_gb_s"] for name in ("memory", "cache")) > 0
    assert found["memory_bytes"]["total"] > 0
    assert found["precision"] in ("fp32", "bf16")
    assert found["recipes"] == recipe_names()
    assert "torch" in transduce("info").out


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipe(transduce: Transduce, recipe: str) -> None:
    found = facts(transduce, recipe)
    assert found["recipe"] == recipe
    assert {"parameters", "flops_per_token", "memory_bytes", "seconds"} <= found.keys()
    assert min(found[key] for key in ("parameters", "flops_per_token", "memory_bytes", "seconds")) > 0
    if not found["minutes"]:
        assert found["seconds"] == pytest.approx(found["max_steps"] * found["seconds_per_update"], rel=0.1)
        pieces = found["target_pieces_per_second"] * found["seconds_per_update"]
        assert pieces == pytest.approx(found["tokens_per_update"], rel=0.1)
    assert ("status" in found) == recipe.startswith("wmt14")


def test_the_paper_s_models_have_the_paper_s_sizes(transduce: Transduce) -> None:
    assert facts(transduce, "wmt14_ende_base")["parameters"] == pytest.approx(65e6, rel=0.05)
    assert facts(transduce, "wmt14_ende_big")["parameters"] == pytest.approx(213e6, rel=0.05)


def test_settings_change_a_recipe(transduce: Transduce) -> None:
    found = facts(transduce, "wmt14_ende_base", "--set", "model.n_layers=2", "--set", "training.minutes=3")
    assert found["n_layers"] == 2
    assert found["seconds"] == 180


def test_settings_without_a_recipe_are_refused(transduce: Transduce) -> None:
    transduce("info", "--set", "model.d_model=64").refused("--set: without a recipe there is no setting to change.")


def test_a_run_and_its_model(transduce: Transduce, run: Path) -> None:
    found, model = facts(transduce, run), facts(transduce, run / "model")
    assert found["checkpoints"][-2:] == [120, 160]
    assert (found["step"], found["max_steps"], found["finished"]) == (160, 160, True)
    assert found.items() >= {key: value for key, value in model.items() if key != "model"}.items()
    stored = load_file(run / "model" / "model.safetensors")
    assert model["parameters"] == sum(tensor.numel() for tensor in stored.values())
    assert model["languages"] == "aa -> bb"
    assert model["provenance"]["step"] == 160
    assert found["planned"]["updates"] == found["happened"]["updates"] == 160
    assert min(found["planned"]["memory_bytes"], found["happened"]["memory_bytes"]) > 0
    assert {key: found[key] for key in ("seconds", "memory_bytes")}.items() <= found["happened"].items()
    lines = transduce("info", run).out.splitlines()
    assert f"parameters       {model['parameters']:,}" in lines


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("multi30k_end", "Did you mean `multi30k_ende`? There are: cmudict, multi30k_ende,"),
        ("nothing.toml", "nothing.toml: cannot read this recipe ("),
        ("EMPTY", "no config.json here, nor in"),
        ("RUN --set model.d_ff=3", "--set changes recipes; "),
        ("cmudict --set model.d_fff=3", "cmudict: model.d_fff: no such field. Did you mean `d_ff`?"),
        ("RECIPE", "mine.toml: not valid TOML: "),
    ],
)
def test_what_nothing_is_known_about(
    transduce: Transduce, run: Path, tmp_path: Path, options: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    recipe = write_lines(tmp_path / "mine.toml", ["[model", "n_layers = 2"])
    names = {"RUN": run, "EMPTY": tmp_path / "empty", "RECIPE": recipe}
    transduce("info", *(names.get(word, word) for word in options.split())).refused(message)


@pytest.mark.parametrize(
    "name",
    [
        "recipe.toml",
        "resolved.toml",
        "checkpoints/step-00000160/state.json",
        "model/config.json",
        "data/preflight.json",
    ],
)
def test_a_broken_run(transduce: Transduce, run: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    transduce("info", tmp_path / "run").refused(str(path))


def test_a_run_of_which_less_is_known(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    """Killed while it wrote an event, or begun by an earlier version, which made no plan and measured no memory."""
    shutil.copytree(run, tmp_path / "run")
    log, report = tmp_path / "run" / "events.jsonl", tmp_path / "run" / "data" / "preflight.json"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    for event in events:
        event.pop("peak_memory_bytes", None)
    log.write_text("".join(json.dumps(event) + "\n" for event in events) + '{"event": "sess')
    values = json.loads(report.read_text())
    del values["plan"]
    report.write_text(json.dumps(values))
    found = facts(transduce, tmp_path / "run")
    assert "planned" not in found
    assert (found["happened"]["updates"], found["happened"]["memory_bytes"]) == (160, 0)
    assert found["seconds"] == found["happened"]["seconds"]
    assert "memory_bytes" not in found
    report.unlink()
    assert "planned" not in facts(transduce, tmp_path / "run")
    log.unlink()
    assert "happened" not in facts(transduce, tmp_path / "run")


def test_a_model_that_keeps_things_says_so(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "model", tmp_path / "model")
    assert "kept" not in facts(transduce, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"placeholders": True}), "utf-8")
    assert "numbers, addresses" in facts(transduce, tmp_path / "model")["kept"]


def test_what_was_chosen_for_the_data_and_why(transduce: Transduce, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    files = ("--source", tmp_path / "train.aa", "--target", tmp_path / "train.bb", "--out", tmp_path / "run")
    small = ("model.n_layers=1", "model.d_model=8", "model.n_heads=2", "training.max_steps=1", "training.average=1")
    said = transduce("train", *files, *(word for setting in small for word in ("--set", setting)))
    assert said.status == 0, said
    shown = transduce("info", tmp_path / "run").out
    assert '  tokenizer.source = "words": 8 different words in all: symbols, not text\n' in shown
    assert "  model.d_model = 8: as asked\n" in shown
    found = json.loads(transduce("info", tmp_path / "run", "--json").out)["chosen"]
    assert found["model.p_drop"]["value"] == 0.0
    assert found["model.p_drop"]["why"].startswith("symbols to symbols")


def test_a_recipe_says_all_itself(transduce: Transduce, run: Path) -> None:
    assert "chosen" not in json.loads(transduce("info", run, "--json").out)
