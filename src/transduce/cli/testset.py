"""Test sets as people have them: two files, one of pairs, or what a run's recipe names."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transduce.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transduce.data.corpus import Files


@dataclass(frozen=True, slots=True)
class Lines:
    """A test set line by line; lines with the same source are several references of one input. `where`: for errors."""

    where: Path
    sources: list[str] | None
    targets: list[str]

    def inputs(self) -> tuple[list[str] | None, list[list[str]]]:
        """Every input once, where sources are known, and all references of each."""
        from transduce.evaluation.metrics import group_references

        if self.sources is None:
            return None, [[target] for target in self.targets]
        return group_references(self.sources, self.targets)

    def read_outputs(self, path: Path) -> list[str]:
        """An output for every input, from a file with one for every line. Raises `DataError`."""
        from transduce.cli.files import read_all

        outputs = read_all(path)
        same_length(path, outputs, self.where, self.targets)
        if self.sources is None:
            return outputs
        first = dict(zip(reversed(self.sources), reversed(outputs), strict=True))
        return [first[source] for source in dict.fromkeys(self.sources)]

    def line_by_line(self, outputs: list[str]) -> list[str]:
        """An output for every line, from one for every input."""
        if self.sources is None:
            return outputs
        found = dict(zip(dict.fromkeys(self.sources), outputs, strict=True))
        return [found[source] for source in self.sources]


def beside_outputs(reference: Path, source: Path | None) -> Lines:
    """References of outputs that exist, and sources where they are given. Raises `DataError`."""
    from transduce.cli.files import read_all

    right = read_all(reference)
    if source is None:
        return Lines(reference, None, right)
    inputs = read_all(source)
    same_length(source, inputs, reference, right)
    return Lines(reference, inputs, right)


def read_test_set(
    source: Path | None, reference: Path | None, pairs: Path | None, columns: str | None, languages: tuple[str, str]
) -> Lines | None:
    """What these options name; None where they name nothing. Raises `ConfigError` and `DataError`."""
    from transduce.cli.train import parse_columns
    from transduce.data.corpus import AlignedFiles, PairsFile

    if columns is not None and pairs is None:
        raise ConfigError("--columns: there is no --pairs to take columns from.")
    if pairs is not None:
        if source is not None or reference is not None:
            raise ConfigError("--pairs holds both sides: give it, or --source and --reference.")
        sides = [tuple(c) if isinstance(c, list) else (c,) for c in parse_columns(columns or "1,2")]
        return _read(PairsFile(pairs=pairs, source_columns=sides[0], target_columns=sides[1], languages=languages))
    if source is not None and reference is not None:
        return _read(AlignedFiles(source=source, target=reference))
    if source is None and reference is None:
        return None
    raise ConfigError("--source and --reference belong together: one of them is missing.")


def recipe_test(model: Path) -> Lines:
    """The test set that the recipe of a run names. Raises `ConfigError` where there is none."""
    from transduce.rundir import load_asked

    if not (model / "recipe.toml").is_file():
        raise ConfigError(f"{model}: a model without a recipe. Give a test set: --source and --reference, or --pairs.")
    data = load_asked(model).data
    if data.test is None:
        raise ConfigError(f"{model}: its recipe names no test set. Give --source and --reference, or --pairs.")
    return _read(data.files(data.test))


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


def _read(files: "Files") -> Lines:
    from transduce.data.corpus import paths, read_pairs

    lines = list(read_pairs(files))
    return Lines(paths(files)[-1], [source for source, _ in lines], [target for _, target in lines])


def same_length(path: Path, lines: list[str], reference: Path, right: list[str]) -> None:
    """`DataError` unless both files have as many lines."""
    if len(lines) != len(right):
        raise DataError(
            f"{path} has {len(lines):,} lines, {reference} has {len(right):,}: they do not belong together."
        )
