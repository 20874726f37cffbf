"""The process among its siblings: what torchrun's variables say, and how many threads to use."""

import os
import sys

import pytest
import torch

from transduce.errors import ConfigError
from transduce.training.world import World, default_threads, environment

pytestmark = pytest.mark.unit


def test_without_torchrun_there_is_one_process() -> None:
    for env in ({}, {"RANK": "3"}, {"RANK": "0", "WORLD_SIZE": "1"}):
        assert World.from_env(env, "cpu") == World(rank=0, size=1, device=torch.device("cpu"))


def test_several_processes_are_refused() -> None:
    with pytest.raises(ConfigError, match="WORLD_SIZE = 2: training in several processes is not built yet."):
        World.from_env({"RANK": "0", "WORLD_SIZE": "2"}, "cpu")


def test_threads_are_as_asked_or_one_per_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_threads({"OMP_NUM_THREADS": "3"}) == 3
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4, 7}, raising=False)
    for useless in ({}, {"OMP_NUM_THREADS": ""}, {"OMP_NUM_THREADS": "0"}, {"OMP_NUM_THREADS": "4,2"}):
        assert default_threads(useless) == 2
    monkeypatch.delattr(os, "sched_getaffinity")  # macOS has none
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert default_threads({}) == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_threads({}) == 1


def test_the_environment_is_the_process_s() -> None:
    assert environment() is os.environ
