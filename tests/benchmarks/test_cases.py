"""Counted work against two other counts; processes that fail; rounds that become one record."""

import sys
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cases import SHAPES, Case, Record, Shape, cases, isa_environment, merged, run_one, work
from benchmarks.ours import config
from transduce.sizes import SENTENCE, flops_per_token, parameters

pytestmark = pytest.mark.unit

SMALL = Shape(n_layers=2, d_model=16, d_ff=24, n_heads=2, vocabulary=30)


@pytest.mark.parametrize(("source", "target"), [(5, 7), (9, 3)])
def test_flops_are_those_that_pytorch_counts_in_its_own_transformer(source: int, target: int) -> None:
    s, rows = SMALL, 3
    model = nn.Transformer(s.d_model, s.n_heads, s.n_layers, s.n_layers, s.d_ff, 0.0, batch_first=True)
    x, y = (torch.randn(rows, n, s.d_model, requires_grad=True) for n in (source, target))
    table = torch.randn(s.vocabulary, s.d_model, requires_grad=True)
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):
        (model(x, y) @ table.T).sum().backward()
    assert counter.get_total_flops() == rows * s.flops(source, target)


@pytest.mark.parametrize("shape", [SMALL, *SHAPES.values()])
def test_flops_are_the_package_s_for_its_length(shape: Shape) -> None:
    one = flops_per_token(config(shape), shape.vocabulary, shape.vocabulary)
    assert shape.flops(SENTENCE, SENTENCE) == SENTENCE * one


def test_work_is_that_of_the_tokens_without_padding() -> None:
    batches = [[([11, 12], [13]), ([11], [12, 13, 14])]]
    assert work(SMALL, batches) == SMALL.flops(3, 2) + SMALL.flops(2, 4)


def test_shapes_are_the_models_that_they_name() -> None:
    base = SHAPES["base"]
    assert parameters(config(base), base.vocabulary, base.vocabulary) == 63_082_496
    tiny = config(SHAPES["tiny"])
    assert (tiny.n_layers, tiny.d_model, tiny.d_ff, tiny.n_heads, tiny.d_k) == (4, 128, 256, 4, 32)


def test_the_tiny_model_is_timed_early_in_training_too() -> None:
    asked = cases(["base", "tiny"], ["fp32"])
    assert [(c.model, c.state) for c in asked] == [("base", "later"), ("tiny", "later"), ("tiny", "early")]
    assert replace(asked[0], precision="bf16").options == [
        *("--model", "base"),
        *("--precision", "bf16"),
        *("--state", "later"),
    ]
    assert Case(model="tiny", precision="fp32") == asked[1]


def record(passes: list[float], **more: object) -> Record:
    """What a process prints of a pass of two steps with 100 target tokens in all."""
    return {
        "pass_seconds": passes,
        "target_tokens": 100,
        "steps": 2,
        "warm_up_seconds": 2.0,
        "cpu_seconds_per_step": 1.0,
        "gemm_peak_gflops": 50.0,
        "mfu": 0.2,
        "peak_rss_mib": 300,
        **more,
    }


def test_rounds_become_medians_of_all_passes() -> None:
    one = merged([record([4.0, 2.0]), record([1.0, 2.0, 8.0], peak_rss_mib=301, mfu=0.4, warm_up_seconds=3.0)])
    assert one["tokens_per_second"] == 50.0
    assert one["seconds_per_step"] == 1.0
    assert one["spread"] == 3.5
    assert (one["peak_rss_mib"], one["mfu"], one["rounds"]) == (301, pytest.approx(0.3), 2)


def test_one_failure_is_the_case_s() -> None:
    assert merged([record([1.0]), {"error": "out of memory"}]) == {"error": "out of memory"}


def test_processes() -> None:
    printed = 'import os; print("noise"); print(\'{"a": "\' + os.environ["B"] + \'"}\')'
    assert run_one([sys.executable, "-c", printed], {"B": "c"}) == {"a": "c"}
    assert run_one([sys.executable, "-c", "raise SystemExit('no such peer')"], {}) == {"error": "no such peer"}
    assert run_one([sys.executable, "-c", "pass"], {}) == {"error": "nothing printed"}
    assert run_one([sys.executable, "-c", "input()"], {"PYTHONPATH": ""}, seconds=0.0) == {
        "error": "not done after 0 s"
    }


def test_instructions_are_hidden_from_both_libraries() -> None:
    assert isa_environment("native") == {}
    assert isa_environment("avx2") == {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
