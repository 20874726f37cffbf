"""`transduce average`: the last checkpoints of a run as a model."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.conftest import Transduce
from tests.disk import contents

pytestmark = pytest.mark.unit


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path)


def test_it_is_the_mean_of_the_last_checkpoints(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    said = transduce("average", run, "--last", 2, "--out", tmp_path / "m")
    assert (said.status, said.out) == (0, "")
    assert said.err.endswith("m: average of steps 120, 160\n")
    one, two = (weights(run / "checkpoints" / f"step-00000{step}" / "weights.safetensors") for step in (120, 160))
    found = weights(tmp_path / "m" / "model.safetensors")
    assert found.keys() == one.keys()
    for name, value in found.items():
        assert torch.equal(value, ((one[name].double() + two[name].double()) / 2).float())


def test_the_last_alone_is_that_checkpoint_and_usable(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    before = contents(run)
    assert transduce("average", run, "--last", 1, "--out", tmp_path / "m").status == 0
    last = weights(run / "checkpoints" / "step-00000160" / "weights.safetensors")
    found = weights(tmp_path / "m" / "model.safetensors")
    assert all(torch.equal(found[name], value) for name, value in last.items())
    assert transduce("translate", tmp_path / "m", "the dog").status == 0
    assert "average of steps 160" in (tmp_path / "m" / "README.md").read_text()
    assert contents(run) == before


def test_checkpoints_with_a_gap_are_not_the_last(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    """The best ones of long ago are kept too."""
    gappy = shutil.copytree(run, tmp_path / "gappy")
    steps = sorted(path.name for path in (gappy / "checkpoints").iterdir())
    shutil.copytree(gappy / "checkpoints" / steps[-1], gappy / "checkpoints" / "step-00000040", dirs_exist_ok=True)
    shutil.rmtree(gappy / "checkpoints" / "step-00000120")
    transduce("average", gappy, "--last", 2, "--out", tmp_path / "m").refused("the last 1 are kept")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("RUN --last 0", "--last 0, but"),
        (
            "RUN --last 9",
            "of its validated checkpoints the last 2 are kept (a run keeps the last and the best training.average = 2 "
            "of them). Give --last 2, or less.",
        ),
        ("RUN/model", "recipe.toml: cannot be read"),
        ("nowhere", "recipe.toml: cannot be read"),
        ("RUN --last 1 --out RUN", "exists, and is not a model of transduce. Choose another place"),
    ],
)
def test_what_cannot_be_averaged(transduce: Transduce, run: Path, options: str, message: str) -> None:
    before = contents(run)
    names = {"RUN": run, "RUN/model": run / "model"}
    transduce("average", *(names.get(word, word) for word in options.split())).refused(message)
    assert contents(run) == before
