"""Test sets as people have them: two files, one of pairs, or what a run's recipe names."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transduce.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transduce.data.corpus import Files
    from transduce.text.form import Normal


@dataclass(frozen=True, slots=True)
class Lines:
    """A test set line by line; lines with the same source are several references of one input, or inputs of their own
    (`by_line`). Where sources are known, pairs with an empty side are no inputs. `where`: for errors. `normal`: the
    normal form that they were read in."""

    where: Path
    sources: list[str] | None
    targets: list[str]
    normal: "Normal" = "none"
    by_line: bool = False

    def inputs(self) -> tuple[list[str] | None, list[list[str]]]:
        """Every input once, where sources are known, and all references of each."""
        from transduce.evaluation.metrics import group_references

        if self.sources is None:
            return None, [[target] for target in self.targets]
        kept = [(self.sources[i], self.targets[i]) for i in self._whole()]
        if not kept:
            raise DataError(f"{self.where}: no pair with text on both sides. Give another test set.")
        return group_references(*zip(*kept, strict=True), by_line=self.by_line)

    @property
    def blank(self) -> int:
        """Pairs with an empty side."""
        return len(self.targets) - len(self._whole())

    def _whole(self) -> list[int]:
        """Lines that are inputs or references of one."""
        if self.sources is None:
            return list(range(len(self.targets)))
        pairs = zip(self.sources, self.targets, strict=True)
        return [i for i, (source, target) in enumerate(pairs) if source.strip() and target.strip()]

    def read_outputs(self, path: Path) -> list[str]:
        """An output for every input, from a file with one for every line.

        Raises:
            DataError: another number of lines; different outputs of one input.
        """
        from transduce.cli.files import read_all
        from transduce.text.form import normalise

        outputs = [normalise(output, self.normal) for output in read_all(path)]
        same_length(path, outputs, self.where, self.targets)
        if self.sources is None or self.by_line:
            return [outputs[i] for i in self._whole()]
        first: dict[str, tuple[int, str]] = {}
        for i in self._whole():
            before, known = first.setdefault(self.sources[i], (i, outputs[i]))
            if outputs[i] != known:
                raise DataError(
                    f"{path}: lines {before + 1} and {i + 1} have the same source and different outputs. Lines of one "
                    "source are references of one input; --by-line scores each by itself."
                )
        return [output for _, output in first.values()]

    def line_by_line(self, outputs: list[str]) -> list[str]:
        """An output for every line, from one for every input; nothing for pairs with an empty side."""
        if self.sources is None:
            return outputs
        whole = self._whole()
        keys = whole if self.by_line else list(dict.fromkeys(self.sources[i] for i in whole))
        of_input = dict(zip(keys, outputs, strict=True))
        found = {i: of_input[i if self.by_line else self.sources[i]] for i in whole}
        return [found.get(i, "") for i in range(len(self.targets))]


def scores_by_line(model: Path) -> bool:
    """Whether each line of a test set is an input of its own: what the model says, or, where it is older, its run."""
    from transduce.bundle import bundle_folder, load_config
    from transduce.rundir import load_asked

    if load_config(bundle_folder(model)).by_line:
        return True
    return (model / "recipe.toml").is_file() and load_asked(model).evaluation.by_line


def beside_outputs(reference: Path, source: Path | None, normal: "Normal", to: str | None) -> Lines:
    """References of outputs that exist, and sources where they are given, in this normal form and with the tag `to`.
    Raises `DataError`."""
    from transduce.cli.files import read_all
    from transduce.text.form import normalise, put_tag

    right = [normalise(line, normal) for line in read_all(reference)]
    if source is None:
        return Lines(reference, None, right, normal)
    inputs = [put_tag(normalise(line, normal), to or "") for line in read_all(source)]
    same_length(source, inputs, reference, right)
    return Lines(reference, inputs, right, normal)


def read_test_set(
    model: Path,
    source: Path | None,
    reference: Path | None,
    pairs: Path | None,
    columns: str | None,
    languages: tuple[str, str],
    normal: "Normal",
    to: str | None,
) -> Lines | None:
    """What these options name, in the normal form of a model's texts and with the tag `to`; None where they name
    nothing. A file of pairs has the columns of the training pairs where `model` is a run and they are of the same
    format. Raises `ConfigError` and `DataError`."""
    from transduce.data.corpus import AlignedFiles, PairsFile

    if columns is not None and pairs is None:
        raise ConfigError("--columns: there is no --pairs to take columns from.")
    if pairs is not None:
        if source is not None or reference is not None:
            raise ConfigError("--pairs holds both sides: give it, or --source and --reference.")
        own = _columns(model, pairs, columns)
        return _read(PairsFile(pairs=pairs, languages=languages, tag=to or "", normalise=normal, **own), normal)
    if source is not None and reference is not None:
        return _read(AlignedFiles(source=source, target=reference, tag=to or "", normalise=normal), normal)
    if source is None and reference is None:
        if to is not None:
            raise ConfigError(f"--to {to}: for --source or --pairs; a run's sources have their tags. Leave it out.")
        return None
    raise ConfigError("--source and --reference belong together: one of them is missing.")


def _columns(model: Path, pairs: Path, asked: str | None) -> dict[str, Any]:
    """The columns that are asked for; else those, and the pattern, that the run `model` was trained with."""
    from transduce.cli.console import say
    from transduce.cli.train import column_sides
    from transduce.data.corpus import PairsFile
    from transduce.data.formats import format_of
    from transduce.rundir import load_asked

    if asked is not None:
        source, target = column_sides(asked)
        return {"source_columns": source, "target_columns": target}
    if not (model / "recipe.toml").is_file():
        return {}
    data = load_asked(model).data
    own = data.files(data.train)
    if not isinstance(own, PairsFile) or format_of(own.pairs) != format_of(pairs):
        return {}
    found = {"source_columns": own.source_columns, "target_columns": own.target_columns, "pattern": own.pattern}
    if found != {"source_columns": (1,), "target_columns": (2,), "pattern": ""}:
        by = f"pattern {own.pattern}, " if own.pattern else ""
        sides = ",".join("+".join(map(str, side)) for side in (own.source_columns, own.target_columns))
        say(f"{pairs}: {by}columns {sides}, as in training; --columns says otherwise")
    return found


def recipe_test(model: Path) -> Lines:
    """The test set that the recipe of a run names. Raises `ConfigError` where there is none."""
    from transduce.rundir import load_asked

    if not (model / "recipe.toml").is_file():
        raise ConfigError(f"{model}: a model without a recipe. Give a test set: --source and --reference, or --pairs.")
    data = load_asked(model).data
    if data.test is None:
        raise ConfigError(f"{model}: its recipe names no test set. Give --source and --reference, or --pairs.")
    return _read(data.files(data.test), data.normalise)


def run_dev(model: Path) -> Lines:
    """The development set of a run. Raises `ConfigError` where there is none, `DataError` where it is broken."""
    from transduce.data.prepare import load_prepared

    if not has_data(model):
        raise ConfigError(f"{model}: a model without its run. Give a dev set: --source and --reference, or --pairs.")
    dev = load_prepared(model / "data").dev
    return Lines(model / "data" / "dev.jsonl", [source for source, _ in dev], [target for _, target in dev])


def has_data(model: Path) -> bool:
    """Whether `model` is a run, with the data that it was trained on."""
    return (model / "data" / "manifest.json").is_file()


def _read(files: "Files", normal: "Normal") -> Lines:
    from transduce.data.corpus import paths, read_pairs

    lines = list(read_pairs(files))
    return Lines(paths(files)[-1], [source for source, _ in lines], [target for _, target in lines], normal)


def same_length(path: Path, lines: list[str], reference: Path, right: list[str]) -> None:
    """`DataError` unless both files have as many lines."""
    if len(lines) != len(right):
        raise DataError(
            f"{path} has {len(lines):,} lines, {reference} has {len(right):,}: they do not belong together."
        )
