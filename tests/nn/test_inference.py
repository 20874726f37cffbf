"""Packed weights and slots against the plain `Transformer`, which is the reference."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from transduce.data.collate import pad_rows
from transduce.errors import ConfigError
from transduce.nn import Transformer, TransformerConfig, build
from transduce.nn.inference import Memories, PackedTransformer, runs_packed
from transduce.nn.packed import Format
from transduce.nn.recurrence import Recurrence
from transduce.nn.transformer import TransformerState
from transduce.text.pieces import IDS

pytestmark = pytest.mark.unit

TINY = TransformerConfig(n_layers=2, d_model=16, d_ff=32, n_heads=2, d_k=8, d_v=8)
KINDS = [
    TINY,
    replace(TINY, norm="pre", share_embeddings="none"),
    replace(TINY, residual=False, share_embeddings="target"),
    replace(TINY, residual=False, norm="pre"),
    replace(TINY, positions="learned", max_positions=90, n_heads=3, d_k=6, d_v=4),
]
SOURCES = [[5, 6, 7, 8, IDS.eos], [9, IDS.eos], [4, 8, IDS.eos]]
BEAM = 3


def model(config: TransformerConfig = TINY) -> Transformer:
    torch.manual_seed(3)
    built = build(config, 12, 12, IDS.pad).eval()
    for p in built.parameters():  # biases and norms too
        p.data += 0.1 * torch.randn_like(p)
    return built


def walk(
    plain: Transformer, form: Format, steps: int, sources: list[list[int]] = SOURCES, beam: int = BEAM
) -> list[tuple[Tensor, Tensor]]:
    """Logits of both along a random walk, in which the prefixes of each sentence change places at every step."""
    packed = PackedTransformer(plain, form)
    memory = Memories(packed, len(sources), beam, 5)
    encoded = packed.encode(sources)
    for place in range(len(sources)):
        memory.join(place, encoded, place)
    state: TransformerState = plain.start(pad_rows(sources), beam)
    previous = torch.full((len(sources) * beam,), IDS.bos)
    found = []
    for position in range(steps):
        expected, state = plain.step(previous, state)
        found.append((packed.logits(packed.step(previous, [position] * len(sources), memory)), expected))
        parents = torch.randint(beam, (len(sources), beam)) + beam * torch.arange(len(sources))[:, None]
        memory.select(parents.flatten())
        state = state.select(parents.flatten())
        previous = torch.randint(4, 12, (len(sources) * beam,))
    return found


@torch.no_grad()
@pytest.mark.parametrize("config", KINDS)
def test_packed_steps_are_the_plain_ones(config: TransformerConfig) -> None:
    for found, expected in walk(model(config), "fp32", steps=70):  # long enough for slots to be squeezed several times
        assert torch.allclose(found, expected, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("form", "tolerance"), [("bf16", 0.05), ("int8", 0.05)])
def test_narrow_formats_are_close(form: Format, tolerance: float) -> None:
    for found, expected in walk(model(), form, steps=20):
        assert (found.float() - expected).norm() <= tolerance * expected.norm()


@torch.no_grad()
@pytest.mark.parametrize("form", ["bf16", "int8"])
def test_narrow_memories_of_many_rows_are_close(form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transduce.nn.inference.has_fast_bf16", lambda device: True)
    memory = Memories(PackedTransformer(model(), form), 9, 4, 5)
    assert {part.dtype for part in (*memory.k, *memory.v, *memory.source_k, *memory.source_v)} == {torch.bfloat16}
    for found, expected in walk(model(), form, steps=20, sources=SOURCES * 3, beam=4):
        assert (found.float() - expected).norm() <= 0.05 * expected.norm()


@torch.no_grad()
def test_a_sentence_that_joins_reads_nothing_of_the_one_before() -> None:
    plain = model()
    packed = PackedTransformer(plain, "fp32")
    memory = Memories(packed, 2, 1, 5)
    encoded = packed.encode(SOURCES)
    memory.join(0, encoded, 0)
    memory.join(1, encoded, 1)
    for position in range(3):
        packed.step(torch.tensor([4, 5]), [position] * 2, memory)
    memory.join(0, encoded, 2)
    first = packed.logits(packed.step(torch.tensor([IDS.bos, 6]), [0, 3], memory))[0]
    memory.keep([0])
    second = packed.logits(packed.step(torch.tensor([7]), [1], memory))[0]
    state = plain.start(pad_rows([SOURCES[2]]))
    for piece, found in ((IDS.bos, first), (7, second)):
        expected, state = plain.step(torch.tensor([piece]), state)
        assert torch.allclose(found, expected[0], atol=1e-4)


def test_only_self_attention_is_packed() -> None:
    other = model(replace(TINY, layer=Recurrence()))
    assert runs_packed(model())
    assert not runs_packed(other)
    with pytest.raises(ConfigError, match="self-attention"):
        PackedTransformer(other, "fp32")


def test_int8_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transduce.nn.inference.has_int8", lambda: False)
    with pytest.raises(ConfigError, match="no fast 8-bit products"):
        PackedTransformer(model(), "int8")


@torch.no_grad()
@pytest.mark.parametrize("form", ["fp32", "bf16", "int8"])
def test_later_training_does_not_show(form: Format) -> None:
    """But for the embeddings, which are the model's own."""
    plain = model(replace(TINY, share_embeddings="none"))
    packed = PackedTransformer(plain, form)
    embeddings = {plain.source.table.weight, plain.target.table.weight}

    def logits() -> Tensor:
        memory = Memories(packed, 1, 1, 5)
        memory.join(0, packed.encode([SOURCES[0]]), 0)
        return packed.logits(packed.step(torch.tensor([IDS.bos]), [0], memory))

    before = logits()
    for parameter in plain.parameters():
        if parameter not in embeddings:
            parameter.add_(1.0)
    assert torch.equal(logits(), before)
