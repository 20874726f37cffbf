"""`transduce shortlist`: likely translations of every piece, into the bundle of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from transduce.data.prepare import Prepared
    from transduce.data.shortlist import Shortlist

_LINES = 1000  # of the development set, to say what a list is like


def shortlist(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory, whose data is counted.")],
    out: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="The model it is put into; the run's own if not given.")
    ] = None,
    translations: Annotated[int, typer.Option(help="Most probable translations of every source piece.")] = 100,
    frequent: Annotated[int, typer.Option(help="Most frequent pieces, on every list.")] = 100,
) -> None:
    """Learn likely translations of every piece from a run's pairs, for `translate --shortlist`.

    They go into the model directory, as shortlist.safetensors, and travel with it. `train` and `average` write a model
    anew, without them.

    Example: transduce shortlist runs/mine
    """
    from transduce.bundle import bundle_folder, load_config
    from transduce.cli.console import say
    from transduce.cli.testset import has_data
    from transduce.data.prepare import load_prepared
    from transduce.data.shortlist import FILE, learn_shortlist, save_shortlist
    from transduce.errors import ConfigError

    folder = bundle_folder(out or run)
    if not has_data(run):
        raise ConfigError(f"{run}: no training pairs here. Give the RUN that has them; --out names the model.")
    prepared = load_prepared(run / "data")
    if load_config(folder).tokenizers != prepared.tokenizers.hashes():
        raise ConfigError(f"{folder}: it has other pieces than the data of {run}. Give the run that it comes from.")
    found = learn_shortlist(prepared.corpus, prepared.tokenizers, translations=translations, frequent=frequent)
    save_shortlist(folder, found, prepared.tokenizers)
    say(f"{folder / FILE}: {_about(found, prepared)}")


def _about(found: "Shortlist", prepared: "Prepared") -> str:
    """How long lists are, and how much of the development targets is on them."""
    tokenizers = prepared.tokenizers
    sources, targets = zip(*tokenizers.encode_pairs(prepared.dev[:_LINES]), strict=True)
    lists = [set(found.pieces(source).tolist()) for source in sources]
    listed = sum(piece in pieces for pieces, target in zip(lists, targets, strict=True) for piece in target)
    share = listed / max(1, sum(map(len, targets)))
    return (
        f"{sum(map(len, lists)) / max(1, len(lists)):.0f} of {tokenizers.target.size:,} pieces on a line's list; "
        f"{share:.2%} of the pieces of the development targets are on theirs"
    )
