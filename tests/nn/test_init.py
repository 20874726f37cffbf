"""Initial weights: what their docstring says, from torch's generator."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from transduce.nn.init import initialise
from transduce.nn.positions import LearnedPositions
from transduce.nn.transformer import Transformer, TransformerConfig, build

pytestmark = pytest.mark.unit


def fresh() -> Transformer:
    config = TransformerConfig(
        n_layers=1, d_model=64, d_ff=96, n_heads=2, d_k=8, positions="learned", max_positions=300
    )
    return build(config, 500, 500, 0)


def test_matrices_are_glorot_uniform_and_biases_zero() -> None:
    for module in fresh().modules():
        if isinstance(module, nn.Linear):
            bound = math.sqrt(6 / (module.in_features + module.out_features))
            assert module.weight.abs().max() <= bound
            assert module.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
            assert (module.bias == 0).all()
        if isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()


def test_embeddings_times_sqrt_d_model_have_unit_variance() -> None:
    model = fresh()
    assert (model.target.table.weight.std() * 8).item() == pytest.approx(1, abs=0.02)
    for side in (model.source, model.target):
        assert isinstance(weight := side.positions.weight, nn.Parameter)
        assert (weight.std() * 8).item() == pytest.approx(1, abs=0.03)


def test_the_seed_decides() -> None:
    models = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        models.append(nn.utils.parameters_to_vector(fresh().parameters()))
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


def test_a_layer_without_bias_is_fine() -> None:
    layer = nn.Linear(3, 4, bias=False)
    initialise(layer)
    assert layer.weight.abs().max() <= math.sqrt(6 / 7)


@pytest.mark.parametrize("groups", [1, 64])
def test_a_convolution_keeps_the_variance_of_its_input(groups: int) -> None:
    torch.manual_seed(1)
    layer = nn.Conv1d(64, 64, 5, padding=2, groups=groups)
    initialise(layer)
    assert layer(torch.randn(8, 64, 500)).std().item() == pytest.approx(1, abs=0.1)
    if groups == 1:
        torch.manual_seed(1)
        before = nn.Conv1d(64, 64, 5, padding=2)
        nn.init.xavier_uniform_(before.weight)
        assert torch.equal(layer.weight, before.weight)  # as runs of earlier versions had it


def test_learned_positions_are_found_under_any_name() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.where = LearnedPositions(64, 300)
            self.positions = nn.LayerNorm(8)

    initialise(model := Model())
    assert (model.where.weight.std() * 8).item() == pytest.approx(1, abs=0.03)
    assert (model.positions.weight == 1).all()


@pytest.mark.parametrize("options", [{"num_layers": 2, "bidirectional": True}, {"bias": False}, {"proj_size": 16}])
def test_all_layers_and_directions_of_an_lstm(options: dict[str, Any]) -> None:
    cells = nn.LSTM(32, 32, **options)
    initialise(cells)
    for name, parameter in cells.named_parameters():
        if parameter.dim() == 1:
            forget = parameter[32:64]
            assert (forget == (1 if name.startswith("bias_ih") else 0)).all()
            assert parameter.count_nonzero() == forget.count_nonzero()
        else:
            for gate in parameter.chunk(1 if name.startswith("weight_hr") else 4):
                bound = math.sqrt(6 / sum(gate.shape))
                assert 0.9 * bound < gate.abs().max() <= bound
