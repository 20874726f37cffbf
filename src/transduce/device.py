"""Devices, number formats, and what the processor wants to be told once per process."""

import contextlib
import ctypes
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Literal, get_args

import torch

from transduce.errors import ConfigError
from transduce.machine import bf16_gain

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
AskedPrecision = Literal["auto", "fp32", "bf16"]
Precision = Literal["fp32", "bf16"]

WORTH = 1.2  # bf16 products must be so many times as fast as float32's to be worth the casts


def choose_device(asked: str) -> torch.device:
    """The device of a `DeviceName`; `auto` takes a GPU where there is one.

    Raises:
        ConfigError: no such name, or this machine has none of it.
    """
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if asked not in ("auto", *present):
        raise ConfigError(f"device = '{asked}': choose one of auto, {', '.join(present)}.")
    if asked == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if present[name]))
    if not present[asked]:
        raise ConfigError(f"device = '{asked}', but this machine has none that PyTorch can use. Use 'cpu', or 'auto'.")
    return torch.device(asked)


def has_fast_bf16(device: torch.device) -> bool:
    """Whether `device` multiplies bf16 matrices faster than float32 ones.

    A processor with AMX, or with AVX512-BF16 that was measured to be faster; a GPU from Ampere on.
    """
    match device.type:
        case "cpu":
            units = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
            return has_amx() or (units and bf16_gain() >= WORTH)
        case "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        case _:
            return False


def has_amx() -> bool:
    """Whether the processor multiplies bf16 matrices in AMX tiles, about ten times as fast as float32."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def choose_precision(asked: AskedPrecision, device: torch.device) -> tuple[Precision, str]:
    """The format to compute in, and why, as a sentence.

    bf16 means autocast: weights, their gradients' sums and the optimizer stay float32.

    Raises:
        ConfigError: no such format; bf16 on a device whose library cannot compute in it at all (mps).
    """
    if asked not in get_args(AskedPrecision):
        raise ConfigError(
            f"precision = {asked!r}: choose one of {', '.join(get_args(AskedPrecision))} (for decoding, also int8)."
        )
    if asked == "fp32":
        return "fp32", "fp32 as asked"
    fast = has_fast_bf16(device)
    if asked == "bf16":
        if device.type == "mps":
            raise ConfigError("precision = 'bf16' does not run on mps. Use 'fp32' or 'auto'.")
        return "bf16", "bf16 as asked" if fast else f"bf16 as asked, but slower than fp32 on this {device.type}"
    if fast:
        return "bf16", f"bf16: faster than fp32 on this {device.type}"
    return "fp32", f"fp32: bf16 is not faster on this {device.type}"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context in which the forward pass runs."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


@contextlib.contextmanager
def operation_threads(n: int) -> Iterator[None]:
    """Inside, every operation has `n` threads; then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def tune_process(threads: int) -> None:
    """Threads, denormals and memory, once per process, before the first parallel work.

    Denormals are flushed to zero: early in training, softmax makes so many that they take half of the step. Freed
    memory is kept: giving it back to the kernel costs a page fault for every page of every activation of every step.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    with contextlib.suppress(OSError, AttributeError):  # not glibc: only slower
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        m_trim_threshold, m_mmap_max, m_arena_max = -1, -4, -8
        mallopt(m_arena_max, 1)  # what one thread freed another may use
        mallopt(m_mmap_max, 0)
        mallopt(m_trim_threshold, -1)
