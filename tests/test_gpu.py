"""On a GPU: the same laws as on the processor. `pytest -m gpu` where there is one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.training.tiny import TINY, Witness, copying_corpus, make_trainer, tokenizers
from transduce.checkpoint import Progress
from transduce.data.collate import Batch, collate
from transduce.decoding.translator import DecodingConfig, Translator
from transduce.device import choose_device, choose_precision, has_fast_bf16
from transduce.nn.loss import label_smoothed_nll, reference_nll
from transduce.nn.transformer import Transformer, build
from transduce.text.pieces import IDS
from transduce.training.optimizer import Adam
from transduce.training.trainer import train_step
from transduce.training.world import World

pytestmark = pytest.mark.gpu

ROWS = [([9, 8], [7]), ([5], [6, 6, 6, 5, 9, 4]), ([4, 5, 6, 7, 8], [9, 9]), ([6, 6, 6], [8] * 9)]


@pytest.fixture
def device() -> torch.device:
    found = choose_device("auto")
    if found.type == "cpu":
        pytest.fail("no GPU that PyTorch can use: leave `-m gpu` out")
    return found


def model(p_drop: float = 0.0) -> Transformer:
    torch.manual_seed(1)
    return build(replace(TINY, p_drop=p_drop), 12, 12, IDS.pad)


def update(m: Transformer, batch: Batch, seed: int = 0) -> tuple[float, list[Tensor]]:
    loss, _ = train_step(m, [batch], Adam(m), rate=1e-3, eps_ls=0.1, clip=1.0, precision="fp32", seed=seed)
    return loss, [p.detach().cpu() for p in m.parameters()]


def test_an_update_is_that_of_the_processor(device: torch.device) -> None:
    batch = collate(ROWS)
    loss, weights = update(model().to(device), batch.to(device))
    expected, same = update(model(), batch)
    assert loss == pytest.approx(expected, rel=1e-4)
    for a, b in zip(weights, same, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-4)


def test_the_loss_is_the_formula(device: torch.device) -> None:
    torch.manual_seed(1)
    states, weight = torch.randn(2, 5, 8, device=device), torch.randn(12, 8, device=device)
    targets = torch.tensor([[4, 5, 6, IDS.pad, IDS.pad], [7, 8, 9, 10, 11]], device=device)
    ours, n = label_smoothed_nll(states, weight, targets, 0.1, IDS.pad)
    formula, _ = reference_nll(states, weight, targets, 0.1, IDS.pad)
    assert n == 8
    torch.testing.assert_close(ours, formula, rtol=1e-4, atol=1e-4)


def test_dropout_follows_from_the_step_and_runs_go_on_exactly(device: torch.device, tmp_path: Path) -> None:
    corpus = copying_corpus(tmp_path / "data")

    def losses(steps: int) -> list[float]:
        trainer = make_trainer(corpus)
        trainer.world = World(device=device)
        trainer.model.to(device)
        witness = Witness()
        trainer.run(
            Progress(),
            validate=witness.validate,
            save=lambda progress: None,
            listener=witness,
            stop=lambda: len(witness.steps) == steps,
        )
        return [result.loss for result in witness.steps]

    assert losses(6) == losses(6)
    assert losses(3) == losses(6)[:3]


def test_bf16_is_near_float32(device: torch.device) -> None:
    if not has_fast_bf16(device):
        assert choose_precision("auto", device)[0] == "fp32"
        return
    batch, m = collate(ROWS).to(device), model().to(device)
    bf16, _ = train_step(m, [batch], Adam(m), rate=0.0, eps_ls=0.1, clip=0.0, precision="bf16")
    fp32, _ = train_step(m, [batch], Adam(m), rate=0.0, eps_ls=0.1, clip=0.0, precision="fp32")
    assert bf16 == pytest.approx(fp32, rel=0.02)


@pytest.mark.parametrize("beam", [1, 4])
def test_it_decodes_what_the_processor_does(device: torch.device, beam: int) -> None:
    torch.manual_seed(1)
    size = tokenizers().source.size
    m = build(TINY, size, size, IDS.pad).eval()
    sources = ["a b c", "d", "e f g h a"]

    def outputs(where: torch.device) -> list[str]:
        decoding = DecodingConfig(beam=beam, extra_length=8)
        there = Translator(m.to(where), tokenizers(), decoding, device=where, precision="fp32")
        return there.translate(sources)

    assert outputs(device) == outputs(torch.device("cpu"))
