"""`transduce lab`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transduce.errors import ConfigError

if TYPE_CHECKING:
    from transduce.lab.report import Report

LABORATORIES = ("table1", "residual", "figures")
BUDGET_NAMES = ("quick", "standard", "full")
OWN_OPTIONS = {"--recipe": "residual", "--data": "residual", "--model": "figures", "--input": "figures"}

Progress = Callable[[int, int], None]


def lab(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="table1: what each layer type costs, and why self-attention. residual: why residual connections. "
            "figures: what the heads of a model do.",
        ),
    ],
    recipe: Annotated[
        str | None, typer.Option(help="residual: the task that the networks learn; multi30k_ende if not given.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="residual: root of the recipe's data; as for `train` if not given.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="figures: a model directory, or a run directory.")
    ] = None,
    input_file: Annotated[
        Path | None, typer.Option("--input", metavar="F", help="figures: sentences; a run's dev set if not given.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to; lab/<NAME>-<budget> if not given.")] = None,
    budget: Annotated[
        str, typer.Option(help="quick (under a minute), standard (under an hour) or full (hours).")
    ] = "standard",
) -> None:
    """Measure a claim of the paper, and write a report. table1 and residual go on where they were interrupted.

    \b
    Needs the extra `lab`: pip install "transduce[lab]". Examples:
      transduce lab table1 --budget quick
      transduce lab residual --budget quick
      transduce lab figures --model runs/mine
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from transduce.cli.console import err, say
    from transduce.device import tune_process
    from transduce.training.world import default_threads, environment

    for option, value, known in (("lab", name, LABORATORIES), ("--budget", budget, BUDGET_NAMES)):
        if value not in known:
            raise ConfigError(f"{option} {value}: choose one of {', '.join(known)}.")
    given = {"--recipe": recipe, "--data": data, "--model": model, "--input": input_file}
    for option, whose in OWN_OPTIONS.items():
        if given[option] is not None and name != whose:
            raise ConfigError(f"{option} {given[option]}: it is for `lab {whose}`. Leave it out.")
    folder = out or Path("lab") / f"{name}-{budget}"
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder}: there is a file of this name. Choose another.")
    tune_process(default_threads(environment()))
    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn())
    with Bar(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        match name:
            case "table1":
                report = _table1(budget, folder, progress)
            case "figures":
                report = _figures(budget, folder, progress, model, input_file)
            case _:
                report = _residual(budget, folder, progress, recipe or "multi30k_ende", data)
    for line in report.seen:
        print(line)
    say(f"{folder / 'report.html'}: {report.seconds / 60:.1f} minutes of measurements")


def _table1(budget: str, folder: Path, progress: Progress) -> "Report":
    from transduce.cli.train import own_command
    from transduce.lab.costs import BUDGETS
    from transduce.lab.table1 import investigate

    return investigate(BUDGETS[budget], folder, own_command(), progress)


def _residual(budget: str, folder: Path, progress: Progress, recipe: str, data: Path | None) -> "Report":
    from transduce.cli.console import say
    from transduce.cli.train import hint_where_from, own_command
    from transduce.config import load_recipe
    from transduce.lab.residual import BUDGETS, investigate

    config = load_recipe(recipe, [] if data is None else [f"data.root={json.dumps(str(data))}"])
    with hint_where_from(recipe, config):
        return investigate(config, BUDGETS[budget], folder, own_command(), say, progress)


def _figures(budget: str, folder: Path, progress: Progress, model: Path | None, sentences: Path | None) -> "Report":
    from transduce.cli.files import read_all
    from transduce.cli.train import own_command
    from transduce.lab.figures import BUDGETS, investigate

    lines = None if sentences is None else read_all(sentences)
    return investigate(model, lines, BUDGETS[budget], folder, own_command(), progress)
