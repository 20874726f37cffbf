"""`transduce lab`."""

from pathlib import Path
from typing import Annotated

import typer

from transduce.errors import ConfigError

LABORATORIES = ("residual",)
BUDGET_NAMES = ("quick", "standard", "full")


def lab(
    name: Annotated[str, typer.Argument(metavar="NAME", help="residual: why residual connections.")],
    recipe: Annotated[str, typer.Option(help="The task that the networks learn.")] = "multi30k_ende",
    data: Annotated[Path | None, typer.Option(help="Root of the recipe's data; as for `train` if not given.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to; lab/<NAME>-<budget> if not given.")] = None,
    budget: Annotated[
        str, typer.Option(help="quick (under a minute), standard (under an hour) or full (hours).")
    ] = "standard",
) -> None:
    """Measure a claim of the paper, and write a report about it. Interrupted, the same command goes on.

    Needs the extra `lab`: pip install "transduce[lab]". Example: transduce lab residual --budget quick
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from transduce.cli.console import err, say
    from transduce.cli.train import own_command
    from transduce.config import load_recipe
    from transduce.device import tune_process
    from transduce.lab.residual import BUDGETS, investigate
    from transduce.training.world import default_threads, environment

    for option, value, known in (("lab", name, LABORATORIES), ("--budget", budget, BUDGET_NAMES)):
        if value not in known:
            raise ConfigError(f"{option} {value}: choose one of {', '.join(known)}.")
    config = load_recipe(recipe, [] if data is None else [f'data.root="{data}"'])
    folder = out or Path("lab") / f"{name}-{budget}"
    tune_process(default_threads(environment()))
    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=None)
        report = investigate(
            config,
            BUDGETS[budget],
            folder,
            own_command(),
            say,
            lambda done, cells: bar.update(task, completed=done, total=cells),
        )
    for line in report.seen:
        print(line)
    say(f"{folder / 'report.html'}: {report.seconds / 60:.1f} minutes of measurements")
