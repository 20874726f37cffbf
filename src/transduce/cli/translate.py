"""`transduce translate` and `transduce score`."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from transduce.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transduce.decoding.engines import DecodingPrecision
    from transduce.decoding.translator import Translation, Translator
    from transduce.device import DeviceName
    from transduce.device import Precision as WantedPrecision

Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A model directory, or a run directory.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]
Form = Annotated[str, typer.Option("--precision", help="auto, fp32, bf16 or int8.")]
Engine = Annotated[
    str, typer.Option(help="torch, ctranslate2 (extra `export`), or auto: the faster one; says which and why.")
]
Bundles = Annotated[
    Path, typer.Argument(metavar="BUNDLE[,BUNDLE...]", help="A model or run directory; several vote, as an ensemble.")
]
DEVICES: "tuple[DeviceName, ...]" = ("auto", "cpu", "cuda", "mps")
PRECISIONS: "tuple[WantedPrecision, ...]" = ("auto", "fp32", "bf16")
FORMS: "tuple[DecodingPrecision, ...]" = (*PRECISIONS, "int8")
Choice = TypeVar("Choice", bound=str)


def translate(
    bundle: Bundles,
    text: Annotated[str | None, typer.Argument(help="Text to translate; else --input or standard input.")] = None,
    input_file: Annotated[str, typer.Option("--input", metavar="F", help="File of lines; - is standard input.")] = "-",
    output_file: Annotated[str, typer.Option("--output", metavar="F", help="Where to; - is standard output.")] = "-",
    beam: Annotated[int | None, typer.Option(help="Beam size; the model's own if not given.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Length penalty; the model's own if not given.")] = None,
    to: Annotated[str | None, typer.Option(metavar="TAG", help="Put the tag >>TAG<< in front of every line.")] = None,
    n_best: Annotated[int, typer.Option(help="Outputs per line, at most the beam.")] = 1,
    sample: Annotated[bool, typer.Option("--sample", help="Draw from the model instead of searching.")] = False,
    temperature: Annotated[
        float | None, typer.Option(help="For --sample: below 1 safer, above 1 wilder; 1 if not given.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="For --sample; 1 if not given.")] = None,
    scores: Annotated[bool, typer.Option("--scores", help="Write score, tab, text.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    attention: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Also write a page that shows where every head looks.")
    ] = None,
    device: Device = "auto",
    precision: Form = "auto",
    engine: Engine = "torch",
) -> None:
    """Translate text: one line in, one line out (n lines with --n-best n), in order.

    \b
    Examples:
      transduce translate runs/mine "A dog runs."
      transduce translate runs/mine --input a.en --output a.de
      echo "A dog runs." | transduce translate runs/mine --n-best 4 --scores
      transduce translate runs/mine "A dog runs." --attention attention.html
      transduce translate runs/seed1,runs/seed2,runs/seed3 --input a.en
    """
    from transduce.cli.files import open_output, read_input
    from transduce.text.form import put_tag

    if text is not None and input_file != "-":
        raise ConfigError("A text and --input: give one of them.")
    if attention is not None and len(members(bundle)) > 1:
        raise ConfigError(f"--attention: of one model, and {bundle} are {len(members(bundle))}. Give one.")
    if n_best < 1:
        raise ConfigError(f"--n-best {n_best}: must be at least 1.")
    search = {"n-best": None if n_best == 1 else n_best, "beam": beam, "alpha": alpha}
    for name, value in (search if sample else {"temperature": temperature, "seed": seed}).items():
        if value is not None:
            why = "--sample draws one output a line and searches nothing" if sample else "it is for --sample"
            raise ConfigError(f"--{name} {value}: {why}. Leave one of them out.")
    if seed is not None and not 0 <= seed < 2**63:
        raise ConfigError(f"--seed {seed}: must be at least 0 and below 2^63.")
    if sample and (engine == "ctranslate2" or precision == "int8"):
        what = "--engine ctranslate2" if engine == "ctranslate2" else "--precision int8"
        raise ConfigError(f"--sample and {what}: only the plain model draws. Leave one of them out.")
    beam = beam if n_best == 1 or beam is not None else n_best
    translator = searching_translator(bundle, device, precision, engine, beam, alpha, n_best)
    if to is not None and to not in translator.tokenizers.tags:
        known = ", ".join(translator.tokenizers.tags) or "none"
        raise ConfigError(f"--to {to}: the tags of this model are: {known}.")
    typed = input_file == "-" and sys.stdin.isatty()  # someone who types wants every answer at once
    lines = text.split("\n") if text is not None else _watched(read_input(input_file), typed)
    if to is not None:
        lines = (put_tag(line, to) for line in lines)
    draw = (1.0 if temperature is None else temperature, 1 if seed is None else seed) if sample else None
    looked_at: list[tuple[str, str]] = []
    with open_output(output_file) as out:
        for source, outputs in _outputs(translator, lines, n_best, draw, 1 if typed else 2000):
            if attention is not None and source.strip() and outputs[0].text.strip():
                looked_at.append((source, outputs[0].text))
            for line in _format(source, outputs, scores, as_json):
                out.write(line + "\n")
            if output_file == "-" and sys.stdout.isatty():
                out.flush()
    if attention is not None:
        _write_attention(translator, bundle, looked_at, attention)


def score(
    bundle: Bundle,
    source: Annotated[Path, typer.Option(metavar="F", help="Source sentences, one a line.")],
    target: Annotated[Path, typer.Option(metavar="F", help="Targets of --source, line by line.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Log-probability (natural) of every target given its source: one a line, end symbol included, no length penalty.

    Example: transduce score runs/mine --source a.en --target a.de
    """
    from transduce.cli.console import print_json
    from transduce.data.corpus import AlignedFiles, read_pairs

    translator = load_translator(bundle, device, precision)
    pairs = read_pairs(AlignedFiles(source=source, target=target))
    try:
        for log_prob in translator.score_stream(pairs):
            if as_json:
                print_json({"log_prob": log_prob})
            else:
                print(f"{log_prob:.6f}")
    except DataError as error:
        if str(error).startswith("line "):  # too long for the model; what is wrong with a file names it already
            raise DataError(f"{source}: {error}") from error
        raise


def members(bundle: Path) -> list[Path]:
    """The models that a BUNDLE argument names: one, or several between commas."""
    if bundle.exists():
        return [bundle]
    return [Path(name) for name in str(bundle).split(",") if name]


def load_translator(
    bundle: Path, device: str, precision: str, beam: int | None = None, alpha: float | None = None
) -> "Translator":
    """The model, or ensemble, behind a command without --engine. Raises `ConfigError` and `BundleError`."""
    place, form = _chosen("device", device, DEVICES), _chosen("precision", precision, PRECISIONS)
    from transduce.decoding.translator import Translator

    _tune_process()
    return Translator.load(members(bundle), device=place, precision=form, beam=beam, alpha=alpha)


def searching_translator(
    bundle: Path,
    device: str,
    precision: str,
    engine: str,
    beam: int | None,
    alpha: float | None,
    n_best: int = 1,
) -> "Translator":
    """The model or ensemble and the engine behind a command that searches.

    Raises `ConfigError`, `BundleError` and `SaveError`.
    """
    from transduce.interop import engines

    place, form = _chosen("device", device, DEVICES), _chosen("precision", precision, FORMS)
    asked = _chosen("engine", engine, engines.ENGINES)
    from transduce.cli.console import say

    _tune_process()
    translator, which = engines.load_translator(
        members(bundle),
        engine=asked,
        device=place,
        precision=form,
        beam=beam,
        alpha=alpha,
        cache=_cache(),
    )
    if n_best > translator.config.beam:
        raise ConfigError(f"--n-best {n_best} needs a beam of at least {n_best}; it is {translator.config.beam}.")
    if engine == "auto":
        say(f"engine {which}")
    return translator


def _chosen(name: str, value: str, known: tuple[Choice, ...]) -> Choice:
    """The one of `known` that `value` is. Raises `ConfigError` where it is none."""
    for choice in known:
        if choice == value:
            return choice
    raise ConfigError(f"--{name} {value}: choose one of {', '.join(known)}.")


def _tune_process() -> None:
    from transduce.device import tune_process
    from transduce.training.world import default_threads, environment

    tune_process(default_threads(environment()))


def _cache() -> Path:
    """Where conversions are kept: $XDG_CACHE_HOME/transduce, by default ~/.cache/transduce."""
    import os

    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "transduce" / "ctranslate2"


def _write_attention(translator: "Translator", bundle: Path, lines: list[tuple[str, str]], path: Path) -> None:
    from transduce.cli.console import say
    from transduce.files import write_atomically
    from transduce.lab.attention_page import MOST_LINES, attention_page

    if len(lines) > MOST_LINES:
        raise ConfigError(
            f"--attention: {len(lines)} lines. Give at most {MOST_LINES}, or the page opens in no browser."
        )
    shown = [(source, output, translator.attention(source, output)) for source, output in lines]
    write_atomically(path, attention_page(f"Attention of {bundle}", shown).encode())
    say(f"{path}: attention of {len(shown)} sentence{'s' if len(shown) > 1 else ''}")


def _outputs(
    translator: "Translator", lines: Iterable[str], n_best: int, draw: tuple[float, int] | None, window: int
) -> Iterator[tuple[str, list["Translation"]]]:
    from transduce.cli.console import warn

    sources: list[str] = []

    def remembered() -> Iterator[str]:
        for line in lines:
            sources.append(line)
            yield line

    found: Iterator[list[Translation]]
    if draw is not None:
        import torch

        temperature, seed = draw
        generator = torch.Generator(translator.device).manual_seed(seed)
        drawn = translator.sample_stream(remembered(), generator, temperature, window=window, warn=warn)
        found = ([one] for one in drawn)
    else:
        found = translator.translate_stream(remembered(), n_best=n_best, window=window, warn=warn)
    for outputs in found:
        yield sources.pop(0), outputs


def _format(source: str, outputs: list["Translation"], scores: bool, as_json: bool) -> Iterator[str]:
    import json

    if as_json:
        best = [{"text": o.text, "score": o.score, "log_prob": o.log_prob} for o in outputs]
        value: dict[str, Any] = {"source": source, "translation": outputs[0].text, "outputs": best}
        yield json.dumps(value, ensure_ascii=False)
        return
    for o in outputs:
        yield f"{o.score:.4f}\t{o.text}" if scores else o.text


def _watched(lines: Iterator[str], typed: bool) -> Iterator[str]:
    """The same lines, with a counter on a terminal."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from transduce.cli.console import err

    if not err.is_terminal or typed:
        yield from lines
        return
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} lines read"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=None)
        for line in lines:
            bar.advance(task)
            yield line
