"""`transduce`: one command a verb. Starting up imports neither torch nor anything else that takes time."""

import io
import os
import signal
import sys
from typing import Annotated

import typer

from transduce.cli import demo, evaluate, fetch, info, lab, shortlist, synthetic, train, translate
from transduce.cli.errors import InterruptedByUserError, interruptible, report
from transduce.errors import SaveError

# click's own class or, in later versions of typer, that of typer's copy of click
UsageError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]
EPILOG = "Start with `transduce demo`, then `transduce train --source a.en --target a.de --out runs/mine`."

# Libraries read these when torch loads them, which is later than here; docs/log.md has the measurements. Threads that
# wait by spinning make training 30 times slower as soon as anything else runs. oneDNN keeps 1,024 compiled kernels, and
# PyTorch's layer above it 1,024 more (LRU_CACHE_CAPACITY): half of a training's memory, and few are used again. Set to
# nothing, PyTorch reads the last as 0 and its first bf16 product is a segmentation fault: so that is not set, too.
LIBRARIES = {"OMP_WAIT_POLICY": "PASSIVE", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128", "LRU_CACHE_CAPACITY": "128"}

app = typer.Typer(
    name="transduce",
    help="Train, measure and ship the Transformer of 'Attention Is All You Need' on your own pairs of text.",
    epilog=EPILOG,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for command in (
    train.train,
    train.prepare,
    translate.translate,
    translate.score,
    evaluate.evaluate,
    evaluate.compare,
    train.average,
    shortlist.shortlist,
    synthetic.distil,
    synthetic.backtranslate,
    info.info,
    lab.lab,
    fetch.fetch,
    demo.demo,
):
    app.command()(interruptible(command))


def _version(asked: bool) -> bool:
    if asked:
        from importlib.metadata import version

        print(f"transduce {version('transduce')}")
        raise typer.Exit
    return asked


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it and stop.")
    ] = False,
) -> None:
    """Train, measure and ship the Transformer of 'Attention Is All You Need' on your own pairs of text."""


def main() -> None:
    """Run one command and exit: 0 done, 1 the work failed, 2 wrong usage or input (one line, no traceback)."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing is left lying about
    sys.exit(run(sys.argv[1:]))


class _Closed(io.TextIOBase):
    """Standard output where there is none: whoever prints results is told."""

    def write(self, text: str) -> int:
        raise SaveError("standard output: it is closed. Leave it open, or give --output with a file.")


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit status. `--debug`, anywhere, shows tracebacks."""
    debug = "--debug" in arguments
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files and text are written in any locale
        sys.stdout.reconfigure(encoding="utf-8", errors=sys.stdout.errors)
    sys.stdout = sys.stdout or _Closed()
    if sys.stderr is None:  # print would write errors among the results
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    for name, value in LIBRARIES.items():
        os.environ[name] = os.environ.get(name) or value
    try:
        arguments = [a for a in arguments if a != "--debug"] or ["--help"]
        status = app(arguments, standalone_mode=False, prog_name="transduce")
    except UsageError as error:
        where = error.ctx.command_path if error.ctx else f"transduce {arguments[0]}"
        message = error.format_message().rstrip(".")
        print(f"error: {message}{'' if message.endswith('?') else '.'} See `{where} --help`.", file=sys.stderr)
        return 2
    except SystemExit:  # what click makes of a broken pipe
        return report(BrokenPipeError(), debug)
    except InterruptedByUserError as error:
        return report(error.__cause__ or KeyboardInterrupt(), debug)
    except typer.Abort:
        return report(KeyboardInterrupt(), debug)
    except (Exception, KeyboardInterrupt) as error:
        return report(error, debug)
    return status if isinstance(status, int) else 0
