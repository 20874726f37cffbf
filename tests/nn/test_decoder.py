"""The decoder stack: no peeking, source padding is inert, and the memory as searches reorder it."""

import pytest
import torch
from torch import Tensor

from tests.nn.laws import no_peeking
from tests.nn.tiny import TINY, backward, grad, rand, tiny
from transduce.nn.attention import KeyValue
from transduce.nn.decoder import Memory

pytestmark = pytest.mark.unit

connections = pytest.mark.parametrize(
    ("norm", "residual"), [("post", True), ("post", False), ("pre", True), ("pre", False)]
)


@connections
def test_no_peeking(norm: str, residual: bool) -> None:
    decoder = tiny(norm=norm, residual=residual).decoder
    memory, memory_mask = rand(2, 3, TINY.d_model), torch.ones(2, 1, 3, dtype=torch.bool)
    no_peeking(lambda x: torch.as_tensor(decoder(x, memory, memory_mask)), rand(2, 5, TINY.d_model))


@connections
def test_source_padding_is_inert(norm: str, residual: bool) -> None:
    decoder = tiny(norm=norm, residual=residual).decoder
    targets = rand(1, 5, TINY.d_model)

    def decode(memory: Tensor, mask: Tensor) -> Tensor:
        return torch.as_tensor(decoder(targets.expand(len(memory), 5, -1), memory, mask))

    memory = rand(3, 4, TINY.d_model).requires_grad_()
    real = torch.arange(4) < torch.tensor([4, 1, 2])[:, None]
    padded = decode(memory, real[:, None])
    for i, n in enumerate((4, 1, 2)):
        alone = decode(memory[i : i + 1, :n], torch.ones(1, 1, n, dtype=torch.bool))
        torch.testing.assert_close(padded[i], alone[0])
    backward((padded * torch.randn_like(padded)).sum())
    assert (grad(memory)[real].abs().amax(-1) > 0).all()
    assert (grad(memory)[~real] == 0).all()


def test_memory_rows_belong_to_sources() -> None:
    kv = KeyValue(rand(3, 2, 4, 5), rand(3, 2, 4, 6))
    memory = Memory(kv, torch.rand(3, 1, 4) > 0.5, copies=2)
    assert memory.select(torch.tensor([1, 1, 3, 2, 4, 5])) is memory  # only places inside sources changed
    chosen = memory.select(torch.tensor([5, 4, 0, 0]))
    assert torch.equal(chosen.kv.k, kv.k[[2, 0]])
    assert torch.equal(chosen.kv.v, kv.v[[2, 0]])
    assert torch.equal(chosen.mask, memory.mask[[2, 0]])
    assert chosen.copies == 2
    assert len(memory.select(torch.tensor([], dtype=torch.long)).mask) == 0
