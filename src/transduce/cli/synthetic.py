"""`transduce distil` and `transduce backtranslate`: pairs of which a model writes one side."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transduce.cli.searching import members, plain_translator, refuse
from transduce.cli.testset import has_data, scores_by_line
from transduce.cli.train import Minutes, PresetName, Settings, more_settings, own_command, train
from transduce.cli.translate import Alpha, Beam, Bundles, Device, Precision, Sample, Seed, To, check_seed
from transduce.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transduce.decoding.translator import Translator

Fresh = Annotated[bool, typer.Option("--fresh", help="Start over.")]


def distil(
    teacher: Annotated[
        Path, typer.Argument(metavar="RUN[,BUNDLE...]", help="Whom to learn from; several vote, the first is a RUN.")
    ],
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run directory of the student.")],
    preset: PresetName = "tiny",
    source: Annotated[
        Path | None, typer.Option(metavar="F", help="Learn from the outputs for these lines, not the training sources.")
    ] = None,
    beam: Beam = None,
    alpha: Alpha = None,
    minutes: Minutes = None,
    settings: Settings = None,
    fresh: Fresh = False,
    device: Device = "auto",
    precision: Precision = "auto",
) -> int:
    """Train a small model on what a large one says (sequence-level knowledge distillation, Kim and Rush 2016).

    The teacher translates its own training sources with a beam, into OUT.distilled/; then the student is trained on
    these outputs as from files, with the teacher's development set. The same command again goes on where it was.

    Example: transduce distil runs/large --preset tiny --out runs/small --minutes 60
    """
    from transduce.bundle import bundle_folder, load_config
    from transduce.cli.console import say
    from transduce.cli.files import check_name
    from transduce.data.corpus import PairsFile
    from transduce.data.prepare import load_prepared
    from transduce.files import write_atomically
    from transduce.rundata import continues, sources
    from transduce.rundir import load_asked
    from transduce.text.form import normalise

    check_name(out)
    first = members(teacher)[0]
    if out.resolve() in [member.resolve() for member in members(teacher)]:
        raise ConfigError(f"{out}: this is the teacher. Choose another --out.")
    config = load_config(bundle_folder(first))
    if not has_data(first):
        raise ConfigError(f"{first}: a model without its run. Distillation needs its data: give the run directory.")
    asked = [
        f"data.pretokenised={json.dumps(config.pretokenised)}",
        f"data.normalise={json.dumps(config.normalise)}",
        f"data.tags={json.dumps(list(config.tags))}",
        f"evaluation.metric={json.dumps(config.metric)}",
        f"evaluation.tokenize={json.dumps(config.tokenize)}",
        f"evaluation.by_line={json.dumps(scores_by_line(first))}",
        *(settings or []),
    ]
    _check_settings(more_settings(asked, minutes, None, None), preset)
    prepared = load_prepared(first / "data")
    made = out.with_name(out.name + ".distilled")
    if continues(out, fresh):  # what cannot be is known now, and not after hours of translating
        own = sources(load_asked(out)).train
        if not isinstance(own, PairsFile) or own.pairs.resolve() != (made / "train.jsonl").resolve():
            raise ConfigError(f"{out}: a run of other data, not of {made}. Choose another --out, or --fresh.")
    read = _training_sources(first) if source is None else _lines(source)
    dev_sources = {source for source, _ in prepared.dev}
    translator = plain_translator(teacher, device, precision, beam, alpha)

    def unseen() -> Iterator[str]:
        return (line for line in read() if normalise(line, config.normalise) not in dev_sources)

    _make(made / "train.jsonl", teacher, unseen, translator, fresh=fresh, target_is_read=False, precision=precision)
    dev = [json.dumps({"source": s, "target": t}, ensure_ascii=False) + "\n" for s, t in prepared.dev]
    write_atomically(made / "dev.jsonl", "".join(dev).encode())
    langs = f"{config.source_lang},{config.target_lang}" if config.source_lang and config.target_lang else None
    say(f"{out}: the student of {teacher}")
    return train(
        pairs=made / "train.jsonl",
        dev_pairs=made / "dev.jsonl",
        out=out,
        preset=preset,
        minutes=minutes,
        langs=langs,
        settings=asked,
        fresh=fresh,
        device=None if device == "auto" else device,
    )


def backtranslate(
    model: Bundles,
    text: Annotated[Path, typer.Argument(metavar="TEXT", help="Lines of the target language; plain, .gz or .xz.")],
    out: Annotated[Path, typer.Option(metavar="F", help="Pairs: .jsonl, or else tab-separated.")],
    beam: Beam = None,
    alpha: Alpha = None,
    to: To = None,
    sample: Sample = False,
    seed: Seed = None,
    fresh: Fresh = False,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Make pairs from text in the target language: a model of the other direction writes the sources (Sennrich et al.
    2016). The same command again goes on where it was.

    \b
    Example, for a model from English to German and German text:
      transduce train --source a.de --target a.en --out runs/de-en
      transduce backtranslate runs/de-en more.de --out made.tsv
      transduce train --source a.en --target a.de --mix-pairs made.tsv --mix-share 0.5 --out runs/en-de
    """
    from transduce.cli.files import PACKED, check_apart, check_name
    from transduce.data.formats import format_of

    check_name(out)
    check_apart("--out", out, text)
    if out.suffix in PACKED or format_of(out) not in ("text", "jsonl"):
        raise ConfigError(f"--out {out}: pairs are written as plain .jsonl or tab-separated text. Call it .tsv.")
    if sample:
        refuse({"beam": beam, "alpha": alpha}, "--sample draws one output a line and searches nothing")
    else:
        refuse({"seed": seed}, "it is for --sample")
    check_seed(seed)
    translator = plain_translator(model, device, precision, beam, alpha, to)
    draw = (1 if seed is None else seed) if sample else None
    _make(out, model, _lines(text), translator, fresh=fresh, target_is_read=True, precision=precision, draw=draw, to=to)


def _make(
    out: Path,
    model: Path,
    read: Callable[[], Iterable[str]],
    translator: "Translator",
    *,
    fresh: bool,
    target_is_read: bool,
    precision: str,
    draw: int | None = None,
    to: str | None = None,
) -> None:
    """Pairs of the lines and their outputs; drawn at random from the seed `draw`, if that is given. The model reads the
    lines with the tag `to`."""
    from transduce.bundle import bundle_folder
    from transduce.cli.console import err, say, warn
    from transduce.data.synthetic import forget_pairs, make_pairs
    from transduce.files import sha256
    from transduce.text.form import put_tag

    def write(texts: list[str], first: int) -> list[str]:
        lines = [put_tag(text, to or "") for text in texts]
        if draw is None:
            found = translator.translate_stream(lines, first=first + 1, warn=warn)
            return [outputs[0].text for outputs in found]
        import torch

        generator = torch.Generator(translator.device).manual_seed(draw + first)
        return [drawn.text for drawn in translator.sample_stream(lines, generator, first=first + 1, warn=warn)]

    folders = [bundle_folder(member) for member in members(model)]
    search: dict[str, Any] = {"beam": translator.config.beam, "alpha": translator.config.alpha}
    decided_by: dict[str, Any] = {"models": [sha256(folder / "model.safetensors") for folder in folders]}
    decided_by |= {"settings": [sha256(folder / "config.json") for folder in folders]}
    decided_by |= {"precision": precision, **(search if draw is None else {"seed": draw})}
    if to is not None:
        decided_by["to"] = to
    if fresh:
        forget_pairs(out)
    try:
        with err.status(f"{model} translates") as status:

            def show(done: int, of: int) -> None:
                status.update(f"{model} translates: {done:,} of {of:,} lines")

            is_new = make_pairs(out, read, write, decided_by, target_is_read=target_is_read, progress=show)
    except KeyboardInterrupt:
        say(f"stopped; what is done is kept. To continue, run:\n  {own_command(goes_on=True)}")
        raise
    say(f"{out}: {'done' if is_new else 'was made already'}")


def _check_settings(settings: list[str], preset: str) -> None:
    """Raise `ConfigError` on an unknown preset, and on settings that cannot be, whatever will be chosen beside them."""
    from transduce.config import apply_settings, build_config, derive
    from transduce.presets import SIZES, check_preset

    check_preset(preset)
    known = [s for s in settings if preset != "auto" or not s.startswith("model.")]  # whose sizes are yet to be chosen
    values: dict[str, Any] = {"data": {"train": {"pairs": "train.jsonl"}}, "model": dict(SIZES.get(preset, {}))}
    build_config(derive(apply_settings(values, known)), "command line")


def _training_sources(run: Path) -> Callable[[], Iterator[str]]:
    """What `run` was trained on; and held out, where it had no development set."""
    from transduce.data.corpus import read_pairs
    from transduce.data.prepare import check_inputs, load_prepared
    from transduce.rundata import sources
    from transduce.rundir import load_asked

    try:
        check_inputs(load_prepared(run / "data").manifest)
    except DataError as error:
        raise DataError(f"{str(error).partition('. ')[0]}. Give the lines to learn from with --source.") from error
    train = sources(load_asked(run)).train  # with older data, where some is mixed in
    return lambda: (s for s, _ in read_pairs(train) if s.strip())


def _lines(path: Path) -> Callable[[], Iterator[str]]:
    from transduce.data.corpus import check_lines, read_lines
    from transduce.rundata import check_is_file

    check_is_file(path)  # it is read twice
    check_lines(path)
    return lambda: (line for line in read_lines(path) if line.strip())
