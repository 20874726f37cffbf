"""The preflight report on standard error: what deserves attention first, then the table."""

from rich.table import Table

from transduce.cli.console import err, say, warn
from transduce.data.cleaning import RULES
from transduce.data.preflight import Preflight, warnings
from transduce.data.survey import Lengths, Overlap, Side
from transduce.interop.rules import NAMES
from transduce.machine import memory
from transduce.plan import FEW, Plan


def show(preflight: Preflight) -> None:
    """Print the report."""
    for text in warnings(preflight):
        warn(text)
    survey = preflight.survey
    table = Table(title=f"{survey.pairs:,} pairs, before training", title_justify="left", box=None, pad_edge=False)
    for name in ("", "source", "target"):
        table.add_column(name, overflow="fold")
    for name, *cells in zip(_NAMES, _cells(survey.source), _cells(survey.target), strict=True):
        table.add_row(name, *cells)
    err.print(table, markup=False)
    for line in _lines(preflight):
        say(line)


def show_plan(plan: Plan) -> None:
    """Print what will be trained, and what it takes."""
    if plan.memory > memory().get("free", plan.memory):
        warn(
            f"Training will need {plan.memory / 1e9:.1f} GB, and {_free()}. Smaller batches take less: for instance "
            "half of batching.max_tokens and twice batching.accumulate."
        )
    table = Table(title="plan, for this machine", title_justify="left", box=None, pad_edge=False, show_header=False)
    for name, text in _plan_rows(plan):
        table.add_row(name, text)
    err.print(table, markup=False)


def _plan_rows(plan: Plan) -> list[tuple[str, str]]:
    early = f", or fewer: {plan.patience} validations without a better one end it" if plan.patience else ""
    rows = [
        (
            "vocabulary",
            f"{' to '.join(plan.kinds)}, {plan.source_pieces:,} source and {plan.target_pieces:,} target pieces",
        ),
        (
            "model",
            f"{plan.n_layers} + {plan.n_layers} {plan.layer} layers, d_model {plan.d_model}, "
            f"{plan.parameters:,} parameters",
        ),
        (
            "training",
            f"{plan.updates:,} updates of about {plan.target_pieces_an_update:,.0f} target pieces: {plan.passes:.1f} "
            f"passes over {plan.pairs:,} pairs{early}",
        ),
    ]
    if plan.too_short:
        rows.append(("", f"few: text is hardly learned before {2 * FEW:,} updates; give it more minutes or steps"))
    if plan.timing is not None:
        how = "measured" if plan.timing.measured else "predicted"
        rows.append(
            (
                "time",
                f"{duration(plan.seconds)}: {duration(plan.training_seconds)} of updates ({plan.timing.update:.2f} s "
                f"each, {how}; {plan.target_pieces_a_second:,.0f} target pieces a second), "
                f"{duration(plan.validation_seconds)} of validations",
            )
        )
    if plan.memory:
        rows.append(("memory", f"{plan.memory / 1e9:.1f} GB at the peak; {_free()}"))
    names = [NAMES[format] for format, reasons in plan.refused.items() if not reasons]
    rows.append(("exports", ", ".join(names) or "none"))
    rows += [("", f"not {NAMES[format]}: {'; '.join(why)}") for format, why in plan.refused.items() if why]
    return rows


def _free() -> str:
    found = memory()
    return f"{found['free'] / 1e9:.1f} GB are free" if "free" in found else f"there are {found['total'] / 1e9:.1f} GB"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, with two digits or so."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


_NAMES = (
    "different words",
    "different characters",
    "alphabets",
    "words a line",
    "characters a line",
    "lines of 1 to 3 words",
    "lines with spaces",
)


def _cells(side: Side) -> tuple[str, ...]:
    more = "more than " if side.more_words else ""
    return (
        f"{more}{side.distinct_words:,} of {side.words:,}",
        f"{side.distinct_characters:,} of {side.characters:,}",
        ", ".join(f"{name} {_percent(share)}" for name, share in list(side.scripts.items())[:4]) or "none",
        _lengths(side.word_lengths),
        _lengths(side.character_lengths),
        _percent(side.short / max(1, side.lines)),
        _percent(side.spaced / max(1, side.lines)),
    )


def _lines(preflight: Preflight) -> list[str]:
    survey = preflight.survey
    lines = [
        f"{survey.distinct_sources:,} different sources, {survey.ambiguous_sources:,} with several targets; "
        f"{survey.targets_per_source:.2f} targets a source",
        f"{survey.duplicates:,} copies of earlier pairs; {survey.copied:,} pairs with equal sides; "
        f"{survey.odd_ratios:,} with lengths that do not fit each other; {survey.empty:,} with an empty side",
    ]
    for name, side in (("source", survey.source), ("target", survey.target)):
        if side.zero_width or side.directional:
            lines.append(
                f"{name}: {side.zero_width:,} lines with marks without a width, {side.directional:,} with marks of the "
                "direction of writing: these are text, and stay"
            )
    for name, overlap in (("dev", survey.dev_in_train), ("test", survey.test_in_train)):
        if overlap is not None:
            lines.append(f"{name}: {_shared(overlap)} are in the training files")
    if survey.test_in_dev is not None:
        lines.append(f"test: {_shared(survey.test_in_dev)} are in the dev set")
    if preflight.held_out:
        lines.append(f"dev: {preflight.held_out:,} pairs are held out of the training files")
    if preflight.dev_empty:
        lines.append(f"dev: {preflight.dev_empty:,} pairs with an empty side are left out")
    if preflight.made:
        lines.append(f"made from training pairs, and added: {preflight.made:,} (data.augment, data.placeholders)")
    off = [rule for rule in RULES if rule not in preflight.cleaning.on]
    if off:
        lines.append(f"rules that are off: {', '.join(off)}")
    for rule, n in preflight.left_out.items():
        if n:
            lines.append(f"left out of training: {n:,} {rule} ({RULES[rule]})")
    return lines


def _shared(overlap: Overlap) -> str:
    return (
        f"{overlap.shared_pairs:,} of {overlap.pairs:,} pairs and {overlap.shared_sources:,} of {overlap.sources:,} "
        "sources"
    )


def _lengths(lengths: Lengths) -> str:
    return f"median {lengths.median:,}, 99% {lengths.p99:,}, most {lengths.longest:,}"


def _percent(share: float) -> str:
    return "under 0.1%" if 0 < share < 0.001 else f"{share:.1%}"
