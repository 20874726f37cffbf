"""Devices and number formats: what is chosen, why, and what is refused."""

import ctypes
from typing import cast

import pytest
import torch

from tests.conftest import run_time_checks
from transduce import device
from transduce.device import autocast, choose_device, choose_precision, has_fast_bf16, tune_process
from transduce.errors import ConfigError

pytestmark = pytest.mark.unit

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Which devices PyTorch says are there."""
    there = {"cuda": False, "mps": False}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there["cuda"])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: there["mps"])
    return there


# ---- devices


def test_auto_takes_a_gpu_where_there_is_one(gpus: dict[str, bool]) -> None:
    assert choose_device("auto") == CPU
    gpus["mps"] = True
    assert choose_device("auto") == MPS
    gpus["cuda"] = True
    assert choose_device("auto") == CUDA
    assert choose_device("cpu") == CPU
    assert choose_device("mps") == MPS


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_what_is_not_there_is_an_error(gpus: dict[str, bool], name: device.DeviceName) -> None:
    with pytest.raises(ConfigError, match=f"device = '{name}', but this machine has none .* Use 'cpu', or 'auto'."):
        choose_device(name)


def test_an_unknown_device_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="device = 'tpu': choose one of auto, cpu, cuda, mps."):
        choose_device("tpu")


# ---- precision


@pytest.mark.parametrize(
    ("capabilities", "gain", "expected"),
    [
        ({}, 3.0, False),
        ({"avx2": True, "amx_bf16": False}, 3.0, False),
        ({"avx512_bf16": True}, 2.2, True),  # AMD Zen 4
        ({"avx512_bf16": True}, 0.5, False),  # an Intel Xeon whose AMX a virtual machine hides
        ({"avx512_bf16": True, "amx_bf16": True}, 0.5, True),  # AMX needs no measuring
    ],
)
def test_bf16_is_fast_where_amx_or_a_measurement_says_so(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], gain: float, expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(device, "bf16_gain", lambda: gain)
    assert has_fast_bf16(CPU) is expected


def test_a_gpu_has_bf16_or_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert has_fast_bf16(CUDA)
    assert not has_fast_bf16(MPS)


def test_precision_follows_the_hardware_or_the_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "has_fast_bf16", lambda where: False)
    assert choose_precision("auto", CPU) == ("fp32", "fp32: bf16 is not faster on this cpu")
    assert choose_precision("fp32", CPU) == ("fp32", "fp32 as asked")
    assert choose_precision("bf16", CPU) == ("bf16", "bf16 as asked, but slower than fp32 on this cpu")
    monkeypatch.setattr(device, "has_fast_bf16", lambda where: True)
    assert choose_precision("auto", CPU)[0] == "bf16"
    assert choose_precision("bf16", CPU) == ("bf16", "bf16 as asked")
    assert choose_precision("fp32", CPU) == ("fp32", "fp32 as asked")


def test_an_unknown_precision_is_an_error_that_lists_the_known() -> None:
    with run_time_checks(on=False), pytest.raises(ConfigError, match="'int4': choose one of auto, fp32, bf16"):
        device.choose_precision(cast(device.AskedPrecision, "int4"), CPU)


def test_bf16_is_refused_where_it_cannot_be() -> None:
    with pytest.raises(ConfigError, match="precision = 'bf16' does not run on mps. Use 'fp32' or 'auto'."):
        choose_precision("bf16", MPS)


def test_autocast_multiplies_in_bf16_and_keeps_weights() -> None:
    layer = torch.nn.Linear(2, 2)
    with autocast("bf16", CPU):
        assert layer(torch.ones(1, 2)).dtype == torch.bfloat16
    with autocast("fp32", CPU):
        assert layer(torch.ones(1, 2)).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


# ---- the process


def test_a_process_is_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    class Libc:
        def mallopt(self, parameter: int, value: int) -> int:
            asked.append((parameter, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Libc())
    tune_process(1)
    assert torch.get_num_threads() == 1
    assert (torch.tensor([1e-38]) * 1e-2).item() == 0  # a denormal, flushed
    assert asked == [(-8, 1), (-4, 0), (-1, -1)]


def test_without_glibc_it_is_only_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: no such library")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    torch.set_flush_denormal(False)
    tune_process(1)
    assert torch.get_num_threads() == 1
    assert (torch.tensor([1e-38]) * 1e-2).item() == 0
