"""What runs where. The only file of the library that reads the process environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch

from transduce.device import choose_device
from transduce.errors import ConfigError
from transduce.machine import usable_processors


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """This process among its siblings: two integers, and the device it computes on."""

    rank: int = 0
    size: int = 1
    device: torch.device

    @classmethod
    def from_env(cls, env: Mapping[str, str], device: str) -> Self:
        """The world that `torchrun`'s variables describe; one process when they are not set.

        Raises:
            ConfigError: the device is not there; several processes (not built yet).
        """
        size = env.get("WORLD_SIZE", "1")
        if size != "1":
            raise ConfigError(f"WORLD_SIZE = {size}: training in several processes is not built yet. Run one process.")
        return cls(rank=0, size=1, device=choose_device(device))


def default_threads(env: Mapping[str, str]) -> int:
    """Threads to compute with: `OMP_NUM_THREADS` if set, else one per processor that this process may use."""
    asked = env.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return usable_processors()


def environment() -> Mapping[str, str]:
    """The process environment, for whoever composes a program."""
    return os.environ
