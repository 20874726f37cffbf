"""`transduce translate` and `transduce score`."""

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transduce.cli.searching import Chunk, Search, members, plain_translator, refuse, threads
from transduce.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transduce.decoding.texts import Translation
    from transduce.decoding.translator import Translator

Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A model directory, or a run directory.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]
Beam = Annotated[int | None, typer.Option(help="Beam size; the model's own if not given.")]
Alpha = Annotated[float | None, typer.Option(help="Length penalty; the model's own if not given.")]
Sample = Annotated[bool, typer.Option("--sample", help="Draw from the model instead of searching.")]
Seed = Annotated[int | None, typer.Option(help="For --sample; 1 if not given.")]
Form = Annotated[str, typer.Option("--precision", help="auto, fp32, bf16 or int8.")]
To = Annotated[str | None, typer.Option(metavar="TAG", help="Put the tag >>TAG<< in front of every source.")]
Engine = Annotated[
    str, typer.Option(help="torch, ctranslate2 (extra `export`), or auto: the faster one; says which and why.")
]
Bundles = Annotated[
    Path, typer.Argument(metavar="BUNDLE[,BUNDLE...]", help="A model or run directory; several vote, as an ensemble.")
]
_LINES = 2000  # translated together: among so many, lines of like length share batches
_CHARACTERS = 2**22


def translate(
    bundle: Bundles,
    text: Annotated[str | None, typer.Argument(help="Text to translate; else --input or standard input.")] = None,
    input_file: Annotated[str, typer.Option("--input", metavar="F", help="File of lines; - is standard input.")] = "-",
    output_file: Annotated[str, typer.Option("--output", metavar="F", help="Where to; - is standard output.")] = "-",
    beam: Beam = None,
    alpha: Alpha = None,
    to: To = None,
    n_best: Annotated[int, typer.Option(help="Outputs per line; at most --beam, where that is given.")] = 1,
    sample: Sample = False,
    temperature: Annotated[
        float | None, typer.Option(help="For --sample: below 1 safer, above 1 wilder; 1 if not given.")
    ] = None,
    seed: Seed = None,
    scores: Annotated[bool, typer.Option("--scores", help="Write score, tab, text.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    attention: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Also write a page that shows where every head looks.")
    ] = None,
    device: Device = "auto",
    precision: Form = "auto",
    engine: Engine = "torch",
    prefix: Annotated[
        Path | None,
        typer.Option(metavar="F", help="What the output of each line begins with; blank lines leave it free."),
    ] = None,
    diverse: Annotated[
        float | None,
        typer.Option(metavar="S", help="With --n-best n: outputs that differ more, by diverse beam search; try 0.5."),
    ] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", help="Processes that share the lines and the threads; for long files.")
    ] = 1,
    shortlist: Annotated[
        bool, typer.Option("--shortlist", help="Faster: outputs of likely pieces only (`transduce shortlist`).")
    ] = False,
) -> None:
    """Translate text: one line in, one line out (at most n with --n-best n; --json says whose), in order.

    \b
    Examples:
      transduce translate runs/mine "A dog runs."
      transduce translate runs/mine --input a.en --output a.de
      echo "A dog runs." | transduce translate runs/mine --n-best 4 --scores
      transduce translate runs/mine "A dog runs." --attention attention.html
      transduce translate runs/seed1,runs/seed2,runs/seed3 --input a.en
      transduce translate runs/mine "A dog runs." --n-best 4 --diverse 0.5
      transduce translate runs/mine --input a.en --prefix begun.de --output a.de
      transduce translate runs/mine --input a.en --output a.de --workers 4
      transduce shortlist runs/mine; transduce translate runs/mine --input a.en --shortlist
    """
    from transduce.cli.console import say, warn
    from transduce.cli.files import Lines, check_apart, check_place, open_output
    from transduce.cli.progress import counting
    from transduce.text.form import put_tag, split_tag

    if text is not None and input_file != "-":
        raise ConfigError("A text and --input: give one of them.")
    if attention is not None and len(members(bundle)) > 1:
        raise ConfigError(f"--attention: of one model, and {bundle} are {len(members(bundle))}. Give one.")
    check_place(attention)
    read, written = (None if name == "-" else Path(name) for name in (input_file, output_file))
    check_apart("--output", written, read, prefix)
    check_apart("--attention", attention, read, written, prefix)
    if n_best < 1:
        raise ConfigError(f"--n-best {n_best}: must be at least 1.")
    if sample:
        searching: dict[str, object] = {"n-best": None if n_best == 1 else n_best, "beam": beam, "alpha": alpha}
        searching |= {"prefix": prefix, "diverse": diverse}
        refuse(searching, "--sample draws one output a line and searches nothing")
        _check_plain("--sample", "only the plain model draws", engine, precision)
        if shortlist:
            raise ConfigError("--shortlist: it is for searching, and --sample draws. Leave one of them out.")
    else:
        refuse({"temperature": temperature, "seed": seed}, "it is for --sample")
    if diverse is not None:
        _check_plain("--diverse", "only the plain model searches so", engine, precision)
        if shortlist:
            raise ConfigError("--shortlist and --diverse: diverse search is over all pieces. Leave one of them out.")
        if n_best < 2:
            raise ConfigError(f"--diverse {diverse}: one output has nothing to differ from. Give --n-best 2 or more.")
    check_seed(seed)
    if text is not None:
        with suppress(OSError):  # too long for a name
            if Path(text).is_file():
                warn(f"{text}: a file of this name is there, and the name is translated. Its lines: --input {text}")
    if engine == "auto" and (sample or diverse is not None):
        say(f"engine torch: {'--sample draws' if sample else '--diverse searches'} with the plain model")
        engine = "torch"
    if workers != 1:
        _check_workers(workers, text, input_file, sample, attention)
    search = Search(
        bundle=bundle,
        device=device,
        precision=precision,
        engine=engine,
        beam=n_best if diverse is not None and beam is None else beam,
        alpha=alpha,
        n_best=n_best,
        to=to,
        draw=(1.0 if temperature is None else temperature, 1 if seed is None else seed) if sample else None,
        diverse=diverse,
        workers=workers,
        shortlist=shortlist,
    )
    translator = search.translator(threads()) if workers == 1 else None
    given = None if text is not None else Lines(input_file)
    lines: Iterable[str] = (text or "").split("\n") if given is None else given
    if to is not None:
        lines = (put_tag(line, to) for line in lines)
    found = _outputs(search, translator, lines, prefix, lambda: given is None or given.ready())
    looked_at: list[tuple[str, str]] = []
    shown = (
        given is not None
        and not (output_file == "-" and sys.stdout is not None and sys.stdout.isatty())
        and not _typed(input_file)
    )
    with (
        open_output(output_file, keep=True) as out,
        closing(found),
        counting(0 if given is None else given.size, shown) as count,
    ):
        for source, outputs in found:
            if attention is not None and source.strip() and outputs[0].text.strip():
                looked_at.append((source, outputs[0].text))
                _check_number(looked_at)
            as_given = source if to is None else split_tag(source)[1]
            out.write("".join(line + "\n" for line in _format(as_given, outputs, scores, as_json)))
            if output_file == "-":
                out.flush()  # whoever reads gets every answer whole, as soon as it is there
            count(as_given)
    if attention is not None and translator is not None:
        _write_attention(translator, bundle, looked_at, attention)


def check_seed(seed: int | None) -> None:
    """Raise `ConfigError` for one that no generator takes."""
    if seed is not None and not 0 <= seed < 2**63:
        raise ConfigError(f"--seed {seed}: must be at least 0 and below 2^63.")


def _check_plain(option: str, why: str, engine: str, precision: str) -> None:
    """Raise `ConfigError` where `option` is given beside what only other engines do."""
    for name, value, other in (("engine", engine, "ctranslate2"), ("precision", precision, "int8")):
        if value == other:
            raise ConfigError(f"{option} and --{name} {value}: {why}. Leave one of them out.")


def _typed(input_file: str) -> bool:
    return input_file == "-" and sys.stdin is not None and sys.stdin.isatty()


def _check_workers(workers: int, text: str | None, input_file: str, sample: bool, attention: Path | None) -> None:
    """Raise `ConfigError` where several processes make no sense."""
    if workers < 1:
        raise ConfigError(f"--workers {workers}: must be at least 1.")
    if text is not None:
        raise ConfigError(f"--workers {workers}: they are for many lines. Leave it out, or give --input.")
    if _typed(input_file):
        raise ConfigError(f"--workers {workers}: nobody types so fast. Leave it out, or give --input.")
    if sample:
        raise ConfigError(f"--workers {workers}: --sample draws line after line. Leave one of them out.")
    if attention is not None:
        raise ConfigError(f"--workers {workers}: --attention looks into one model. Leave one of them out.")
    if workers > (most := threads()):
        raise ConfigError(
            f"--workers {workers}: each needs a thread, and the number of threads is {most}. "
            f"Use at most {most}, or set OMP_NUM_THREADS."
        )


def score(
    bundle: Bundle,
    source: Annotated[Path, typer.Option(metavar="F", help="Source sentences, one a line.")],
    target: Annotated[Path, typer.Option(metavar="F", help="Targets of --source, line by line.")],
    to: To = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Log-probability (natural) of every target given its source: one a line, end symbol included, no length penalty.

    Numbers, addresses and the like that both sides have are scored as placeholders, where the model keeps them.

    Example: transduce score runs/mine --source a.en --target a.de
    """
    from transduce.cli.console import print_json
    from transduce.data.corpus import AlignedFiles, read_pairs

    translator = plain_translator(bundle, device, precision, to=to)
    pairs = read_pairs(AlignedFiles(source=source, target=target, tag=to or ""))
    try:
        for log_prob in translator.score_stream(pairs):
            if as_json:
                print_json({"log_prob": log_prob})
            else:
                print(f"{log_prob:.6f}")
    except DataError as error:
        if str(error).startswith("line "):  # too long for the model; what is wrong with a file names it already
            raise DataError(f"{source} and {target}, {error}") from error
        raise


def _check_number(lines: list[tuple[str, str]]) -> None:
    """Raise `ConfigError` on more lines than a page of attention takes."""
    from transduce.lab.attention_page import MOST_LINES

    if len(lines) > MOST_LINES:
        raise ConfigError(f"--attention: give at most {MOST_LINES} lines, or the page opens in no browser.")


def _write_attention(translator: "Translator", bundle: Path, lines: list[tuple[str, str]], path: Path) -> None:
    from transduce.cli.console import say, warn
    from transduce.files import write_atomically
    from transduce.lab.attention_page import attention_page

    shown = []
    for source, output in lines:
        try:
            shown.append((source, output, translator.attention(source, output)))
        except DataError as error:
            warn(f"{source[:40]}...: left out of {path}: {error}")
    write_atomically(path, attention_page(f"Attention of {bundle}", shown).encode())
    say(f"{path}: attention of {len(shown)} sentence{'s' if len(shown) > 1 else ''}")


def _outputs(
    search: Search,
    translator: "Translator | None",
    lines: Iterable[str],
    prefix: Path | None,
    ready: Callable[[], bool],
) -> Generator[tuple[str, list["Translation"]], None, None]:
    """Every line and its outputs, from this `translator` or, where there is none, from several processes."""
    from transduce.cli.console import warn
    from transduce.cli.workers import in_processes

    chunks = _chunks(lines, prefix, ready)
    if translator is None:
        found = in_processes(search.load, chunks, search.workers, ready=ready, name=_name)
    else:
        work = search.on(translator)
        found = ((chunk, work(chunk)) for chunk in chunks)
    with closing(found):
        for chunk, answer in found:
            for warning in answer.warnings:
                warn(warning)
            yield from zip(chunk.lines, answer.outputs, strict=True)


def _chunks(lines: Iterable[str], prefix: Path | None, ready: Callable[[], bool]) -> Iterator[Chunk]:
    """Lines in chunks, with the lines of `prefix`. Raises `DataError` where there are not as many of these."""
    from transduce.data.corpus import check_lines, read_lines
    from transduce.decoding.lines import windows

    first = 1
    if prefix is not None:
        check_lines(prefix)
    prefixes = iter(()) if prefix is None else read_lines(prefix)
    for texts in windows(lines, most_lines=_LINES, most_characters=_CHARACTERS, ready=ready):
        begins = list(islice(prefixes, len(texts)))
        if prefix is not None and len(begins) < len(texts):
            raise DataError(
                f"{prefix}: it ends before line {first + len(begins)} of the input. "
                "Give one prefix for every line; it may be blank."
            )
        yield Chunk(first, texts, None if prefix is None else begins)
        first += len(texts)
    if next(prefixes, None) is not None:
        raise DataError(f"{prefix}:{first}: the input has no such line. Give one prefix for every line.")


def _name(chunk: Chunk) -> str:
    return f"lines {chunk.first:,} to {chunk.first + len(chunk.lines) - 1:,}"


def _format(source: str, outputs: list["Translation"], scores: bool, as_json: bool) -> Iterator[str]:
    import json

    if as_json:
        best = [{"text": o.text, "score": o.score, "log_prob": o.log_prob} for o in outputs]
        value: dict[str, Any] = {"source": source, "translation": outputs[0].text, "outputs": best}
        yield json.dumps(value, ensure_ascii=False)
        return
    for o in outputs:
        yield f"{o.score:.4f}\t{o.text}" if scores else o.text
