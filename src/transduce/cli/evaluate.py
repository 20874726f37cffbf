"""`transduce evaluate` and `transduce compare`."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transduce.cli.grid import parse_grid, show_grid
from transduce.cli.searching import Search, members, refuse, threads
from transduce.cli.testset import (
    Lines,
    beside_outputs,
    has_data,
    read_test_set,
    recipe_test,
    run_dev,
    same_length,
    scores_by_line,
)
from transduce.cli.translate import Alpha, Beam, Device, Engine, Form, To
from transduce.errors import ConfigError

if TYPE_CHECKING:
    from transduce.evaluation.compare import Comparison
    from transduce.evaluation.metrics import Measured, MetricScore

Metric = Annotated[
    str | None,
    typer.Option(help="bleu, chrf, ter, wer, per, accuracy; several with commas. The model's own, or bleu."),
]
Tokenize = Annotated[
    str | None, typer.Option(help="BLEU's tokenizer: 13a for text, none for tokenised files. The model's, or 13a.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def evaluate(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE[,BUNDLE...]", help="A model or run directory; several vote.")
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="[KEY=V,V...]", help="More of --grid.")] = None,
    source: Annotated[Path | None, typer.Option(metavar="F", help="Inputs, one a line.")] = None,
    reference: Annotated[Path | None, typer.Option(metavar="F", help="Right outputs, line by line.")] = None,
    pairs: Annotated[Path | None, typer.Option(metavar="F", help="Instead of both: one file of pairs.")] = None,
    hypothesis: Annotated[Path | None, typer.Option(metavar="F", help="Score these outputs; no model needed.")] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="BUNDLE|F", help="Compare with this model, or with the outputs in F.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns of --pairs: source,target; 1+3,2 joins two. Else the RUN's.")
    ] = None,
    to: To = None,
    metric: Metric = None,
    tokenize: Tokenize = None,
    by_line: Annotated[
        bool | None,
        typer.Option(help="Score each line by itself, also where several have the same source; else the recipe's."),
    ] = None,
    beam: Beam = None,
    alpha: Alpha = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=V,V...", help="Try every beam and alpha of beam=..., alpha=...; RUN's dev set."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Also write a page: how good, and where it fails.")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="F", help="Also write the outputs, one a line.")] = None,
    as_json: Json = False,
    device: Device = "auto",
    precision: Form = "auto",
    engine: Engine = "torch",
) -> None:
    """Measure a model on a test set, or outputs that exist already. Lines with the same source are several
    references of one input. A RUN without --source or --pairs is measured on its recipe's test set.

    \b
    Examples:
      transduce evaluate runs/multi30k_ende
      transduce evaluate runs/mine --source test.en --reference test.de --metric bleu,chrf
      transduce evaluate --hypothesis out.de --reference test.de
      transduce evaluate runs/multi30k_ende --report report.html --against runs/other
      transduce evaluate runs/mine --grid beam=1,2,4,8 alpha=0,0.6,1
    """
    from transduce.bundle import bundle_folder, load_config
    from transduce.cli.console import say
    from transduce.cli.files import check_apart, check_place, is_outputs, open_output
    from transduce.evaluation.metrics import Measured
    from transduce.evaluation.metrics import evaluate as measure
    from transduce.text.form import normalise

    bundle, cells = parse_grid(bundle, more, grid)
    if output == Path("-"):
        raise ConfigError("--output -: the scores go to standard output. Name a file for the outputs.")
    languages = "", ""
    if bundle is None or hypothesis is not None:
        if hypothesis is None or reference is None or bundle is not None:
            raise ConfigError("Give a BUNDLE, or --hypothesis and --reference (and then no BUNDLE).")
        taken: dict[str, object] = {"pairs": pairs, "columns": columns, "grid": grid, "output": output}
        if against is None or is_outputs(against):  # no model decodes
            taken |= {
                "beam": beam,
                "alpha": alpha,
                "engine": _given(engine, "torch"),
                "precision": _given(precision),
                "device": _given(device),
                "to": to,
            }
        refuse(taken, "the outputs are there already", beside="hypothesis")
        other_model = against if against is not None and not is_outputs(against) else None
        normal = "none" if other_model is None else load_config(bundle_folder(members(other_model)[0])).normalise
        lines = beside_outputs(reference, source, normal, to)
        metrics, tokenizer = _metrics("bleu" if metric is None else metric), tokenize or "13a"
    else:
        first = members(bundle)[0]
        config = load_config(bundle_folder(first))
        languages = config.source_lang, config.target_lang
        metrics = _metrics(config.metric if metric is None else metric)
        tokenizer = tokenize or config.tokenize
        measure(["a"], [["a"]], metrics, tokenizer)  # a bad metric is known before the decoding, not after
        named = read_test_set(first, source, reference, pairs, columns, languages, config.normalise, to)
        lines = named or (run_dev if cells else recipe_test)(first)
        by_line = scores_by_line(first) if by_line is None else by_line
    lines = replace(lines, by_line=by_line or False)
    sources, references = lines.inputs()
    if lines.blank:
        say(f"{lines.where}: {lines.blank:,} pairs with an empty side are left out, as in training")
    test = Measured(sources, references, metrics, tokenizer, *languages)
    if cells is not None:
        assert bundle is not None
        taken = {"beam": beam, "alpha": alpha, "against": against, "report": report, "output": output}
        taken["engine"] = _given(engine, "torch")
        taken["precision"] = "int8" if precision == "int8" else None
        refuse(taken, "it measures many searches of its own, of the plain model, and keeps no outputs", beside="grid")
        show_grid(bundle, cells, test, device, precision, to, as_json)
        return
    read = (source, reference, pairs, hypothesis, against, lines.where)
    check_apart("--output", output, report, *read)
    check_apart("--report", report, *read)
    check_place(output)
    check_place(report)
    other = None if against is None else _other(against, lines)
    searching = partial(Search, device=device, precision=precision, engine=engine, beam=beam, alpha=alpha, to=to)
    if hypothesis is not None:
        outputs = lines.read_outputs(hypothesis)
    else:
        assert bundle is not None
        outputs = _decode(searching(bundle=bundle), test)
    systems = [(str(bundle or hypothesis), outputs)]
    if against is None:
        _print(measure(outputs, references, metrics, tokenizer), as_json)
    else:
        if other is None:
            other = [normalise(output, lines.normal) for output in _decode(searching(bundle=against), test)]
        systems.append((str(against), other))
        _print_both(outputs, systems[1][1], test, as_json)
    if output is not None:
        with open_output(str(output)) as file:
            file.writelines(line + "\n" for line in lines.line_by_line(outputs))
    if report is not None:
        _write_report(report, test, systems, None if bundle is None else members(bundle)[0])


def compare(
    hypothesis_a: Annotated[Path, typer.Argument(metavar="HYP_A", help="Outputs of one system, one a line.")],
    hypothesis_b: Annotated[Path, typer.Argument(metavar="HYP_B", help="Outputs of the other.")],
    reference: Annotated[Path, typer.Option(metavar="F", help="Right outputs, line by line.")],
    metric: Annotated[str, typer.Option(help="bleu, chrf, ter, wer, per, accuracy; several with commas.")] = "bleu",
    tokenize: Annotated[str, typer.Option(help="BLEU's tokenizer: 13a for text, none for tokenised files.")] = "13a",
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
    from transduce.evaluation.metrics import evaluate as measure

    a, b, right = read_all(hypothesis_a), read_all(hypothesis_b), read_all(reference)
    for path, lines in ((hypothesis_a, a), (hypothesis_b, b)):
        same_length(path, lines, reference, right)
    names = _metrics(metric)
    measure(["a"], [["a"]], names, tokenize)  # a bad metric is known before the first is printed
    for name in names:
        found = paired(a, b, [[r] for r in right], name, tokenize, samples=samples, seed=seed)
        if as_json:
            print_json({"metric": name, **asdict(found)})
        else:
            _print_comparison(found)


def _metrics(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"--metric {text!r}: name at least one, for instance bleu,chrf.")
    return names


def _given(value: str, default: str = "auto") -> str | None:
    return None if value == default else value


def _other(against: Path, lines: Lines) -> list[str] | None:
    """The outputs in the file `against`; None where it is a model. Raises before anything is decoded."""
    from transduce.bundle import bundle_folder
    from transduce.cli.files import is_outputs

    if is_outputs(against):
        return lines.read_outputs(against)
    for member in members(against):
        bundle_folder(member)
    if lines.sources is None:
        raise ConfigError(f"{against}: a model needs inputs. Give --source, or the outputs of this model as a file.")
    return None


def _decode(search: Search, test: "Measured") -> list[str]:
    from rich.progress import track

    from transduce.cli.console import err, warn

    assert test.sources is not None
    translator = search.translator(threads())
    found = translator.translate_stream(test.sources, window=500, warn=warn)
    shown = track(
        found, "translating", total=len(test.sources), console=err, disable=not err.is_terminal, transient=True
    )
    return [outputs[0].text for outputs in shown]


def _print(scores: dict[str, "MetricScore"], as_json: bool) -> None:
    from transduce.cli.console import print_json

    if as_json:
        print_json({name: {"score": s.score, "signature": s.signature} for name, s in scores.items()})
        return
    for name, s in scores.items():
        print(f"{name:9}{s.score:7.2f}   {s.signature}")


def _print_comparison(found: "Comparison") -> None:
    for label, i in (("A", found.a), ("B", found.b), ("B - A", found.delta)):
        print(f"{found.metric:9}{label:6}{i.score:+8.2f}   95%: {i.low:+.2f} to {i.high:+.2f}")
    p, better, worse = found.p_value, found.wins_b, found.wins_a
    print(f"  p = {p:.4f}; B better in {better:.1%} of {found.samples} samples, A in {worse:.1%}")
    print(f"  {found.signature}")


def _print_both(outputs: list[str], other: list[str], test: "Measured", as_json: bool) -> None:
    """Scores of the outputs (A) beside those of others (B)."""
    from dataclasses import asdict

    from transduce.cli.console import print_json
    from transduce.evaluation.compare import compare as paired

    found = {name: paired(outputs, other, test.references, name, test.tokenize) for name in test.metrics}
    if as_json:
        plain = {
            name: {"score": c.a.score, "signature": c.signature, "against": asdict(c)} for name, c in found.items()
        }
        print_json(plain)
    else:
        for one in found.values():
            _print_comparison(one)


def _write_report(path: Path, test: "Measured", systems: list[tuple[str, list[str]]], model: Path | None) -> None:
    """The page; by rarity of words too, where `model` is a run that has its data."""
    from transduce.cli.console import say
    from transduce.cli.train import own_command
    from transduce.data.prepare import load_prepared
    from transduce.files import write_atomically
    from transduce.lab.evaluation_page import evaluation_page

    prepared = load_prepared(model / "data") if model is not None and has_data(model) else None
    title = "Evaluation of " + " and ".join(name for name, _ in systems)
    write_atomically(path, evaluation_page(title, test, systems, own_command(), prepared).encode())
    say(f"{path}: the report")
