"""Adam against its formula, and its moments there and back."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from transduce.errors import CheckpointError
from transduce.training.optimizer import Adam

pytestmark = pytest.mark.unit


def model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))


def update(m: nn.Module, optimizer: Adam, seed: int) -> None:
    torch.manual_seed(seed)
    for parameter in m.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step(0.01 * seed)


def test_it_is_the_paper_s_adam() -> None:
    """beta_1 = 0.9, beta_2 = 0.98, epsilon = 1e-9 (section 5.3), with the bias corrections of Kingma and Ba."""
    m = model()
    optimizer = Adam(m)
    (w,) = (p for p in m.parameters() if p.shape == (4, 3))
    expected, first, second = w.detach().double().clone(), torch.zeros(4, 3).double(), torch.zeros(4, 3).double()
    for t in (1, 2, 3):
        update(m, optimizer, seed=t)
        assert w.grad is not None
        first = 0.9 * first + 0.1 * w.grad
        second = 0.98 * second + 0.02 * w.grad**2
        expected -= 0.01 * t * (first / (1 - 0.9**t)) / ((second / (1 - 0.98**t)).sqrt() + 1e-9)
    torch.testing.assert_close(w.detach().double(), expected, rtol=1e-5, atol=1e-6)


def test_moments_survive_the_disk_and_the_next_step_is_the_same(tmp_path: Path) -> None:
    old, new = model(), model()
    optimizer = Adam(old)
    assert optimizer.moments() == {}
    for seed in (1, 2, 3):
        update(old, optimizer, seed)
    save_file(optimizer.moments(), tmp_path / "x")
    new.load_state_dict(old.state_dict())
    restored = Adam(new)
    restored.restore(load_file(tmp_path / "x"), step=3)
    assert restored.moments().keys() == optimizer.moments().keys() == load_file(tmp_path / "x").keys()
    for m, o in ((old, optimizer), (new, restored)):
        update(m, o, seed=9)
    for a, b in zip(old.parameters(), new.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_was_restored_is_a_copy() -> None:
    old, new = model(), model()
    optimizer, restored = Adam(old), Adam(new)
    update(old, optimizer, 1)
    saved = {name: value.clone() for name, value in optimizer.moments().items()}
    restored.restore(saved, step=1)
    before = {name: value.clone() for name, value in saved.items()}
    update(new, restored, 2)
    assert all(torch.equal(saved[name], before[name]) for name in saved)


def test_before_the_first_step_there_is_nothing_to_restore() -> None:
    m = model()
    optimizer = Adam(m)
    optimizer.restore({}, step=0)
    assert optimizer.moments() == {}


@pytest.mark.parametrize("damage", ["missing", "other shape"])
def test_moments_of_another_model_are_an_error(damage: str) -> None:
    m = model()
    optimizer = Adam(m)
    update(m, optimizer, 1)
    saved = dict(optimizer.moments())
    if damage == "missing":
        del saved["exp_avg_sq.0.bias"]
    else:
        saved["exp_avg_sq.0.bias"] = torch.zeros(5)
    with pytest.raises(CheckpointError, match="exp_avg_sq of 0.bias is missing or has another shape: .*--fresh"):
        Adam(m).restore(saved, step=1)
