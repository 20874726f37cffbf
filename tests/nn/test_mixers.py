"""The rivals of self-attention, by law and by independent reference; and the whole Transformer made of each of them."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import run_time_checks
from tests.nn.laws import influences, no_peeking, padding_is_inert, step_equals_forward
from tests.nn.tiny import PAD, TINY, ids, rand, tiny
from transduce.errors import ConfigError
from transduce.nn import Attention, Convolution, MultiHeadAttention, Recurrence, RestrictedAttention
from transduce.nn.attention import KeyValue
from transduce.nn.convolution import Convolutional
from transduce.nn.dropout import Dropout
from transduce.nn.init import initialise
from transduce.nn.recurrence import Recurrent, reverse
from transduce.nn.restricted import RestrictedSelfAttention, neighbourhood_attention
from transduce.nn.transformer import LAYERS, Layer, TransformerConfig, build, decoder_mixer, encoder_mixer, layer_from
from transduce.sizes import flops_per_token, parameters, stacks

pytestmark = pytest.mark.unit

D = TINY.d_model
RIVALS: list[Layer] = [
    Recurrence(cell="lstm"),
    Recurrence(cell="gru"),
    Convolution(kernel=1),
    Convolution(kernel=3),
    Convolution(kernel=4, separable=True),
    Convolution(kernel=2, dilated=True),
    Convolution(kernel=3, dilated=True, separable=True),
    RestrictedAttention(neighbourhood=1),
    RestrictedAttention(neighbourhood=2),
    RestrictedAttention(neighbourhood=5),
]
rivals = pytest.mark.parametrize("layer", RIVALS, ids=str)
every_layer = pytest.mark.parametrize("layer", [Attention(), *RIVALS], ids=str)


def mixer(layer: Layer, index: int, causal: bool) -> Any:
    made = (decoder_mixer if causal else encoder_mixer)(replace(TINY, layer=layer), index)
    assert isinstance(made, nn.Module)
    return made.double()


def reach(layer: Layer, index: int) -> int | None:
    """How many positions back a causal layer looks at most."""
    match layer:
        case Convolution(kernel=kernel):
            return (kernel - 1) * layer.dilation(index)
        case RestrictedAttention(neighbourhood=r):
            return r - 1
        case _:
            return None


# ---- laws


@rivals
@pytest.mark.parametrize("index", [0, 1])
def test_stepping_equals_the_full_forward(layer: Layer, index: int) -> None:
    step_equals_forward(mixer(layer, index, causal=True), rand(4, 9, D))


@rivals
@pytest.mark.parametrize("length", [1, 2, 8])
def test_no_peeking(layer: Layer, length: int) -> None:
    no_peeking(mixer(layer, 0, causal=True), rand(2, length, D), reach(layer, 0))


@pytest.mark.parametrize("separable", [True, False])
def test_a_dilated_layer_takes_every_kernel_to_the_ith_position(separable: bool) -> None:
    layer = mixer(Convolution(kernel=3, dilated=True, separable=separable), 1, causal=True)
    seen = influences(layer, rand(1, 9, D))
    assert [torch.nonzero(row).flatten().tolist() for row in (seen[8], seen[4], seen[1])] == [[2, 5, 8], [1, 4], [1]]


@rivals
@pytest.mark.parametrize("causal", [True, False])
def test_padding_is_inert(layer: Layer, causal: bool) -> None:
    padding_is_inert(mixer(layer, 0, causal), rand(4, 7, D), [7, 2, 5, 1])


def test_in_the_encoder_both_sides_are_seen() -> None:
    def seen(layer: Layer) -> list[int]:
        return torch.nonzero(influences(mixer(layer, 0, causal=False), rand(1, 7, D))[3]).flatten().tolist()

    assert seen(Attention()) == seen(Recurrence()) == list(range(7))
    assert seen(Convolution(kernel=3)) == seen(RestrictedAttention(neighbourhood=3)) == [2, 3, 4]
    assert seen(Convolution(kernel=4)) == seen(RestrictedAttention(neighbourhood=4)) == [1, 2, 3, 4]


@rivals
@pytest.mark.parametrize("causal", [True, False])
def test_layers_work_under_autocast(layer: Layer, causal: bool) -> None:
    made = mixer(layer, 0, causal).float()
    x, real = torch.randn(3, 5, D), torch.arange(5) < torch.tensor([[5], [2], [4]])
    with torch.autocast("cpu", torch.bfloat16):
        whole = made(x, real)
        torch.testing.assert_close(
            whole.float()[real], made.double()(x.double(), real).float()[real], atol=0.1, rtol=0.1
        )
        if causal:
            made.float()
            state = made.start(3)
            for t in range(2):
                y, state = made.step(x[:, t], state)
                torch.testing.assert_close(y.float(), whole[:, t].float(), atol=0.1, rtol=0.1)


# ---- independent references


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_recurrence_is_the_equations_one_position_after_another(cell: Any) -> None:
    layer = Recurrent(cell, D, D).double()
    w_x, w_h, b_x, b_h = (p.detach() for p in layer.cells.all_weights[0])
    x, h, c = rand(2, 5, D), torch.zeros(2, D).double(), torch.zeros(2, D).double()
    for t in range(5):
        if cell == "lstm":
            i, f, g, o = (x[:, t] @ w_x.T + b_x + h @ w_h.T + b_h).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        else:
            (r_x, z_x, n_x), (r_h, z_h, n_h) = (x[:, t] @ w_x.T + b_x).chunk(3, -1), (h @ w_h.T + b_h).chunk(3, -1)
            z = (z_x + z_h).sigmoid()
            h = (1 - z) * (n_x + (r_x + r_h).sigmoid() * n_h).tanh() + z * h
        torch.testing.assert_close(layer(x)[:, t], h)


def test_reversing_leaves_padding_in_place() -> None:
    x = torch.arange(8.0).reshape(2, 4, 1)
    real = torch.tensor([[True, True, True, False], [True, True, True, True]])
    assert reverse(x, real).flatten().tolist() == [2, 1, 0, 3, 7, 6, 5, 4]
    assert torch.equal(reverse(x, None), reverse(x, torch.ones(2, 4, dtype=torch.bool)))


def test_convolution_is_its_loop() -> None:
    layer = Convolutional(D, kernel=3, dilation=2, separable=False, after=2).double()
    x, weight, bias = rand(1, 6, D), layer.taps.weight.detach(), layer.taps.bias
    assert bias is not None
    for t in range(6):
        expected = bias.detach().clone()
        for j in range(3):
            if 0 <= (place := t + 2 - (2 - j) * 2) < 6:
                expected += weight[:, :, j] @ x[0, place]
        torch.testing.assert_close(layer(x)[0, t], expected)


@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 0), (1, 2), (3, 3), (9, 9)])
@pytest.mark.parametrize("length", [1, 4, 5, 11])
def test_restricted_attention_is_attention_with_a_band_as_its_mask(before: int, after: int, length: int) -> None:
    attention = MultiHeadAttention(D, 3, 2, 5).double()
    layer = RestrictedSelfAttention(attention, before, after)
    x, real = rand(3, length, D), torch.arange(length) < torch.tensor([[length], [max(1, length // 2)], [1]])
    offset = torch.arange(length) - torch.arange(length)[:, None]
    band = (offset >= -before) & (offset <= after)
    torch.testing.assert_close(layer(x), attention(x, x, x, band[None]))
    masked = attention(x, x, x, band & real[:, None] | torch.eye(length, dtype=torch.bool))
    assert isinstance(masked, Tensor)
    torch.testing.assert_close(layer(x, real)[real], masked[real])


def test_restricted_attention_drops_weights() -> None:
    """Values that are rows of the identity make heads of the weights that multiply them."""
    q, k, identity = rand(2, 3, 7, 4), rand(2, 3, 7, 4), torch.eye(7, dtype=torch.float64).expand(2, 3, 7, 7)
    whole = neighbourhood_attention(q, KeyValue(k, identity), 2, 1, None)
    used = neighbourhood_attention(q, KeyValue(k, identity), 2, 1, None, Dropout(0.5))
    torch.testing.assert_close(used[used > 0], 2 * whole[used > 0])
    assert 0 < (used[whole > 0] > 0).double().mean() < 1


def test_restricted_attention_never_holds_n_by_n_scores() -> None:
    """What autograd keeps grows with n, not with its square."""

    def kept(n: int) -> int:
        numbers: list[int] = []

        def pack(x: Tensor) -> Tensor:
            numbers.append(x.numel())
            return x

        layer = RestrictedSelfAttention(MultiHeadAttention(D, 3), 4, 0)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            layer(torch.randn(1, n, D))
        return sum(numbers)

    assert kept(800) < 4.2 * kept(200)


# ---- the Transformer made of them


@every_layer
@pytest.mark.parametrize("where", ["attention_dropout", "activation_dropout"])
def test_dropout_inside_sublayers_has_a_place_in_each_of_them(layer: Layer, where: str) -> None:
    """Attention over the memory is attention, whatever the layers are."""
    model = tiny(layer=layer, **{where: 0.5})
    source, target = ids([5, 3]), ids([4, 2])
    assert not torch.equal(model(source, target), model(source, target))
    model.eval()
    assert torch.equal(model(source, target), model(source, target))


@every_layer
def test_a_transformer_of_each(layer: Layer) -> None:
    """No peeking, inert padding, and stepping with a beam's reordering, in the whole model."""
    model = tiny(layer=layer, norm="pre").eval()
    source, target = ids([5, 2, 3]), ids([6, 6, 6])
    states = model(source, target)
    other = target.clone()
    other[:, 4:] = ids([6, 6, 6])[:, 4:]
    torch.testing.assert_close(model(source, other)[:, :4], states[:, :4], rtol=0, atol=1e-12)
    torch.testing.assert_close(model(nn.functional.pad(source, (0, 3), value=PAD), target), states)
    torch.testing.assert_close(model(source[1:2, :2], target[1:2]), states[1:2])
    state, rows = model.start(source), torch.arange(3)
    for t in range(6):
        logits, after = model.step(target[rows, t], state)
        torch.testing.assert_close(logits, states[rows, t] @ model.output_weight.T)
        kept = torch.randperm(len(rows))[: max(1, len(rows) - t % 2)]
        rows, state = rows[kept], after.select(kept)


@every_layer
@pytest.mark.parametrize("share", ["all", "none"])
def test_sizes_are_counted(layer: Layer, share: Any) -> None:
    config = replace(TINY, layer=layer, share_embeddings=share)
    model = build(config, 30, 30, PAD)
    assert parameters(config, 30, 30) == sum(p.numel() for p in model.parameters())
    assert flops_per_token(replace(config, n_layers=3), 30, 30) > flops_per_token(config, 30, 30)
    assert [stack.sublayers for stack in stacks(config, 25)] == [2 * config.n_layers, 3 * config.n_layers]
    assert min(stack.kept for stack in stacks(config, 25)) > 0


@every_layer
def test_operations_are_those_that_are_counted(layer: Layer) -> None:
    """Forward, with 25 source and 25 target pieces, to a tenth: `flops_per_token` says what `FlopCounterMode` finds.

    (It finds too much in the backward pass of separable convolutions, as if they were not.)
    """
    from torch.utils.flop_counter import FlopCounterMode

    config = TransformerConfig(n_layers=2, d_model=64, d_ff=128, n_heads=4, d_k=16, d_v=16, layer=layer)
    model, rows = build(config, 500, 500, PAD).double(), torch.randint(4, 500, (2, 25))  # cells are opaque in float32
    with FlopCounterMode(display=False) as counter:
        model(rows, rows) @ model.output_weight.T
    assert 3 * counter.get_total_flops() / 50 == pytest.approx(flops_per_token(config, 500, 500), rel=0.1)


def test_gates_start_as_the_docstring_says() -> None:
    cells = nn.LSTM(8, 16)
    initialise(cells)
    w_x, w_h, b_x, b_h = cells.all_weights[0]
    assert b_x.chunk(4)[1].eq(1).all()
    assert b_x.sum() == 16
    assert b_h.eq(0).all()
    for matrix in (w_x, w_h):
        for gate in matrix.chunk(4):
            bound = (6 / sum(gate.shape)) ** 0.5
            assert 0.7 * bound < gate.abs().max() <= bound
    gru = nn.GRU(8, 16)
    initialise(gru)
    assert gru.bias_ih_l0.eq(0).all()  # type: ignore[operator]
    convolution = nn.Conv1d(8, 8, 3)
    initialise(convolution)
    assert convolution.bias is not None
    assert convolution.bias.eq(0).all()


# ---- by name


@every_layer
def test_plain_values_and_back(layer: Layer) -> None:
    from dataclasses import asdict

    assert layer_from(asdict(layer)) == layer


def test_what_cannot_be() -> None:
    with pytest.raises(
        ConfigError, match="model.layer.kind = 'mamba': no such layer type. Use one of self-attention, r"
    ):
        layer_from({"kind": "mamba"})
    with pytest.raises(ConfigError, match="model.layer.kernel = 0: must be at least 1"):
        Convolution(kernel=0)
    with pytest.raises(ConfigError, match="model.layer.neighbourhood = 0: must be at least 1"):
        RestrictedAttention(neighbourhood=0)
    assert list(LAYERS) == ["self-attention", "recurrent", "convolutional", "restricted"]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("kernel", "index", "length"), [(1, 3, 4), (2, 3, 5), (3, 2, 7), (5, 2, 30), (3, 1, 1)])
def test_positions_beyond_the_ends_cost_nothing_and_change_nothing(
    kernel: int, index: int, length: int, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = mixer(Convolution(kernel=kernel, dilated=True), index, causal)
    x = rand(2, length, D)
    taken: list[int] = []
    pad = nn.functional.pad

    def counted(x: Tensor, sides: tuple[int, int]) -> Tensor:
        taken.append(sum(sides))
        return pad(x, sides)

    monkeypatch.setattr(nn.functional, "pad", counted)
    ours = layer(x)
    monkeypatch.undo()
    whole = pad(x.transpose(1, 2), (layer.before, layer.after))
    torch.testing.assert_close(ours, layer.taps(whole).transpose(1, 2))
    assert taken[0] <= 2 * (length - 1)


def test_an_unknown_cell_is_refused_from_python_too() -> None:
    with (
        run_time_checks(on=False),
        pytest.raises(ConfigError, match=r"model.layer.cell = 'LSTM': choose one of lstm, gru."),
    ):
        layer_from({"kind": "recurrent", "cell": "LSTM"})
