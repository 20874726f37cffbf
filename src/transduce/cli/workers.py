"""The same work in several processes: tasks go out one by one, answers come back in order, nobody is left behind."""

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar, final

from transduce.errors import TransduceError

Task = TypeVar("Task")
Result = TypeVar("Result")
Load = Callable[[int], Callable[[Task], Result]]
_AHEAD = 2  # tasks for each worker that are read and not yet answered for
_SECONDS = 5.0  # for a process to end after it was told to


def in_processes(
    load: Load[Task, Result],
    tasks: Iterator[Task],
    workers: int,
    *,
    ready: Callable[[], bool],
    name: Callable[[Task], str],
) -> Generator[tuple[Task, Result], None, None]:
    """Every task with its result, in order, from so many processes.

    Each process calls `load` with its number, from 0, and gives what comes of it one task after the other. A process is
    started when there is a task for it. At most `_AHEAD` tasks a process are in memory. When the caller stops, is
    interrupted or dies, the processes end.

    Args:
        load: Can be pickled, as tasks and results can.
        tasks: Read only as far as there is room, and, while answers are awaited, only where `ready`.
        workers: At least 1.
        ready: Whether the next task can be had without waiting.
        name: What to call a task in an error.

    Raises:
        TransduceError: what a task or loading raised; what a process failed or died of, with its number and its task.
    """
    pool = [_Worker(number, workers, load, name) for number in range(workers)]
    pending: deque[_Job[Task, Result]] = deque()
    idle, more = deque(pool), True
    failed: Exception | None = None  # raised when what comes before it is given
    try:
        while more or pending:
            while more and idle and len(pending) < _AHEAD * workers and (not pending or ready()):
                try:
                    task = next(tasks, None)
                except Exception as error:
                    task, failed = None, error
                more = task is not None
                if task is not None:
                    pending.append(_Job(task))
                    idle.popleft().begin(pending[-1])
                    more = pending[-1].error is None
            busy = {worker.connection: worker for worker in pool if worker.job is not None}
            for connection in wait(list(busy)) if busy else ():
                assert isinstance(connection, Connection)
                more = busy[connection].finish() and more
                idle.append(busy[connection])
            while pending and (pending[0].result or pending[0].error):
                job = pending.popleft()
                if job.error is not None:
                    raise job.error
                yield job.task, job.result[0]
        if failed is not None:
            raise failed
    finally:
        for worker in pool:
            worker.stop()


@final
class _Job(Generic[Task, Result]):
    """A task and, once it is there, its result; or what it failed of, which is raised when its turn comes."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.result: list[Result] = []
        self.error: TransduceError | None = None


@final
class _Worker(Generic[Task, Result]):
    """A process and what it is at."""

    def __init__(self, number: int, of: int, load: Load[Task, Result], name: Callable[[Task], str]) -> None:
        self.job: _Job[Task, Result] | None = None
        self._number, self._of, self._load, self._name = number, of, load, name
        self._process: Any = None  # not started

    def begin(self, job: _Job[Task, Result]) -> None:
        """Give it something to do."""
        if self._process is None:
            self._start()
        self.job = job
        try:
            self.connection.send(job.task)
        except (BrokenPipeError, ConnectionError) as error:
            self._fail(self._died(), error)

    def finish(self) -> bool:
        """Take its answer; whether it can be given more."""
        assert self.job is not None
        try:
            answer = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            return self._fail(self._died(), error)
        match answer:
            case TransduceError():
                return self._fail(answer, answer.__cause__)
            case _Failure():
                what = f"{self._where()}: {answer.what}. Find it with one process: leave --workers out."
                return self._fail(TransduceError(what), RuntimeError(answer.traceback))
            case _:
                self.job.result.append(answer[0])
                self.job = None
                return True

    def _fail(self, error: TransduceError, cause: BaseException | None) -> bool:
        assert self.job is not None
        error.__cause__ = cause
        self.job.error, self.job = error, None
        return False

    def stop(self) -> None:
        """End the process, whatever it is at."""
        if self._process is not None:
            self.connection.close()
            self._process.terminate()
            self._process.join(_SECONDS)
            self._process.kill()
            self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._load, self._number), daemon=True)
        with _deaf():
            process.start()
        self._process = process
        theirs.close()

    def _where(self) -> str:
        at = "" if self.job is None else f", {self._name(self.job.task)}"
        return f"worker {self._number + 1} of {self._of}{at}"

    def _died(self) -> TransduceError:
        self._process.join(_SECONDS)
        status = self._process.exitcode
        return TransduceError(
            f"{self._where()}: the process ended with status {status}, perhaps for want of memory. Use fewer --workers."
        )


@final
class _Failure:
    """An exception that nobody raised on purpose, as text: it need not be one that can be pickled."""

    def __init__(self, error: Exception) -> None:
        self.what = f"{type(error).__name__}: {error}"
        self.traceback = "".join(traceback.format_exception(error))


def _serve(connection: Connection, load: Load[Task, Result], number: int) -> None:
    """The life of a process: answers until nobody asks any more."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work: Callable[[Task], Result] | None = None
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            task = connection.recv()
            try:
                work = work or load(number)
                answer: object = (work(task),)
            except TransduceError as error:
                answer = error
            except Exception as error:  # whatever it is, the other side tells of it
                answer = _Failure(error)
            connection.send(answer)


def _end_with_parent() -> None:
    """A process that is killed cannot end those that work for it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Processes that are started meanwhile do not hear Ctrl-C: it is for this one, which then ends them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
