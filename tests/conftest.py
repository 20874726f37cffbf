"""What every test gets: fixed seeds, no network, a tier. And skips that fail, where `--fail-on-skip` asks for it.

Nothing of `transduce` may be imported here at module level: the jaxtyping hook instruments what is imported after it.
"""

import os
import random
import socket
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

TIERS = frozenset({"unit", "learn", "gpu", "slow"})
LOOPBACK = ("127.", "::1", "localhost")

# The same examples every time, and none that fails because the machine was busy.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fail-on-skip", action="store_true", help="a skipped test or file is a failure (CI)")


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what reads benchmark data, and refuse tests without a tier: no selection would ever run them."""
    for item in items:
        if "benchmark_data" in getattr(item, "fixturenames", ()):
            item.add_marker("data")
    homeless = [item.nodeid for item in items if TIERS.isdisjoint(mark.name for mark in item.iter_markers())]
    if homeless:
        raise pytest.UsageError(
            f"no tier on {', '.join(homeless)}. Add `pytestmark = pytest.mark.unit`, or another tier."
        )


def _skip_reason(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)


@contextmanager
def run_time_checks(on: bool) -> Iterator[None]:
    """With or without the checks of shapes and types, which make training a tiny model twenty times slower."""
    from jaxtyping import config

    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", not on)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Shapes and types are checked by what is not trained for: the unit tier calls every function, and with them."""
    with run_time_checks(on=not any(item.get_closest_marker(tier) for tier in ("learn", "slow"))):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    expected_failure = hasattr(report, "wasxfail")
    if report.skipped and not expected_failure and item.config.getoption("--fail-on-skip"):
        report.outcome = "failed"
        report.longrepr = f"{_skip_reason(report.longrepr)} (a skip, and --fail-on-skip was given)"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and collector.config.getoption("--fail-on-skip"):
        report.outcome = "failed"
        report.longrepr = f"{_skip_reason(report.longrepr)} (a skip, and --fail-on-skip was given)"
    return report


@cache
def threads_at_first() -> int:
    """As many threads as PyTorch had before the first test."""
    return int(sys.modules["torch"].get_num_threads())


@pytest.fixture(autouse=True)
def same_start() -> None:
    """Every test starts from the same random state, with denormals and with as many threads, whatever ran before it:
    commands flush the one and set the other.
    """
    random.seed(0)
    np.random.seed(0)
    if torch := sys.modules.get("torch"):  # importing it takes seconds, and tests without tensors do without
        torch.manual_seed(0)
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads_at_first())


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the checks of shapes: for what goes through the same functions thousands of times, when others check."""
    with run_time_checks(on=False):
        yield


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python sockets reach this machine only."""

    def guarded(name: str) -> None:
        original = getattr(socket.socket, name)

        def connect(self: socket.socket, address: Any) -> Any:
            if self.family != socket.AF_UNIX and not str(address[0]).startswith(LOOPBACK):
                raise RuntimeError(f"a test wanted to reach {address}, but tests have no network")
            return original(self, address)

        monkeypatch.setattr(socket.socket, name, connect)

    guarded("connect")
    guarded("connect_ex")


@pytest.fixture(scope="session")
def benchmark_data() -> Path:
    """The folder of the benchmark data sets, $TRANSDUCE_DATA. Tests that use it carry the marker `data`."""
    folder = os.environ.get("TRANSDUCE_DATA", "")
    if not folder:
        pytest.skip("TRANSDUCE_DATA is not set, so there is no benchmark data")
    return Path(folder)
