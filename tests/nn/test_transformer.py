"""The whole model against `torch.nn.Transformer` with the same weights, its size, and its laws."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.nn.tiny import BOS, PAD, SIZE, TINY, VARIANTS, backward, grad, gradients, ids, tiny, variant_name
from transduce.errors import ConfigError
from transduce.nn.attention import MultiHeadAttention
from transduce.nn.positions import SinusoidalPositions
from transduce.nn.sublayer import Norm
from transduce.nn.transformer import Transformer, TransformerConfig, build

pytestmark = pytest.mark.unit

variants = pytest.mark.parametrize("changes", VARIANTS, ids=variant_name)


# ---- against torch


def torch_s(ours: Transformer, config: TransformerConfig) -> nn.Transformer:
    """`torch.nn.Transformer` with our weights, and without the norm that it adds after post-norm stacks."""
    options: dict[str, Any] = {
        "d_model": config.d_model,
        "nhead": config.n_heads,
        "dim_feedforward": config.d_ff,
        "dropout": 0.0,
        "batch_first": True,
        "norm_first": config.norm == "pre",
        "dtype": torch.float64,
    }

    def last() -> nn.LayerNorm | None:
        return nn.LayerNorm(config.d_model, dtype=torch.float64) if config.norm == "pre" else None

    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(**options), config.n_layers, last(), enable_nested_tensor=False
    )
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(**options), config.n_layers, last())
    theirs = nn.Transformer(**options, custom_encoder=encoder, custom_decoder=decoder)
    with torch.no_grad():
        for parameter, weights in pairs(theirs, ours):
            parameter.copy_(torch.cat([w.detach() for w in weights]))
    return theirs


def pairs(theirs: nn.Transformer, ours: Transformer) -> list[tuple[Tensor, list[Tensor]]]:
    """Each of their parameters with those of ours that it is made of."""
    found: list[tuple[Tensor, list[Tensor]]] = []

    def attention(a: Any, b: MultiHeadAttention) -> None:
        projections = (b.w_q, b.w_k, b.w_v)
        found.append((a.in_proj_weight, [p.weight for p in projections]))
        found.append((a.in_proj_bias, [p.bias for p in projections]))
        same(a.out_proj, b.w_o)

    def same(a: Any, b: Any) -> None:
        found.extend((p, [q]) for p, q in zip(a.parameters(), b.parameters(), strict=True))

    stacks: list[tuple[Any, Any]] = [(theirs.encoder, ours.encoder), (theirs.decoder, ours.decoder)]
    for a_stack, b_stack in stacks:
        for a, b in zip(a_stack.layers, b_stack.layers, strict=True):
            attention(a.self_attn, b.mixer.attention)
            same(a.norm1, b.around_mixer)
            same(a.linear1, b.feed_forward.w_1)
            same(a.linear2, b.feed_forward.w_2)
            if b_stack is ours.decoder:
                attention(a.multihead_attn, b.cross_attention)
                same(a.norm2, b.around_cross_attention)
                same(a.norm3, b.around_feed_forward)
            else:
                same(a.norm2, b.around_feed_forward)
        if a_stack.norm is not None:
            same(a_stack.norm, b_stack.norm)
    return found


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_values_and_gradients_are_torch_s(norm: Norm) -> None:
    ours = tiny(norm=norm, d_k=4, d_v=4, share_embeddings="target")
    theirs = torch_s(ours, replace(TINY, norm=norm, d_k=4, d_v=4))
    compared = pairs(theirs, ours)
    embedded = {name for name, _ in ours.named_parameters() if name.endswith("table.weight")}
    assert sum(len(b) for _, b in compared) == len(list(ours.parameters())) - len(embedded)  # none was forgotten

    source, target = ids([6, 4, 2]), ids([5, 3, 4])
    x, y = (side(rows).detach().requires_grad_() for side, rows in ((ours.source, source), (ours.target, target)))
    padding = source == PAD
    future = ~torch.ones(5, 5, dtype=torch.bool).tril()
    expected = theirs(x, y, tgt_mask=future, src_key_padding_mask=padding, memory_key_padding_mask=padding)
    states = ours(source, target)
    torch.testing.assert_close(states, expected)

    direction = torch.randn_like(states)
    backward((states * direction).sum())
    backward((expected * direction).sum())
    for parameter, weights in compared:
        torch.testing.assert_close(torch.cat([grad(w) for w in weights]), grad(parameter))
    for side, rows, into in ((ours.source, source, x), (ours.target, target, y)):
        by_piece = torch.zeros_like(side.table.weight).index_add_(0, rows.flatten(), grad(into).flatten(0, 1))
        torch.testing.assert_close(grad(side.table.weight), by_piece * TINY.d_model**0.5)


# ---- its size


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (TransformerConfig(), 63_082_496),
        (TransformerConfig(d_model=1024, d_ff=4096, n_heads=16, p_drop=0.3), 214_245_376),
    ],
    ids=["base", "big"],
)
def test_parameters_with_37000_shared_pieces(config: TransformerConfig, expected: int) -> None:
    with torch.device("meta"):
        model = build(config, 37_000, 37_000, PAD)
    assert sum(p.numel() for p in model.parameters()) == expected


def test_sharing_says_which_matrices_are_one() -> None:
    one = tiny(share_embeddings="all")
    assert one.source.table is one.target.table
    assert one.output_weight is one.target.table.weight
    two = tiny(share_embeddings="target")
    assert two.source.table is not two.target.table
    assert two.output_weight is two.target.table.weight
    three = tiny(share_embeddings="none")
    assert three.output is not None
    assert three.output_weight is three.output.weight
    assert three.output_weight.shape == (SIZE, TINY.d_model)
    assert three.output.bias is None


# ---- its laws


@variants
def test_no_peeking(changes: dict[str, Any]) -> None:
    model = tiny(**changes)
    source, target = ids([5, 3]), ids([6, 6])
    states = model(source, target)
    for t in range(6):
        other = target.clone()
        other[:, t:] = ids([6, 6])[:, t:]
        torch.testing.assert_close(model(source, other)[:, :t], states[:, :t], rtol=0, atol=1e-13)


@variants
def test_padding_is_inert(changes: dict[str, Any]) -> None:
    """More padding on either side changes no real state and no gradient; without any, rows alone are the same."""
    model = tiny(**changes)
    source, target = ids([5, 2, 3]), ids([3, 6, 1])
    real = target != PAD
    direction = torch.randn(int(real.sum()), TINY.d_model, dtype=torch.float64)
    states = model(source, target)[real]
    backward((states * direction).sum())
    before = gradients_of_states(model)
    model.zero_grad()

    wider = [nn.functional.pad(rows, (0, 3), value=PAD) for rows in (source, target)]
    more = model(*wider)[nn.functional.pad(real, (0, 3))]
    torch.testing.assert_close(more, states)
    backward((more * direction).sum())
    torch.testing.assert_close(gradients_of_states(model), before)
    assert (grad(model.source.table.weight)[PAD] == 0).all()

    alone = [
        model(source[i : i + 1, :s], target[i : i + 1, :t])[0] for i, (s, t) in enumerate([(5, 3), (2, 6), (3, 1)])
    ]
    torch.testing.assert_close(torch.cat(alone), states)


def gradients_of_states(model: Transformer) -> dict[str, Tensor]:
    """Of every parameter but a separate output matrix, which states do not see."""
    if model.output is not None:
        model.output.weight.grad = torch.zeros_like(model.output.weight)
    return gradients(model)


@variants
@pytest.mark.parametrize("copies", [1, 3])
def test_stepping_equals_the_full_forward(changes: dict[str, Any], copies: int) -> None:
    """Rows are reordered and doubled inside their sources, as by a beam, and sources leave and change places."""
    model = tiny(**changes).eval()
    source = ids([5, 1, 3, 4])
    state = model.start(source, copies)
    sources, prefixes = torch.arange(4), torch.full((4 * copies, 0), PAD)
    previous = torch.full((4 * copies,), BOS)
    for t in range(7):
        prefixes = torch.cat([prefixes, previous[:, None]], dim=1)
        logits, after = model.step(previous, state)
        whole = model(source[sources].repeat_interleave(copies, dim=0), prefixes)
        torch.testing.assert_close(logits, whole[:, -1] @ model.output_weight.T)
        again, _ = model.step(previous, state)
        assert torch.equal(logits, again), "a step changed the state that it was given"
        staying = torch.arange(len(sources))
        if t in (1, 4):
            staying = staying[torch.randperm(len(staying))[:-1]]
        rows = (staying[:, None] * copies + torch.randint(copies, (len(staying), copies))).flatten()
        sources, prefixes, state = sources[staying], prefixes[rows], after.select(rows)
        previous = torch.randint(4, SIZE, (len(rows),))
    assert state.position == 7


def test_stepping_under_autocast_is_close_to_the_full_forward() -> None:
    model = tiny().float().eval()
    source, target = ids([5, 2]), ids([4, 4])
    with torch.autocast("cpu", torch.bfloat16):
        whole = model(source, target) @ model.output_weight.T
        state = model.start(source)
        for t in range(4):
            logits, state = model.step(target[:, t], state)
            torch.testing.assert_close(logits, whole[:, t], rtol=0.05, atol=0.1)


def test_sequences_longer_than_the_table_of_sinusoids() -> None:
    model = tiny(n_layers=1).eval()
    for side in (model.source, model.target):
        side.positions = SinusoidalPositions(TINY.d_model, n=4).double()
    source, target = ids([7]), ids([11])
    state = model.start(source)
    for t in range(11):
        logits, state = model.step(target[:, t], state)
    torch.testing.assert_close(logits, model(source, target)[:, -1] @ model.output_weight.T)


@pytest.mark.parametrize("where", ["p_drop", "attention_dropout", "activation_dropout"])
def test_dropout_is_everywhere_in_training_and_nowhere_in_evaluation(where: str) -> None:
    model = tiny(**{where: 0.5})
    source, target = ids([5, 3]), ids([4, 2])
    assert not torch.equal(model(source, target), model(source, target))
    model.eval()
    assert torch.equal(model(source, target), model(source, target))
    torch.testing.assert_close(model(source, target), _without_dropout(model)(source, target))


def _without_dropout(model: Transformer) -> Transformer:
    other = tiny()
    other.load_state_dict(model.state_dict())
    return other.train()


# ---- configs that cannot be


@pytest.mark.parametrize("name", ["n_layers", "d_model", "d_ff", "n_heads", "d_k", "d_v", "max_positions"])
def test_sizes_are_at_least_one(name: str) -> None:
    changes: dict[str, Any] = {name: 0}
    with pytest.raises(ConfigError, match=f"model.{name} = 0: must be at least 1."):
        replace(TINY, **changes)


@pytest.mark.parametrize("where", ["p_drop", "attention_dropout", "activation_dropout"])
@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_dropout_is_a_probability_below_one(where: str, p: float) -> None:
    changes: dict[str, Any] = {where: p}
    with pytest.raises(ConfigError, match=f"model.{where} = {p}: a probability"):
        replace(TINY, **changes)


def test_d_model_is_even() -> None:
    with pytest.raises(ConfigError, match="model.d_model = 7: must be even"):
        TransformerConfig(d_model=7)


@pytest.mark.parametrize("name", ["positions", "norm", "share_embeddings"])
def test_choices_are_known(name: str) -> None:
    config = replace(TINY)
    object.__setattr__(config, name, "both")  # the constructor's types are checked in tests, but not outside
    with pytest.raises(ConfigError, match=f"model.{name} = 'both': no such choice. Use one of "):
        config.__post_init__()


def test_one_matrix_needs_one_vocabulary() -> None:
    with pytest.raises(ConfigError, match="needs one vocabulary, but source has 9 pieces and target 8."):
        build(TINY, 9, 8, PAD)
