"""What this machine is and how fast it computes: asked of the system, or measured in a second."""

import contextlib
import functools
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

# Those that matter to a training step, as PyTorch calls them and as people do.
INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512_f": "AVX-512",
    "avx512_bf16": "AVX512-BF16",
    "avx512_vnni": "AVX512-VNNI",
    "amx_bf16": "AMX-BF16",
    "amx_int8": "AMX-INT8",
    "neon": "NEON",
    "sve": "SVE",
    "sve2": "SVE2",
    "bf16": "BF16",
    "sve_bf16": "SVE-BF16",
    "i8mm": "I8MM",
}
SIDE = 512  # of the square matrices: about as much work as one product of a small model's step
MEMORY = 1 << 23  # floats: three arrays of 32 MiB pass by most caches
CACHE = 1 << 18  # floats: 1 MiB, as large as the activations of a small model
SECONDS = 0.03  # for each measurement, after one call that warms up


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """How fast the processor is with `threads`: `fp32` and `bf16` are FLOP/s of a matrix product in these formats,
    `memory` and `cache` bytes/s of adding two arrays there, `call` the seconds of an operator besides its work."""

    threads: int
    fp32: float
    bf16: float
    memory: float
    cache: float
    call: float


@functools.cache
def measure_machine(threads: int) -> Machine:
    """Measure this one, once, in a third of a second. The best of several times counts: other work only slows them.

    Sets the process's threads to `threads`.
    """
    torch.set_num_threads(threads)
    fp32, bf16 = _product_speeds()
    return Machine(
        threads=threads,
        fp32=fp32,
        bf16=bf16,
        memory=3 * 4 * MEMORY / _best(_sum(MEMORY)),
        cache=3 * 4 * CACHE / _best(_sum(CACHE)),
        call=_best(_calls) / (2 * _CALLS),
    )


@functools.cache
def bf16_gain() -> float:
    """How many times as fast as a float32 product one in bf16 is, measured once, in a tenth of a second.

    AVX512-BF16 says little: an AMD Zen 4 multiplies 2.2 times as fast with it, an Intel whose AMX a virtual machine
    hides half as fast (docs/performance.md).
    """
    fp32, bf16 = _product_speeds()
    return bf16 / fp32


def _product_speeds() -> tuple[float, float]:
    """FLOP/s of a product in float32 and in bf16, with the process's threads."""
    fp32, bf16 = (2 * SIDE**3 / _best(_product(dtype)) for dtype in (torch.float32, torch.bfloat16))
    return fp32, bf16


_CALLS = 200


def _product(dtype: torch.dtype) -> Callable[[], object]:
    a, b, out = (torch.ones(SIDE, SIDE, dtype=dtype) for _ in range(3))
    return lambda: torch.mm(a, b, out=out)


def _sum(n: int) -> Callable[[], object]:
    a, b, out = (torch.ones(n) for _ in range(3))
    return lambda: torch.add(a, b, out=out)


def _calls() -> None:
    """Operators that do next to nothing, and their backward passes."""
    y = torch.ones(1, requires_grad=True)
    for _ in range(_CALLS):
        y = y + 1
    torch.autograd.backward(y)


def _best(work: Callable[[], object]) -> float:
    """Seconds of the fastest of the calls of `work` that fit, of at least two: this thread's own, so that it does not
    count who else has the processor."""
    work()
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(times) < 2 or time.perf_counter() < end:
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times)


def processor() -> str:
    """The name of the processor, as far as anybody knows it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine())


def hardware() -> str:
    """The processor and its number of cores, in words."""
    return f"{processor()}, {os.cpu_count() or '?'} cores"


def instructions() -> list[str]:
    """The instruction sets of this processor that matter here."""
    capabilities = torch.cpu.get_capabilities()
    return [name for key, name in INSTRUCTIONS.items() if capabilities.get(key)]


def usable_processors() -> int:
    """How many processors this process may use: those it may run on, and as many as its container may keep busy."""
    found = float(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1)
    for group in _control_groups():
        with contextlib.suppress(OSError, ValueError):  # a version without limits, or "max"
            quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
            found = min(found, int(quota) / int(period))
    return max(1, int(found))


def memory() -> dict[str, int]:
    """Bytes of memory in all, and free for a new process where the system tells (Linux); what a container may have."""
    found = {"total": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")}
    with contextlib.suppress(OSError, LookupError):
        found["free"] = _kilobytes("/proc/meminfo", "MemAvailable:")
    for group in _control_groups():
        with contextlib.suppress(OSError, ValueError, LookupError):
            limit, used = (int((group / f"memory.{name}").read_text(encoding="utf-8")) for name in ("max", "current"))
            kept = dict(line.split() for line in (group / "memory.stat").read_text(encoding="utf-8").splitlines())
            found["total"] = min(found["total"], limit)
            left = max(0, limit - used + int(kept["inactive_file"]))  # copies of files, which are given up
            found["free"] = min(found.get("free", left), left)
    return found


def _control_groups(root: Path = Path("/sys/fs/cgroup")) -> list[Path]:
    """Where Linux (control groups, version 2) tells what this process and those around it may take; a container sees
    its own limits at the root."""
    own = ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            own = line.removeprefix("0::/") if line.startswith("0::/") else own
    inner = root / own
    return [inner, *(folder for folder in inner.parents if folder.is_relative_to(root))]


def resident() -> int:
    """Bytes of memory that this process holds now; its peak so far where the system does not tell."""
    with contextlib.suppress(OSError, LookupError):
        return _kilobytes("/proc/self/status", "VmRSS:")
    return peak_resident()


def peak_resident() -> int:
    """The most bytes of memory that this process held at any time."""
    with contextlib.suppress(OSError, LookupError):  # `ru_maxrss` would count what the parent held when it forked
        return _kilobytes("/proc/self/status", "VmHWM:")
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _kilobytes(file: str, key: str) -> int:
    """The bytes that stand after `key` in a file of the kernel's. Raises `LookupError` where it is not there."""
    lines = Path(file).read_text(encoding="ascii").splitlines()
    found = [int(line.split()[1]) for line in lines if line.startswith(key)]
    return 1024 * found[0]
