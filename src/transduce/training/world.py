"""What runs where. The only file of the library that reads the process environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

import torch

from transduce.errors import ConfigError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """This process among its siblings: two integers, and the device it computes on."""

    rank: int = 0
    size: int = 1
    device: torch.device

    @classmethod
    def from_env(cls, env: Mapping[str, str], device: DeviceName) -> Self:
        """The world that `torchrun`'s variables describe; one process when they are not set.

        Raises:
            ConfigError: the device is not there; several processes (not built yet).
        """
        rank, size = int(env.get("RANK", "0")), int(env.get("WORLD_SIZE", "1"))
        if size != 1:
            raise ConfigError(f"WORLD_SIZE = {size}: training in several processes is not built yet. Run one process.")
        return cls(rank=rank, size=size, device=choose_device(device))


def choose_device(asked: DeviceName) -> torch.device:
    """`auto` takes a GPU where there is one. Raises `ConfigError` when what was asked for is not there."""
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if asked == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if present[name]))
    if not present[asked]:
        raise ConfigError(f"device = '{asked}', but this machine has none that PyTorch can use. Use 'cpu', or 'auto'.")
    return torch.device(asked)


def default_threads(env: Mapping[str, str]) -> int:
    """Threads to compute with: `OMP_NUM_THREADS` if set, else one per processor that this process may use."""
    asked = env.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else len(os.sched_getaffinity(0))


def environment() -> Mapping[str, str]:
    """The process environment, for whoever composes a program."""
    return os.environ
