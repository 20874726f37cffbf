"""`transduce train`, `transduce prepare` and `transduce average`."""

import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transduce.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transduce.config import RunConfig
    from transduce.presets import Origin

# What `train` and `prepare` both ask for.
Recipe = Annotated[str | None, typer.Argument(help="A recipe's name (`transduce info` lists them) or TOML file.")]
Source = Annotated[Path | None, typer.Option(help="Source sentences, one a line; plain, .gz or .xz.")]
Target = Annotated[Path | None, typer.Option(help="Target sentences, line by line translations of --source.")]
DevSource = Annotated[Path | None, typer.Option(help="Development set; part of the data is held out otherwise.")]
DevTarget = Annotated[Path | None, typer.Option(help="Targets of --dev-source.")]
Pairs = Annotated[
    Path | None, typer.Option(help="Instead: one pair a line, tab-separated; or .jsonl, .po, .tmx, .xliff.")
]
DevPairs = Annotated[Path | None, typer.Option(help="Development pairs; held out otherwise.")]
Columns = Annotated[
    str | None, typer.Option(help="Columns of pairs: source,target; 1+3,2 joins two; names for .jsonl.")
]
MixColumns = Annotated[str | None, typer.Option(help="Columns of --mix-pairs, if others than --columns.")]
MixSource = Annotated[Path | None, typer.Option(help="Older data to mix in, so that it is not forgotten.")]
MixTarget = Annotated[Path | None, typer.Option(help="Targets of --mix-source.")]
MixPairs = Annotated[Path | None, typer.Option(help="Instead: older data as pairs.")]
MixShare = Annotated[float | None, typer.Option(help="Its share of the training pairs; 0.2 if not given.")]
Out = Annotated[
    Path | None,
    typer.Option(metavar="RUN", help="Run directory; if not given runs/<recipe name>, or after the files: runs/en-de."),
]
PresetName = Annotated[str, typer.Option(help="auto, tiny, small, base or big: without a recipe.")]
Minutes = Annotated[
    float | None, typer.Option(help="Train as many steps as fit into this time; without a recipe 30 if not given.")
]
Langs = Annotated[str | None, typer.Option(help="Language codes, as en-de or en-us,de-at; else the files'.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting of the recipe.")
]
ListDropped = Annotated[
    Path | None, typer.Option(metavar="F", help="Write every pair that is not trained on, and why, to this file.")
]
STDOUT = Path("-")
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over: delete an earlier run in RUN (not its averages).")]
StartFrom = Annotated[Path | None, typer.Option("--from", metavar="BUNDLE", help="Fine-tune this model.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")]


def train(
    recipe: Recipe = None,
    source: Source = None,
    target: Target = None,
    dev_source: DevSource = None,
    dev_target: DevTarget = None,
    pairs: Pairs = None,
    dev_pairs: DevPairs = None,
    columns: Columns = None,
    mix_source: MixSource = None,
    mix_target: MixTarget = None,
    mix_pairs: MixPairs = None,
    mix_columns: MixColumns = None,
    mix_share: MixShare = None,
    out: Out = None,
    preset: PresetName = "auto",
    minutes: Minutes = None,
    langs: Langs = None,
    settings: Settings = None,
    list_dropped: ListDropped = None,
    fresh: Fresh = False,
    start_from: StartFrom = None,
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> int:
    """Train a model. The same command again continues it exactly where it was; Ctrl-C saves first.

    \b
    Examples:
      transduce train multi30k_ende --set data.root=data
      transduce train --source a.en --target a.de --out runs/mine --minutes 30
      transduce train --pairs dictionary.tsv --out runs/words
    """
    from transduce.cli.console import print_json
    from transduce.cli.display import TrainingDisplay
    from transduce.compose import train as run_training

    _check_dropped(list_dropped, as_json)
    files = {"source": source, "target": target, "dev-source": dev_source, "dev-target": dev_target}
    files |= {"pairs": pairs, "dev-pairs": dev_pairs}
    files |= {"mix-source": mix_source, "mix-target": mix_target, "mix-pairs": mix_pairs}
    more = more_settings(settings, minutes, device, mix_share)
    config, why, run = asked_for(recipe, files, columns, langs, preset, start_from, more, out, fresh, mix_columns)
    with (
        TrainingDisplay() as display,
        stop_on_interrupt(display.say, lambda: display.updating) as stop,
        hint_where_from(recipe, config),
    ):
        try:
            outcome = run_training(
                config,
                run,
                fresh=fresh,
                start_from=start_from,
                command=own_command(),
                why=why,
                list_dropped=None if list_dropped == STDOUT else list_dropped,
                reporter=display,
                stop=stop,
            )
        except KeyboardInterrupt:
            begun = display.has_begun
            what = "what was saved before is kept. To continue" if begun else "before any training. To start again"
            display.say(f"stopped at once, {what}, run:\n  {own_command(goes_on=begun)}")
            raise
    if list_dropped == STDOUT:
        _print_dropped(run)
    if as_json:
        score = None if outcome.dev is None else {"score": outcome.dev.score, "signature": outcome.dev.signature}
        print_json(
            {"run": str(run), "step": outcome.step, "finished": outcome.finished, config.evaluation.metric: score}
        )
    if not outcome.finished:
        display.say(f"stopped at step {outcome.step}, everything is saved. To continue, run:")
        display.say(f"  {own_command(goes_on=True)}")
        return 130
    if outcome.dev is not None:
        display.say(f'done: {run / "model"}. Try: transduce translate {shlex.quote(str(run))} "..."')
    return 0


def prepare(
    recipe: Recipe = None,
    source: Source = None,
    target: Target = None,
    dev_source: DevSource = None,
    dev_target: DevTarget = None,
    pairs: Pairs = None,
    dev_pairs: DevPairs = None,
    columns: Columns = None,
    mix_source: MixSource = None,
    mix_target: MixTarget = None,
    mix_pairs: MixPairs = None,
    mix_columns: MixColumns = None,
    mix_share: MixShare = None,
    out: Out = None,
    preset: PresetName = "auto",
    minutes: Minutes = None,
    langs: Langs = None,
    settings: Settings = None,
    list_dropped: ListDropped = None,
    fresh: Fresh = False,
    start_from: StartFrom = None,
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the preflight report as JSON.")] = False,
) -> None:
    """Look at the data and tokenise it, and stop before training. `train` with the same options goes on from there.

    \b
    Examples:
      transduce prepare --source a.en --target a.de --out runs/mine --list-dropped dropped.tsv
      transduce prepare multi30k_ende --json
    """
    from transduce.cli.console import print_json
    from transduce.cli.display import TrainingDisplay
    from transduce.compose import prepare_data
    from transduce.rundata import load_report

    _check_dropped(list_dropped, as_json)
    files = {"source": source, "target": target, "dev-source": dev_source, "dev-target": dev_target}
    files |= {"pairs": pairs, "dev-pairs": dev_pairs}
    files |= {"mix-source": mix_source, "mix-target": mix_target, "mix-pairs": mix_pairs}
    more = more_settings(settings, minutes, device, mix_share)
    config, _, run = asked_for(recipe, files, columns, langs, preset, start_from, more, out, fresh, mix_columns)
    with TrainingDisplay() as display, hint_where_from(recipe, config):
        is_new = prepare_data(
            config,
            run,
            fresh=fresh,
            start_from=start_from,
            list_dropped=None if list_dropped == STDOUT else list_dropped,
            reporter=display,
        )
    if list_dropped == STDOUT:
        _print_dropped(run)
    if as_json:
        print_json(load_report(run))
    done = "is ready" if is_new else "was ready already, and its report is in preflight.json"
    display.say(f"{run / 'data'} {done}. To train on it:\n  {own_command('train')}")


def _check_dropped(path: Path | None, as_json: bool) -> None:
    """Raise `ConfigError` where the list of `--list-dropped` cannot go to `path`."""
    from transduce.cli.files import PACKED, check_place

    if path == STDOUT and as_json:
        raise ConfigError("--list-dropped - and --json: both go to standard output. Name a file for the list.")
    if path is not None and path.suffix.lower() in PACKED:
        raise ConfigError(f"--list-dropped {path}: the list is plain text. Call it {path.with_suffix('')}.")
    if path != STDOUT:
        check_place(path)


def _print_dropped(run: Path) -> None:
    from transduce.cli.files import open_output
    from transduce.rundata import dropped_list

    with open_output("-") as out, dropped_list(run).open(encoding="utf-8") as dropped:
        shutil.copyfileobj(dropped, out)


def more_settings(
    settings: list[str] | None, minutes: float | None, device: str | None, mix_share: float | None
) -> list[str]:
    """`--set` and the options that stand for settings."""
    more = list(settings or [])
    if minutes is not None:
        more.append(f"training.minutes={minutes}")
    if device is not None:
        more.append(f'training.device="{device}"')
    if mix_share is not None:
        more.append(f"data.mix_share={mix_share}")
    return more


def asked_for(
    recipe: str | None,
    files: dict[str, Path | None],
    columns: str | None,
    langs: str | None,
    preset: str,
    start_from: Path | None,
    settings: list[str],
    out: Path | None = None,
    fresh: bool = False,
    mix_columns: str | None = None,
) -> tuple["RunConfig", dict[str, str], Path]:
    """The settings of a run from options: a recipe, or files that become one; why, for those that were chosen; and the
    directory of the run. What was chosen for one that goes on is not chosen anew.

    Raises `ConfigError` on both or none.
    """
    from transduce.cli.files import check_spelling
    from transduce.config import apply_settings, load_recipe
    from transduce.rundata import check_is_file

    for path in (*files.values(), out):
        if path is not None:
            check_spelling(path)
    for path in files.values():
        if path is not None:
            check_is_file(path)
    asked = apply_settings({}, settings)
    if recipe is None:
        found = _from_files(files, columns, langs, preset, start_from, settings, out, fresh, mix_columns)
        _check_heard(asked, found[0], "Give --mix-source and --mix-target, or --mix-pairs.")
        return found
    given = files | {
        "columns": columns,
        "mix-columns": mix_columns,
        "langs": langs,
        "preset": None if preset == "auto" else preset,
    }
    extra = [f"--{name}" for name, value in given.items() if value is not None]
    if extra:
        raise ConfigError(f"{extra[0]} and a recipe: the recipe says that itself. Give one or the other.")
    config = load_recipe(recipe, settings)
    run = out or _folder(config.name)
    _check_decided(start_from, run, asked, fresh)
    _check_heard(asked, config, "Give the recipe a data.mix.")
    return config, {}, run


def _check_heard(asked: dict[str, Any], config: "RunConfig", mix: str) -> None:
    """Raise `ConfigError` for a setting that was asked for and that nothing in `config` listens to. `mix` says how to
    give older data."""
    if "mix_share" in asked.get("data", {}) and config.data.mix is None:
        raise ConfigError(f"--mix-share: there is no older data to take it from. {mix}")
    if "learning_rate" in asked.get("training", {}) and config.training.schedule == "noam":
        raise ConfigError(
            "training.learning_rate: the schedule noam sets the rate itself (eq. 3). With "
            "--set training.schedule=inverse_sqrt it has the same shape and this peak."
        )


def _folder(name: str) -> Path:
    return Path("runs") / (name or "model")


@contextmanager
def hint_where_from(recipe: str | None, config: "RunConfig") -> Iterator[None]:
    """Where the data of a recipe that ships is not there, the error says how to get it."""
    try:
        yield
    except DataError as error:
        if recipe is not None and (hint := _where_from(recipe, config)):
            raise DataError(f"{error} {hint}") from error
        raise


def average(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    last: Annotated[int, typer.Option(help="How many of the last checkpoints.")] = 5,
    out: Annotated[
        Path | None,
        typer.Option(metavar="BUNDLE", help="Where to (a model there is replaced); RUN/average-<last> if not given."),
    ] = None,
) -> None:
    """Average the last checkpoints of a run into a model (section 6.1 of the paper).

    Example: transduce average runs/multi30k_ende --last 5
    """
    from transduce.cli.console import say
    from transduce.cli.files import check_name
    from transduce.compose import average_run

    bundle = out or run / f"average-{last}"
    check_name(bundle)
    steps = average_run(run, last, bundle)
    say(f"{bundle}: average of steps {', '.join(map(str, steps))}")


def _from_files(
    files: dict[str, Path | None],
    columns: str | None,
    langs: str | None,
    preset_name: str,
    start_from: Path | None,
    settings: list[str],
    out: Path | None,
    fresh: bool,
    mix_columns: str | None,
) -> tuple["RunConfig", dict[str, str], Path]:
    from transduce.bundle import bundle_folder
    from transduce.config import apply_settings, build_config, check_types, derive, flat_values
    from transduce.data.cleaning import EVERY_RULE
    from transduce.data.corpus import read_pairs
    from transduce.data.survey import survey
    from transduce.presets import check_preset, choose, counts_steps, languages, sections
    from transduce.text.form import split_tag
    from transduce.training.world import default_threads, environment

    data = _data_section(files, columns, mix_columns)
    given = {name: str(path) for name, path in files.items() if path is not None}
    if langs is not None:
        source_lang, dash, target_lang = langs.partition("," if "," in langs else "-")
        if not (source_lang and dash and target_lang):
            raise ConfigError(f"--langs {langs}: write it as en-de, or as en-us,de-at.")
    else:
        source_lang, target_lang = languages(given["source"], given["target"]) if "source" in given else ("", "")
    data |= {"source_lang": source_lang, "target_lang": target_lang}
    asked = apply_settings({}, settings)
    check_types(asked, "command line")
    both = f"{source_lang}-{target_lang}" if source_lang and target_lang else ""
    name = asked.get("name") or both or Path(given.get("pairs", "model")).name.split(".")[0]
    run = out or _folder(name)
    _check_decided(start_from, run, asked, fresh)
    check_preset(preset_name)
    begun = {} if fresh else _chosen_before(run, data)
    if begun and preset_name != "auto" and start_from is None:
        _check_preset_of(run, preset_name, begun["model"], asked.get("model", {}))
    if begun and (run / "resolved.toml").is_file():
        return build_config(derive(apply_settings(begun, settings)), "command line"), {}, run
    wanted = _flat(asked)
    training = {"minutes": 0.0 if counts_steps(wanted) else 30.0} | asked.get("training", {})
    minimal = build_config({"data": data | asked.get("data", {}), "training": training}, "command line")
    train = read_pairs(minimal.data.files(minimal.data.train))
    found = survey((split_tag(source)[1], target) for source, target in train)
    threads = default_threads(environment())
    origin = None if start_from is None else _origin(bundle_folder(start_from))
    choices = choose(preset_name, found, minimal.training.minutes, threads, wanted, origin)
    chosen = sections(choices)
    data |= chosen.pop("data", {})
    values = begun or {"name": name, "data": data, "cleaning": asdict(EVERY_RULE), **chosen}
    values = apply_settings(values, settings)
    config = build_config(derive(values), "command line")
    used = flat_values(config)
    reasons = {c.key: c.why if used[c.key] == c.value else "as asked" for c in choices}
    reasons = {key: why for key, why in reasons.items() if why != "as asked" or key in wanted or not begun}
    kept = () if start_from is None else ("model.", "tokenizer.")  # these the model to start from decides
    return config, {key: why for key, why in reasons.items() if not key.startswith(kept)}, run


def _origin(bundle: Path) -> "Origin":
    from transduce.bundle import load_config
    from transduce.presets import Origin
    from transduce.rundata import kinds_of
    from transduce.text.tokenizer import TokenizerPair

    before = load_config(bundle)
    kinds = kinds_of(TokenizerPair.load(bundle))
    return Origin(kinds=kinds, d_model=before.model.d_model, placeholders=before.placeholders)


def _chosen_before(run: Path, data: dict[str, Any]) -> dict[str, Any]:
    """All settings of a `run` that goes on, with `data` of today's command; none where it is yet to be decided on."""
    from transduce.config import to_values
    from transduce.rundir import load_asked

    if not (run / "recipe.toml").is_file():
        return {}
    values = to_values(load_asked(run))
    said = {key: value for key, value in data.items() if value != ""}
    kept = {key: value for key, value in values["data"].items() if key not in ("train", "dev", "mix", "columns")}
    return values | {"data": kept | said}


def _check_decided(start_from: Path | None, run: Path, asked: dict[str, Any], fresh: bool) -> None:
    """Raise `ConfigError` where a setting is asked for that the model to start from decides otherwise, or the one that
    a `run` which goes on began from."""
    from transduce.bundle import bundle_folder, is_bundle, load_config
    from transduce.rundata import DROPOUTS, own_pieces
    from transduce.rundir import load_asked, load_chosen

    chosen = None if fresh else load_chosen(run)
    if chosen is not None and chosen.start_from:
        begun = load_asked(run)
        model, form = begun.model, (begun.data.pretokenised, begun.data.normalise)
        pieces: dict[str, Any] = asdict(begun.tokenizer)
    elif start_from is not None and (is_bundle(start_from) or is_bundle(start_from / "model")):
        before = load_config(bundle_folder(start_from))
        model, form = before.model, (before.pretokenised, before.normalise)
        wanted = asked.get("tokenizer", {})
        pieces = own_pieces(bundle_folder(start_from), wanted.get("source", "bpe"), wanted.get("target", "bpe"))
        pieces["size"] = max(before.source_size, before.target_size)
    else:  # nothing was begun so; what is not there is said later
        return
    own = {f"model.{name}": value for name, value in asdict(model).items() if name not in DROPOUTS}
    own |= dict(zip(("data.pretokenised", "data.normalise"), form, strict=True))
    own |= {f"tokenizer.{name}": pieces[name] for name in ("source", "target", "joint", "size")}
    for key, value in _flat(asked).items():
        if key in own and own[key] != (own[key] | value if isinstance(value, dict) else value):
            raise ConfigError(
                f"{key} = {value!r} and --from: the model to start from has {own[key]!r}, which stays. Leave it out."
            )


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Settings under their `section.key`."""
    inner = {section: found for section, found in values.items() if isinstance(found, dict)}
    return {f"{section}.{key}": value for section, found in inner.items() for key, value in found.items()}


def _check_preset_of(run: Path, preset: str, begun: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raise `ConfigError` where the model of a run that goes on has another size than `preset`, but for what is `asked`
    for beside it."""
    from transduce.presets import SIZES

    for key, value in SIZES[preset].items():
        if begun[key] != value and key not in asked and key != "d_ff":  # which follows from the data too
            raise ConfigError(
                f"--preset {preset}: {run} was begun with model.{key} = {begun[key]!r}, not {value!r}. "
                "Leave it out, use another --out, or --fresh to start over."
            )


def _data_section(files: dict[str, Path | None], columns: str | None, mix_columns: str | None) -> dict[str, Any]:
    from transduce.data.corpus import check_columns

    given = {name: str(path) for name, path in files.items() if path is not None}
    if columns is not None and "pairs" in given:
        check_columns(Path(given["pairs"]), column_sides(columns))
    if ("source" in given) == ("pairs" in given):
        raise ConfigError("Give a recipe, or --source and --target, or --pairs. See `transduce train --help`.")
    for one, other in (("source", "target"), ("dev-source", "dev-target"), ("mix-source", "mix-target")):
        if (one in given) != (other in given):
            missing = other if one in given else one
            raise ConfigError(f"--{missing} is missing: --{one} and --{other} belong together.")
    for part in ("dev", "mix"):
        if f"{part}-source" in given and f"{part}-pairs" in given:
            raise ConfigError(f"--{part}-source and --{part}-pairs: give one of them.")
    if columns is not None and not {"pairs", "dev-pairs", "mix-pairs"} & given.keys():
        raise ConfigError("--columns: there is no --pairs to take columns from.")
    data: dict[str, Any] = {"root": "."}
    if "source" in given:
        data["train"] = {"source": given["source"], "target": given["target"]}
    else:
        data["train"] = {"pairs": given["pairs"]}
    for part in ("dev", "mix"):
        if f"{part}-source" in given:
            data[part] = {"source": given[f"{part}-source"], "target": given[f"{part}-target"]}
        elif f"{part}-pairs" in given:
            data[part] = {"pairs": given[f"{part}-pairs"]}
    if columns is not None:
        data["columns"] = parse_columns(columns)
    if mix_columns is not None:
        if "mix-pairs" not in given:
            raise ConfigError("--mix-columns: there is no --mix-pairs to take columns from.")
        data["mix"]["columns"] = parse_columns(mix_columns)
    return data


def parse_columns(text: str) -> list[int | str | list[int | str]]:
    """`1,2` or `1+3,2` or `translation.en,translation.de` to two columns. Raises `ConfigError`."""
    sides = [[int(c) if c.isdecimal() else c for c in side.split("+")] for side in text.split(",")]
    if len(sides) != 2 or not all(c != "" for side in sides for c in side):
        raise ConfigError(
            f"--columns {text}: write source,target, for instance 1,2 or 1+3,2; or names, for JSON lines: en,de."
        )
    return [side[0] if len(side) == 1 else side for side in sides]


def column_sides(text: str) -> tuple[tuple[int | str, ...], tuple[int | str, ...]]:
    """The columns of both sides that `parse_columns` finds. Raises `ConfigError`."""
    source, target = (tuple(c) if isinstance(c, list) else (c,) for c in parse_columns(text))
    return source, target


def _where_from(recipe: str, config: "RunConfig") -> str:
    """What to do where the training data of a recipe that ships is not there; nothing otherwise."""
    from transduce.config import recipe_names
    from transduce.data.corpus import paths

    files = config.data.files(config.data.train)
    if recipe not in recipe_names() or all(path.exists() for path in paths(files)):
        return ""
    return f"To download the public original: transduce fetch {recipe} --to {shlex.quote(config.data.root)}"


def own_command(verb: str = "", *, goes_on: bool = False) -> str:
    """What was typed, for a shell; or, with `verb`, the command of this name that goes on from there. What `goes_on`
    does not start over."""
    left_out = ("--debug", "--json", "--fresh") if verb or goes_on else ("--debug", "--json")
    typed = [a for a in sys.argv[1:] if a not in left_out]
    return shlex.join(["transduce", *([verb, *typed[1:]] if verb else typed)])


@contextmanager
def stop_on_interrupt(say: Any, updating: Callable[[], bool] = lambda: True) -> Iterator[Any]:
    """The first Ctrl-C (or SIGTERM) asks the loop to stop after its step; the second one stops at once, and the first
    where no updates are made: preparing data and choosing a model can be done again."""
    asked: list[int] = []

    def handle(signum: int, frame: object) -> None:
        if asked or not updating():
            raise KeyboardInterrupt
        asked.append(signum)
        say("stopping after this step; again to stop at once")

    old = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for signum, handler in old.items():
            signal.signal(signum, handler)
