"""Work in several processes: the order of tasks, bounded reading, errors with a name, and nobody left behind."""

import os
import time
from collections.abc import Callable, Iterator

import pytest

from transduce.cli.workers import in_processes
from transduce.errors import ConfigError, DataError, TransduceError

pytestmark = pytest.mark.unit


def squares(number: int) -> Callable[[int], tuple[int, int]]:
    def work(n: int) -> tuple[int, int]:
        time.sleep(0.02 * (n % 3))  # so that later tasks are done before earlier ones
        return n * n, number

    return work


def slow_and_trouble(number: int) -> Callable[[int], int]:
    def work(n: int) -> int:
        if n:
            return trouble(number)(n)
        time.sleep(1.0)
        return n

    return work


def trouble(number: int) -> Callable[[int], int]:
    def work(n: int) -> int:
        if n == 3:
            raise DataError("line 3: not a number. Write another.")
        if n == 4:
            raise ZeroDivisionError("of course")
        if n == 5:
            os._exit(7)
        return os.getpid()

    return work


def cannot_load(number: int) -> Callable[[int], int]:
    raise ConfigError("--to xx: the tags of this model are: none.")


def run(load: Callable[[int], Callable[[int], object]], tasks: Iterator[int], workers: int = 2) -> list[object]:
    found = in_processes(load, tasks, workers, ready=lambda: True, name=lambda n: f"task {n}")
    return [result for _, result in found]


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("workers", [1, 3])
def test_answers_come_in_order_from_all_processes(workers: int) -> None:
    found = list(in_processes(squares, iter(range(30)), workers, ready=lambda: True, name=str))
    assert [task for task, _ in found] == list(range(30))
    assert [square for _, (square, _) in found] == [n * n for n in range(30)]
    assert {number for _, (_, number) in found} == set(range(workers))


def test_nothing_to_do_starts_nobody() -> None:
    assert run(cannot_load, iter(())) == []


def test_no_more_is_read_than_there_is_room_for() -> None:
    read = 0

    def tasks() -> Iterator[int]:
        nonlocal read
        for n in range(100):
            read += 1
            yield n

    found = in_processes(squares, tasks(), 2, ready=lambda: True, name=str)
    for n, _ in enumerate(found):
        assert read <= n + 5
    assert read == 100


def test_answers_do_not_wait_for_tasks_that_are_not_there() -> None:
    given: list[int] = []

    def tasks() -> Iterator[int]:
        for n in range(6):
            assert len(given) == n  # everything before was answered for: nothing else would make it ready
            yield n

    for task, _ in in_processes(squares, tasks(), 2, ready=lambda: False, name=str):
        given.append(task)
    assert given == list(range(6))


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (3, DataError, "^line 3: not a number. Write another.$"),
        (4, TransduceError, "worker 1 of 1, task 4: ZeroDivisionError: of course. Find it with one process"),
        (5, TransduceError, "worker 1 of 1, task 5: the process ended with status 7.*Use fewer --workers"),
    ],
)
def test_trouble_is_told_with_its_place_and_all_processes_end(bad: int, kind: type[Exception], message: str) -> None:
    processes = []

    def go() -> None:
        tasks = iter([0, 1, bad, 2])
        for _, process in in_processes(trouble, tasks, 1, ready=lambda: True, name=lambda n: f"task {n}"):
            processes.append(process)

    with pytest.raises(kind, match=message):
        go()
    assert len(processes) == 2
    assert not any(alive(process) for process in processes)


@pytest.mark.parametrize("bad", [3, 4, 5])
def test_what_was_given_before_trouble_is_still_answered(bad: int) -> None:
    found = in_processes(slow_and_trouble, iter([0, bad, 0]), 2, ready=lambda: True, name=str)
    assert next(found) == (0, 0)
    with pytest.raises(TransduceError):
        next(found)


def test_what_cannot_be_loaded_is_an_error() -> None:
    with pytest.raises(ConfigError, match="--to xx"):
        run(cannot_load, iter(range(9)))


def test_who_stops_early_leaves_nobody_behind() -> None:
    found = in_processes(trouble, iter([0, 1, 2, 0, 1, 2]), 2, ready=lambda: True, name=str)
    processes = {next(found)[1], next(found)[1]}
    found.close()
    assert not any(alive(process) for process in processes)


def test_what_was_read_before_trouble_is_still_given() -> None:
    def tasks() -> Iterator[int]:
        yield from range(3)
        raise DataError("line 4: not UTF-8.")

    found = in_processes(squares, tasks(), 2, ready=lambda: True, name=str)
    assert [next(found)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match="line 4"):
        next(found)
