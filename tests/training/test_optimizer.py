"""Adam against its formula, Muon against PyTorch's, and their moments there and back."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.training.tiny import TINY
from transduce.errors import CheckpointError
from transduce.nn.transformer import Sharing, build
from transduce.text.pieces import IDS
from transduce.training.optimizer import Adam, Muon, Optimizer, Resumable, build_optimizer, orthogonalise

pytestmark = pytest.mark.unit

MATRIX = "0.weight"
MAKE: dict[str, Callable[[nn.Module], Resumable]] = {"adam": Adam, "muon": lambda m: Muon(m, [MATRIX])}
DECAYS = pytest.mark.parametrize("weight_decay", [0.0, 3.0])


@pytest.fixture(params=MAKE)
def make(request: pytest.FixtureRequest) -> Callable[[nn.Module], Resumable]:
    return MAKE[request.param]


def model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))


def update(m: nn.Module, optimizer: Optimizer, seed: int) -> None:
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


def test_moments_survive_the_disk_and_the_next_step_is_the_same(
    tmp_path: Path, make: Callable[[nn.Module], Resumable]
) -> None:
    old, new = model(), model()
    optimizer = make(old)
    assert optimizer.moments() == {}
    for seed in (1, 2, 3):
        update(old, optimizer, seed)
    save_file(optimizer.moments(), tmp_path / "x")
    new.load_state_dict(old.state_dict())
    restored = make(new)
    restored.restore(load_file(tmp_path / "x"), step=3)
    assert restored.moments().keys() == optimizer.moments().keys() == load_file(tmp_path / "x").keys()
    for m, o in ((old, optimizer), (new, restored)):
        update(m, o, seed=9)
    for a, b in zip(old.parameters(), new.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_was_restored_is_a_copy(make: Callable[[nn.Module], Resumable]) -> None:
    old, new = model(), model()
    optimizer, restored = make(old), make(new)
    update(old, optimizer, 1)
    saved = {name: value.clone() for name, value in optimizer.moments().items()}
    restored.restore(saved, step=1)
    before = {name: value.clone() for name, value in saved.items()}
    update(new, restored, 2)
    assert all(torch.equal(saved[name], before[name]) for name in saved)


def test_before_the_first_step_there_is_nothing_to_restore(make: Callable[[nn.Module], Resumable]) -> None:
    m = model()
    optimizer = make(m)
    optimizer.restore({}, step=0)
    assert optimizer.moments() == {}


@pytest.mark.parametrize(
    ("optimizer", "gone"),
    [("adam", "exp_avg_sq.0.bias"), ("muon", "exp_avg_sq.0.bias"), ("muon", f"momentum.{MATRIX}")],
)
@pytest.mark.parametrize("damage", ["missing", "other shape"])
def test_moments_of_another_model_are_an_error(damage: str, optimizer: str, gone: str) -> None:
    m = model()
    old, new = MAKE[optimizer](m), MAKE[optimizer](m)
    update(m, old, 1)
    saved = dict(old.moments())
    if damage == "missing":
        del saved[gone]
    else:
        saved[gone] = torch.zeros(5)
    moment, _, name = gone.partition(".")
    with pytest.raises(CheckpointError, match=f"{moment} of {name} is missing or has another shape: .*--fresh"):
        new.restore(saved, step=1)


@pytest.mark.parametrize("scale", [1e-36, 1e-25, 1e25])
def test_tiny_and_huge_matrices_are_brought_to_the_same(scale: float) -> None:
    """A momentum that nothing feeds any more gets there, and the squares of such numbers are 0 or infinite."""
    x = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(1))
    expected = orthogonalise(x)
    torch.testing.assert_close(orthogonalise(x * scale), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(24, 24), (24, 60), (60, 24)])
def test_singular_values_become_about_one_and_directions_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    u, _, v = torch.linalg.svd(torch.randn(shape).double(), full_matrices=False)
    x = u @ torch.diag(torch.logspace(3, 1, 24).double()) @ v
    inside = u.mT @ orthogonalise(x[None])[0] @ v.mT
    values = inside.diagonal()
    assert 0.65 < float(values.min()) < float(values.max()) < 1.25
    torch.testing.assert_close(inside, torch.diag(values), rtol=0, atol=1e-12)


@pytest.mark.parametrize("together", [1, 700, 1 << 22])
def test_matrices_do_not_meet_in_muon(monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    """However many of a shape go through the iteration at once, each becomes what it becomes alone."""
    m, gradients = build(TINY, 20, 20, IDS.pad), dict[str, torch.Tensor]()
    before = {name: p.detach().clone() for name, p in m.named_parameters()}
    for name, p in m.named_parameters():
        gradients[name] = p.grad = torch.randn_like(p)
    monkeypatch.setattr("transduce.training.optimizer.TOGETHER", together)
    build_optimizer("muon", m).step(0.01)
    matrices = [name for name, p in m.named_parameters() if p.ndim == 2 and name.startswith(("encoder.", "decoder."))]
    for name in matrices:
        alone = orthogonalise(gradients[name][None])[0] * 0.01 * 0.2 * max(before[name].shape) ** 0.5
        torch.testing.assert_close(m.get_parameter(name).detach(), before[name] - alone, rtol=0, atol=1e-6)


@DECAYS
def test_muon_is_pytorch_s(weight_decay: float) -> None:
    """Whose products are in bf16, hence the tolerance."""
    m, theirs = model(), model()
    ours = Muon(m, [MATRIX], weight_decay)
    matrix, other = m.get_parameter(MATRIX), theirs.get_parameter(MATRIX)
    reference: torch.optim.Optimizer = torch.optim.Muon(
        [other], lr=1.0, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    for seed in (1, 2, 3):
        before = matrix.detach().clone()
        update(m, ours, seed)
        reference.param_groups[0]["lr"] = 0.01 * seed
        other.grad = matrix.grad
        reference.step()
        assert not torch.equal(matrix, before)
    torch.testing.assert_close(matrix, other, rtol=0, atol=1e-3)
    assert float((matrix - model().get_parameter(MATRIX)).detach().abs().max()) > 0.01


def test_decay_is_pytorch_s() -> None:
    """Of matrices, embeddings among them; what a layer adds and scales by does not decay."""
    m = nn.ModuleList([nn.Embedding(5, 3), model()])
    theirs = deepcopy(m)
    ours = Adam(m, weight_decay=3.0)
    matrices, vectors = ([p for p in theirs.parameters() if (p.ndim > 1) == wide] for wide in (True, False))
    reference = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 3.0}, {"params": vectors, "weight_decay": 0.0}],
        betas=(0.9, 0.98),
        eps=1e-9,
    )
    for seed in (1, 2, 3):
        update(m, ours, seed)
        for group in reference.param_groups:
            group["lr"] = 0.01 * seed
        for p, other in zip(m.parameters(), theirs.parameters(), strict=True):
            other.grad = p.grad
        reference.step()
    for p, other in zip(m.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, other)


@DECAYS
def test_muon_leaves_the_rest_to_adam(weight_decay: float) -> None:
    one, two = model(), model()
    muon, adam = Muon(one, [MATRIX], weight_decay), Adam(two, weight_decay)
    for seed in (1, 2, 3):
        update(one, muon, seed)
        update(two, adam, seed)
    changed = {n for n, p in one.named_parameters() if not torch.equal(p, two.get_parameter(n))}
    assert changed == {MATRIX}


def test_no_gradient_changes_nothing() -> None:
    m = model()
    optimizer = Muon(m, [MATRIX])
    for gradient in (None, torch.zeros(4, 3)):
        m.get_parameter(MATRIX).grad = gradient
        optimizer.step(0.1)
    assert torch.equal(m.get_parameter(MATRIX), model().get_parameter(MATRIX))


@pytest.mark.parametrize("share", ["all", "none"])
def test_muon_has_the_layers_matrices(share: Sharing) -> None:
    m = build(replace(TINY, share_embeddings=share, positions="learned"), 20, 20, IDS.pad)
    optimizer = build_optimizer("muon", m)
    for p in m.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step(0.1)
    names = {name.removeprefix("momentum.") for name in optimizer.moments() if name.startswith("momentum.")}
    layers = {n for n, p in m.named_parameters() if p.ndim == 2 and n.startswith(("encoder.", "decoder."))}
    assert names == layers
    assert len(names) == 16  # 4 + 2 of the encoder's layer, 4 + 4 + 2 of the decoder's
