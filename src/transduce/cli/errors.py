"""Errors become one line on standard error and an exit status."""

import errno
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from transduce.errors import TransduceError


def _is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Python says it by a class, PyTorch in words."""
    said = f"{type(error).__name__}: {error}"
    words = ("MemoryError", "DefaultCPUAllocator", "out of memory")
    return any(word in said for word in words)


P = ParamSpec("P")
R = TypeVar("R")


class InterruptedByUserError(Exception):
    """A Ctrl-C, which typer would make a silent exit status of."""


def interruptible(command: Callable[P, R]) -> Callable[P, R]:
    """`command`, of which a Ctrl-C comes out as `InterruptedByUserError`."""

    @wraps(command)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt as error:
            raise InterruptedByUserError from error

    return called


def report(error: BaseException, debug: bool) -> int:
    """Print what happened; returns the exit status: 1 the work failed, 2 wrong usage or input, 130 interrupted."""
    if debug:
        traceback.print_exception(error)
    match error:
        case TransduceError():
            print(f"error: {error}", file=sys.stderr)
            return error.exit_status
        case KeyboardInterrupt():
            print("interrupted", file=sys.stderr)
            return 130
        case BrokenPipeError():  # whoever read our output has gone, as `| head` does
            from transduce.cli.console import to_nobody  # rich takes time to import

            to_nobody(sys.stdout)
            return 0
        case OSError() if error.errno == errno.ENOSPC and error.filename is None:  # a stream, and most likely this one
            print("error: standard output: no space is left there. Free some, or write elsewhere.", file=sys.stderr)
            return 1
        case OSError():  # where nobody expected one; the layers below name the cause better
            print(f"error: {error}. Check the path and the disk.", file=sys.stderr)
            return 1
        case MemoryError() | RuntimeError() if _is_out_of_memory(error):
            print(
                "error: out of memory. Lower batching.max_tokens (translating: --beam), or use a smaller model.",
                file=sys.stderr,
            )
            return 1
        case _:
            raise error
