"""`transduce evaluate --grid`: beam and alpha chosen on a development set."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transduce.errors import ConfigError

if TYPE_CHECKING:
    from transduce.evaluation.metrics import Measured

Cells = dict[str, list[float]]
_EXAMPLE = "for instance --grid beam=1,2,4 alpha=0,0.6,1"


def parse_grid(bundle: Path | None, more: list[str] | None, grid: list[str] | None) -> tuple[Path | None, Cells | None]:
    """The BUNDLE among the arguments, and the values to try of beam and alpha where `--grid` is given.

    Raises `ConfigError` on too many arguments, another key than these two, or what is no number.
    """
    arguments = [*([] if bundle is None else [str(bundle)]), *(more or [])]
    keys = [word for word in arguments if re.match(r"\w+=", word)]
    rest = [word for word in arguments if word not in keys]
    if keys and not grid:
        raise ConfigError(f"{keys[0]}: it is for --grid, {_EXAMPLE}.")
    if len(rest) > 1:
        raise ConfigError(
            f"{rest[1]}: one BUNDLE is enough; a comma between several makes an ensemble of them. Files of a test set "
            "are --source and --reference, or --pairs."
        )
    found: Cells = {}
    for word in [*(grid or []), *keys]:
        key, equals, values = word.partition("=")
        kind = {"beam": int, "alpha": float}.get(key)
        if kind is None or not equals:
            raise ConfigError(f"--grid {word}: write beam=... and alpha=..., {_EXAMPLE}.")
        if key in found:
            raise ConfigError(f"--grid {word}: {key} is there already. Write all of its values in one, {_EXAMPLE}.")
        try:
            found[key] = list(dict.fromkeys(kind(value) for value in values.split(",")))
        except ValueError as error:
            raise ConfigError(f"--grid {word}: numbers between commas, {_EXAMPLE}.") from error
    return Path(rest[0]) if rest else None, found if grid else None


def show_grid(
    bundle: Path, cells: Cells, test: "Measured", device: str, precision: str, to: str | None, as_json: bool
) -> None:
    """Score every beam with every alpha in the metric of `test`, and print all, the best one marked.

    Raises `ConfigError` on several metrics, which may not agree, or a search that cannot be.
    """
    from dataclasses import replace

    from transduce.cli.console import err, print_json, say, warn
    from transduce.cli.searching import plain_translator
    from transduce.decoding.translator import DecodingConfig
    from transduce.evaluation.metrics import evaluate, higher_is_better

    if len(test.metrics) > 1:
        raise ConfigError(f"--metric {','.join(test.metrics)} and --grid: one metric has to choose. Give one.")
    assert test.sources is not None
    translator = plain_translator(bundle, device, precision, to=to)
    own = translator.config
    beams = [int(beam) for beam in cells.get("beam", [own.beam])]
    alphas = cells.get("alpha", [own.alpha])
    searches = [[replace(own, beam=beam, alpha=alpha) for alpha in alphas] for beam in beams]  # all are checked first
    metric, scores, signature = test.metrics[0], dict[DecodingConfig, float](), ""
    for row in searches:
        translator.config = row[0]
        with err.status(f"translating {len(test.sources):,} inputs with a beam of {row[0].beam}"):
            outputs = translator.translate_alphas(test.sources, alphas, warn=warn)
        for search, found in zip(row, outputs, strict=True):
            measured = evaluate(found, test.references, [metric], test.tokenize)[metric]
            scores[search], signature = measured.score, measured.signature
    best = (max if higher_is_better(metric) else min)(scores, key=lambda search: scores[search])
    if as_json:
        each = [{"beam": s.beam, "alpha": s.alpha, "score": score} for s, score in scores.items()]
        chosen: dict[str, Any] = {"beam": best.beam, "alpha": best.alpha, "score": scores[best]}
        print_json(
            {"metric": metric, "signature": signature, "inputs": len(test.sources), "grid": each, "best": chosen}
        )
        return
    print(f"{metric:>8}  " + "".join(f"{f'alpha {alpha:g}':>11} " for alpha in alphas))
    for row in searches:
        marks = ("*" if search == best else " " for search in row)
        values = "".join(f"{scores[s]:11.2f}{mark}" for s, mark in zip(row, marks, strict=True))
        print(f"{f'beam {row[0].beam}':>8}  {values}")
    print(f"{len(test.sources):,} inputs; {signature}")
    now = f"{scores[own]:.2f} with its own, beam {own.beam} and alpha {own.alpha:g}" if own in scores else ""
    say(f"best: --beam {best.beam} --alpha {best.alpha:g}, {scores[best]:.2f}{f'; {now}' if now else ''}")
