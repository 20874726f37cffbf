"""`transduce lab`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transduce.errors import ConfigError

if TYPE_CHECKING:
    from transduce.lab.report import Report

LABORATORIES = ("table1", "residual")
BUDGET_NAMES = ("quick", "standard", "full")


def lab(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="table1: what each layer type costs, and why self-attention; residual: why residual connections.",
        ),
    ],
    recipe: Annotated[
        str | None, typer.Option(help="residual: the task that the networks learn; multi30k_ende if not given.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="residual: root of the recipe's data; as for `train` if not given.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to; lab/<NAME>-<budget> if not given.")] = None,
    budget: Annotated[
        str, typer.Option(help="quick (under a minute), standard (under an hour) or full (hours).")
    ] = "standard",
) -> None:
    """Measure a claim of the paper, and write a report about it. Interrupted, the same command goes on.

    Needs the extra `lab`: pip install "transduce[lab]". Example: transduce lab table1 --budget quick
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from transduce.cli.console import err, say
    from transduce.device import tune_process
    from transduce.training.world import default_threads, environment

    for option, value, known in (("lab", name, LABORATORIES), ("--budget", budget, BUDGET_NAMES)):
        if value not in known:
            raise ConfigError(f"{option} {value}: choose one of {', '.join(known)}.")
    for option, given in (("--recipe", recipe), ("--data", data)):
        if name == "table1" and given is not None:
            raise ConfigError(f"{option}: lab table1 reads no data. Leave it out.")
    folder = out or Path("lab") / f"{name}-{budget}"
    tune_process(default_threads(environment()))
    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def progress(done: int, cells: int) -> None:
            bar.update(task, completed=done, total=cells)

        match name:
            case "table1":
                report = _table1(budget, folder, progress)
            case _:
                report = _residual(budget, folder, progress, recipe or "multi30k_ende", data)
    for line in report.seen:
        print(line)
    say(f"{folder / 'report.html'}: {report.seconds / 60:.1f} minutes of measurements")


def _table1(budget: str, folder: Path, progress: Callable[[int, int], None]) -> "Report":
    from transduce.cli.train import own_command
    from transduce.lab.costs import BUDGETS
    from transduce.lab.table1 import investigate

    return investigate(BUDGETS[budget], folder, own_command(), progress)


def _residual(
    budget: str, folder: Path, progress: Callable[[int, int], None], recipe: str, data: Path | None
) -> "Report":
    from transduce.cli.console import say
    from transduce.cli.train import own_command
    from transduce.config import load_recipe
    from transduce.lab.residual import BUDGETS, investigate

    config = load_recipe(recipe, [] if data is None else [f'data.root="{data}"'])
    return investigate(config, BUDGETS[budget], folder, own_command(), say, progress)
