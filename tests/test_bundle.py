"""Bundles: what goes in comes out, whatever is broken or foreign is an error that names the file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.disk import contents, full_disk
from transduce.bundle import (
    BundleConfig,
    bundle_folder,
    load_bundle,
    load_config,
    load_weights_into,
    save_bundle,
    unique_weights,
)
from transduce.errors import BundleError, SaveError
from transduce.nn.transformer import Transformer, TransformerConfig, build
from transduce.text.pieces import IDS
from transduce.text.tokenizer import Tokenizer, TokenizerPair

pytestmark = pytest.mark.unit

CPU = torch.device("cpu")
SOURCE = Tokenizer.train(["a b c d"], "words", 40, pretokenised=True)
TARGET = Tokenizer.train(["x y z"], "words", 40, pretokenised=True)
TINY = TransformerConfig(n_layers=1, d_model=8, d_ff=12, n_heads=2, d_k=3, d_v=5)
KINDS: dict[str, tuple[TransformerConfig, TokenizerPair]] = {
    "joint": (TINY, TokenizerPair(SOURCE, SOURCE)),
    "target": (replace(TINY, share_embeddings="target", norm="pre"), TokenizerPair(SOURCE, TARGET)),
    "none": (replace(TINY, share_embeddings="none", positions="learned"), TokenizerPair(SOURCE, TARGET)),
}


def save(path: Path, kind: str = "joint", seed: int = 0) -> tuple[BundleConfig, Transformer]:
    architecture, tokenizers = KINDS[kind]
    sizes = tokenizers.source.size, tokenizers.target.size
    config = BundleConfig(
        model=architecture,
        source_size=sizes[0],
        target_size=sizes[1],
        max_length=99,
        source_lang="en",
        pretokenised=True,
        provenance={"seed": seed, "command": "transduce train ü"},
    )
    torch.manual_seed(seed)
    model = build(architecture, *sizes, IDS.pad)
    save_bundle(path, config, unique_weights(model), tokenizers, "# A model\n")
    return config, model


@pytest.mark.parametrize("kind", KINDS)
def test_what_goes_in_comes_out(tmp_path: Path, kind: str) -> None:
    config, model = save(tmp_path / "m", kind)
    bundle = load_bundle(tmp_path / "m", CPU)
    assert bundle.config == replace(config, tokenizers=bundle.config.tokenizers)
    assert not bundle.model.training
    source, target = torch.tensor([[20, 21, IDS.eos]]), torch.tensor([[IDS.bos, 21]])
    assert torch.equal(bundle.model(source, target), model.eval()(source, target))
    assert torch.equal(bundle.model.output_weight, model.output_weight)
    assert bundle.tokenizers.joint == (kind == "joint")
    assert bundle.tokenizers.source.encode("a d") == SOURCE.encode("a d")
    joint = ["tokenizer.model"] if kind == "joint" else ["source.model", "target.model"]
    names = sorted(f.name for f in (tmp_path / "m").iterdir())
    assert names == sorted(["README.md", "config.json", "model.safetensors", *joint])


def test_whoever_may_read_the_folder_may_read_the_weights(tmp_path: Path) -> None:
    save(tmp_path / "m", "joint")
    modes = {f.name: f.stat().st_mode for f in (tmp_path / "m").iterdir()}
    assert len(set(modes.values())) == 1, modes


def test_weights_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "m", "joint")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may always
    with pytest.raises(BundleError, match="you may not read it"):
        load_bundle(tmp_path / "m", CPU)


def test_of_an_earlier_bundle_it_is_not_known_how_long_outputs_are(tmp_path: Path) -> None:
    save(tmp_path / "m", "joint")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    del config["usual_extra"]
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    assert load_bundle(tmp_path / "m", CPU).config.usual_extra is None


def test_shared_weights_are_stored_once(tmp_path: Path) -> None:
    _, model = save(tmp_path / "m")
    stored = load_file(tmp_path / "m" / "model.safetensors")
    assert sum(w.numel() for w in stored.values()) == sum(p.numel() for p in model.parameters())
    assert model.source.table is model.target.table
    assert stored.keys() == dict(model.named_parameters()).keys()


def test_config_json_says_what_the_ids_mean(tmp_path: Path) -> None:
    save(tmp_path / "m")
    fields = json.loads((tmp_path / "m" / "config.json").read_text())
    assert fields["special_ids"] == {"pad": 0, "unk": 1, "bos": 2, "eos": 3}
    assert fields["format"] == 1
    assert fields["model"]["d_k"] == 3


def test_the_same_model_is_the_same_bytes(tmp_path: Path) -> None:
    save(tmp_path / "a", "target")
    save(tmp_path / "b", "target")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_bundle_is_replaced(tmp_path: Path) -> None:
    save(tmp_path / "m", "target", seed=1)
    _, model = save(tmp_path / "m", "joint", seed=2)
    loaded = load_bundle(tmp_path / "m", CPU).model
    assert torch.equal(loaded.output_weight, model.output_weight)
    assert not (tmp_path / "m" / "source.model").exists()


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    save(tmp_path / "m")
    load_bundle(tmp_path / "m", CPU)


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_is_no_bundle_is_not_replaced(tmp_path: Path, what: str) -> None:
    path = tmp_path / "thesis"
    if what == "folder":
        path.mkdir()
        path = path / "chapter1.tex"
    path.write_text("years of work")
    with pytest.raises(BundleError, match="thesis: exists, and is not a model of transduce. Choose another place"):
        save(tmp_path / "thesis")
    assert path.read_text() == "years of work"


@pytest.mark.parametrize("room", [0, 1000, 5000])
def test_a_full_disk_leaves_the_bundle_before(tmp_path: Path, room: int) -> None:
    save(tmp_path / "m", seed=1)
    before = contents(tmp_path)
    with pytest.raises(SaveError, match="cannot be written"), full_disk(room):
        save(tmp_path / "m", seed=2)
    assert contents(tmp_path) == before


# ---- where a bundle is


def test_a_run_stands_for_its_model(tmp_path: Path) -> None:
    save(tmp_path / "run" / "model")
    assert bundle_folder(tmp_path / "run") == tmp_path / "run" / "model"
    assert bundle_folder(tmp_path / "run" / "model") == tmp_path / "run" / "model"
    load_bundle(tmp_path / "run", CPU)


def test_no_bundle_is_an_error_that_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere: no such folder. Give a model directory"):
        bundle_folder(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="no config.json here, nor in .*model: not a model of transduce."):
        bundle_folder(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(
        BundleError, match="this run has no model yet. Continue it, or make one with `transduce average"
    ):
        bundle_folder(tmp_path)


# ---- broken and foreign ones


def test_a_folder_of_another_program_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"architectures": ["MarianMTModel"]}')
    with pytest.raises(BundleError, match="other: exists, and is not a model of transduce. Choose another place"):
        save(tmp_path / "other")
    assert [f.name for f in (tmp_path / "other").iterdir()] == ["config.json"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "source.model", "target.model"])
def test_truncation_anywhere_is_noticed_and_the_file_named(tmp_path: Path, name: str) -> None:
    save(tmp_path / "m", "target")
    path = tmp_path / "m" / name
    content = path.read_bytes()
    some = {0, 1, 8, len(content) // 3, len(content) // 2, len(content) - 50, len(content) - 2}
    for length in (
        range(len(content)) if name == "source.model" else some
    ):  # SentencePiece accepts a dozen of its lengths
        path.write_bytes(content[:length])
        with pytest.raises(BundleError, match=name):
            load_bundle(tmp_path / "m", CPU)
    path.unlink()
    with pytest.raises(BundleError, match="no tokenizer here" if name == "source.model" else name):
        load_bundle(tmp_path / "m", CPU)


def fields_of(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda fields: fields | changes


def model_of(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda fields: fields | {"model": fields["model"] | changes}


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: [],
        lambda fields: None,
        lambda fields: {},
        lambda fields: {"architectures": ["MarianMTModel"], "d_model": 512},
        fields_of(colour="red"),
        fields_of(model=None),
        model_of(colour="red"),
        model_of(n_layers=0),
        model_of(n_layers="1"),
        model_of(n_layers=1.5),
        model_of(norm="sandwich"),
        model_of(share_embeddings="target", d_model=7),
        fields_of(source_size="many"),
        fields_of(beam="4"),
        fields_of(alpha=None),
        fields_of(extra_length=1.5),
        fields_of(max_length=0),
        fields_of(usual_extra="x"),
        fields_of(normalise="nfd"),
        fields_of(placeholders=1),
        fields_of(beam=True),
        fields_of(tokenizers=None),
    ],
)
def test_foreign_configs_are_noticed(tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    save(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(BundleError, match="config.json: "):
        load_bundle(tmp_path / "m", CPU)


def test_a_newer_version_is_told_from_damage(tmp_path: Path) -> None:
    save(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"smell": "of roses"}))
    with pytest.raises(BundleError, match="made by a newer version of transduce, with smell. Update this one"):
        load_bundle(tmp_path / "m", CPU)


def test_another_format_is_noticed(tmp_path: Path) -> None:
    save(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(
        BundleError, match="config.json: format other than 1. Use the version of transduce that made it."
    ):
        load_config(tmp_path / "m")


def test_sizes_must_be_those_of_the_tokenizers(tmp_path: Path) -> None:
    save(tmp_path / "m", "target")
    path = tmp_path / "m" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"source_size": 99}))
    with pytest.raises(
        BundleError, match=r"config.json: says \(99, 23\) pieces .* the tokenizers beside it have \(24, 23\)"
    ):
        load_bundle(tmp_path / "m", CPU)


def test_an_architecture_that_cannot_be_built_is_noticed(tmp_path: Path) -> None:
    save(tmp_path / "m", "target")
    path = tmp_path / "m" / "config.json"
    path.write_text(path.read_text().replace('"share_embeddings": "target"', '"share_embeddings": "all"'))
    with pytest.raises(BundleError, match="config.json: .*needs one vocabulary"):
        load_bundle(tmp_path / "m", CPU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: w.pop("decoder.layers.0.feed_forward.w_1.bias"),
            "lacks weight decoder.layers.0.feed_forward.w_1.bias",
        ),
        (
            lambda w: w.update(extra=torch.zeros(1)),
            "has an unknown weight extra. It was made for another architecture.",
        ),
        (
            lambda w: w.update({"source.table.weight": torch.zeros(3, 8)}),
            r"weight source.table.weight is \(3, 8\), the config asks for \(24, 8\). Weights and config do not belong",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    save(tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)
    with pytest.raises(BundleError, match=f"model.safetensors: {message}"):
        load_bundle(tmp_path / "m", CPU)


def test_weights_are_copied_not_shared() -> None:
    model = build(TINY, 9, 9, IDS.pad)
    weights = {name: torch.zeros_like(w, dtype=torch.bfloat16) for name, w in unique_weights(model).items()}
    load_weights_into(model, weights, "here")
    weights["source.table.weight"].fill_(1)
    assert all((p == 0).all() and p.dtype == torch.float32 for p in model.parameters())
    assert not any(w.requires_grad for w in unique_weights(model).values())
