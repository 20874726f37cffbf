"""`transduce evaluate` and `transduce compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transduce.cli.translate import Engine
from transduce.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transduce.evaluation.metrics import MetricScore

Metric = Annotated[str | None, typer.Option(help="bleu, chrf, ter, wer, per, accuracy; several with commas.")]
Tokenize = Annotated[str | None, typer.Option(help="BLEU's tokenizer: 13a for text, none for tokenised files, ...")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def evaluate(
    bundle: Annotated[Path | None, typer.Argument(metavar="BUNDLE", help="A model or run directory.")] = None,
    source: Annotated[Path | None, typer.Option(metavar="F", help="Inputs, one a line.")] = None,
    reference: Annotated[Path | None, typer.Option(metavar="F", help="Right outputs, line by line.")] = None,
    pairs: Annotated[Path | None, typer.Option(metavar="F", help="Instead of both: one file of pairs.")] = None,
    hypothesis: Annotated[Path | None, typer.Option(metavar="F", help="Score these outputs; no model needed.")] = None,
    columns: Annotated[str | None, typer.Option(help="Columns of --pairs: source,target; 1+3,2 joins two.")] = None,
    metric: Metric = None,
    tokenize: Tokenize = None,
    beam: Annotated[int | None, typer.Option(help="Beam size; the model's own if not given.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Length penalty; the model's own if not given.")] = None,
    output: Annotated[Path | None, typer.Option(metavar="F", help="Also write the outputs, one a line.")] = None,
    as_json: Json = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or int8.")] = "auto",
    engine: Engine = "torch",
) -> None:
    """Measure a model on a test set, or outputs that exist already. Lines with the same source are several
    references of one input. A RUN without --source or --pairs is measured on its recipe's test set.

    \b
    Examples:
      transduce evaluate runs/multi30k_ende
      transduce evaluate runs/mine --source test.en --reference test.de --metric bleu,chrf
      transduce evaluate --hypothesis out.de --reference test.de
    """
    from transduce.evaluation.metrics import evaluate as measure
    from transduce.evaluation.metrics import group_references

    if bundle is None or hypothesis is not None:
        if hypothesis is None or reference is None or bundle is not None:
            raise ConfigError("Give a BUNDLE, or --hypothesis and --reference (and then no BUNDLE).")
        decoding = {"pairs": pairs, "columns": columns, "beam": beam, "alpha": alpha, "output": output}
        for name, value in decoding.items():
            if value is not None:
                raise ConfigError(f"--{name} and --hypothesis: the outputs are there already. Leave one of them out.")
        outputs, references = _existing(hypothesis, reference, source)
        metrics, tokenizer = _metrics(metric or "bleu"), tokenize or "13a"
    else:
        from transduce.bundle import bundle_folder, load_config

        config = load_config(bundle_folder(bundle))
        metrics, tokenizer = _metrics(metric or config.metric), tokenize or config.tokenize
        measure(["a"], [["a"]], metrics, tokenizer)  # a bad metric is known before the decoding, not after
        lines = _test_set(bundle, source, reference, pairs, columns, (config.source_lang, config.target_lang))
        sources, references = group_references([s for s, _ in lines], [t for _, t in lines])
        outputs = _decode(bundle, sources, beam, alpha, device, precision, engine)
        if output is not None:
            found = dict(zip(sources, outputs, strict=True))
            _write(output, [found[s] for s, _ in lines])
    _print(measure(outputs, references, metrics, tokenizer), as_json)


def compare(
    hypothesis_a: Annotated[Path, typer.Argument(metavar="HYP_A", help="Outputs of one system, one a line.")],
    hypothesis_b: Annotated[Path, typer.Argument(metavar="HYP_B", help="Outputs of the other.")],
    reference: Annotated[Path, typer.Option(metavar="F", help="Right outputs, line by line.")],
    metric: Metric = None,
    tokenize: Tokenize = None,
    samples: Annotated[int, typer.Option(help="Resamplings.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the resampling.")] = 12345,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a metric.")] = False,
) -> None:
    """Is one system better than the other? Paired bootstrap resampling (Koehn 2004).

    Example: transduce compare --reference test.de a.out b.out --metric bleu,chrf
    """
    from dataclasses import asdict

    from transduce.cli.console import print_json
    from transduce.cli.files import read_all
    from transduce.evaluation.compare import compare as paired

    a, b, right = read_all(hypothesis_a), read_all(hypothesis_b), read_all(reference)
    for path, lines in ((hypothesis_a, a), (hypothesis_b, b)):
        _same_length(path, lines, reference, right)
    for name in _metrics(metric or "bleu"):
        found = paired(a, b, [[r] for r in right], name, tokenize or "13a", samples=samples, seed=seed)
        if as_json:
            print_json({"metric": name, **asdict(found)})
            continue
        for label, i in (("A", found.a), ("B", found.b), ("B - A", found.delta)):
            print(f"{name:9}{label:6}{i.score:+8.2f}   95%: {i.low:+.2f} to {i.high:+.2f}")
        print(
            f"  p = {found.p_value:.4f}; B better in {found.wins_b:.1%} of {samples} samples, A in {found.wins_a:.1%}"
        )
        print(f"  {found.signature}")


def _metrics(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"--metric {text!r}: name at least one, for instance bleu,chrf.")
    return names


def _existing(hypothesis: Path, reference: Path, source: Path | None) -> tuple[list[str], list[list[str]]]:
    """Outputs and references; with sources, repeated ones are one input with several references."""
    from transduce.cli.files import read_all
    from transduce.evaluation.metrics import group_references

    outputs, right = read_all(hypothesis), read_all(reference)
    _same_length(hypothesis, outputs, reference, right)
    if source is None:
        return outputs, [[r] for r in right]
    inputs = read_all(source)
    _same_length(source, inputs, reference, right)
    first = dict(zip(reversed(inputs), reversed(outputs), strict=True))
    sources, references = group_references(inputs, right)
    return [first[s] for s in sources], references


def _test_set(
    bundle: Path,
    source: Path | None,
    reference: Path | None,
    pairs: Path | None,
    columns: str | None,
    languages: tuple[str, str],
) -> list[tuple[str, str]]:
    from transduce.cli.train import parse_columns
    from transduce.data.corpus import AlignedFiles, Files, PairsFile, read_pairs

    files: Files
    if columns is not None and pairs is None:
        raise ConfigError("--columns: there is no --pairs to take columns from.")
    if pairs is not None:
        if source is not None or reference is not None:
            raise ConfigError("--pairs holds both sides: give it, or --source and --reference.")
        sides = [tuple(c) if isinstance(c, list) else (c,) for c in parse_columns(columns or "1,2")]
        files = PairsFile(pairs=pairs, source_columns=sides[0], target_columns=sides[1], languages=languages)
    elif source is not None and reference is not None:
        files = AlignedFiles(source=source, target=reference)
    elif source is None and reference is None:
        files = _recipe_test(bundle)
    else:
        raise ConfigError("--source and --reference belong together: one of them is missing.")
    return list(read_pairs(files))


def _recipe_test(bundle: Path) -> Any:
    from transduce.rundir import load_asked

    if not (bundle / "recipe.toml").is_file():
        raise ConfigError(f"{bundle}: a model without a recipe. Give a test set: --source and --reference, or --pairs.")
    data = load_asked(bundle).data
    if data.test is None:
        raise ConfigError(f"{bundle}: its recipe names no test set. Give --source and --reference, or --pairs.")
    return data.files(data.test)


def _decode(
    bundle: Path,
    sources: list[str],
    beam: int | None,
    alpha: float | None,
    device: str,
    precision: str,
    engine: str,
) -> list[str]:
    from rich.progress import track

    from transduce.cli.console import err, warn
    from transduce.cli.translate import searching_translator

    translator = searching_translator(bundle, device, precision, engine, beam, alpha)
    found = translator.translate_stream(sources, window=500, warn=warn)
    shown = track(found, "translating", total=len(sources), console=err, disable=not err.is_terminal, transient=True)
    return [outputs[0].text for outputs in shown]


def _print(scores: dict[str, "MetricScore"], as_json: bool) -> None:
    from transduce.cli.console import print_json

    if as_json:
        print_json({name: {"score": s.score, "signature": s.signature} for name, s in scores.items()})
        return
    for name, s in scores.items():
        print(f"{name:9}{s.score:7.2f}   {s.signature}")


def _same_length(path: Path, lines: list[str], reference: Path, right: list[str]) -> None:
    if len(lines) != len(right):
        raise DataError(
            f"{path} has {len(lines):,} lines, {reference} has {len(right):,}: they do not belong together."
        )


def _write(path: Path, lines: list[str]) -> None:
    from transduce.files import write_atomically

    write_atomically(path, "".join(line + "\n" for line in lines).encode())
