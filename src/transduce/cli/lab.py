"""`transduce lab`."""

from pathlib import Path
from typing import Annotated

import typer

from transduce.errors import ConfigError

LABORATORIES = ("residual", "figures")
BUDGET_NAMES = ("quick", "standard", "full")


def lab(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="residual: why residual connections. figures: what heads do.")
    ],
    recipe: Annotated[str, typer.Option(help="The task that the networks learn.")] = "multi30k_ende",
    data: Annotated[Path | None, typer.Option(help="Root of the recipe's data; as for `train` if not given.")] = None,
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
    """Measure a claim of the paper, and write a report about it. Interrupted, the same command goes on.

    \b
    Needs the extra `lab`: pip install "transduce[lab]". Examples:
      transduce lab residual --budget quick
      transduce lab figures --model runs/mine
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from transduce.cli.console import err, say
    from transduce.cli.files import read_all
    from transduce.cli.train import own_command
    from transduce.config import load_recipe
    from transduce.device import tune_process
    from transduce.lab import figures, residual
    from transduce.training.world import default_threads, environment

    for option, value, known in (("lab", name, LABORATORIES), ("--budget", budget, BUDGET_NAMES)):
        if value not in known:
            raise ConfigError(f"{option} {value}: choose one of {', '.join(known)}.")
    for option, given in (("--model", model), ("--input", input_file)):
        if given is not None and name != "figures":
            raise ConfigError(f"{option} {given}: it is for `lab figures`. Leave it out.")
    if data is not None and name == "figures":
        raise ConfigError(f"--data {data}: `lab figures` reads no recipe's data. Leave it out.")
    folder = out or Path("lab") / f"{name}-{budget}"
    tune_process(default_threads(environment()))
    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if name == "figures":
            lines = None if input_file is None else read_all(input_file)
            report = figures.investigate(model, lines, figures.BUDGETS[budget], folder, own_command(), progress)
        else:
            config = load_recipe(recipe, [] if data is None else [f'data.root="{data}"'])
            report = residual.investigate(config, residual.BUDGETS[budget], folder, own_command(), say, progress)
    for line in report.seen:
        print(line)
    say(f"{folder / 'report.html'}: {report.seconds / 60:.1f} minutes of measurements")
