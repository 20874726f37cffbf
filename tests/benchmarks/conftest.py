"""Benchmarks run in this process: what they tell the processor is undone."""

from collections.abc import Iterator

import pytest

from tests.tiny import restore_process


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    """The processor as it was."""
    yield
    restore_process()
