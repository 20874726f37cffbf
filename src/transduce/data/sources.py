"""Where the public originals of the recipes' data are, and what becomes of them. A table: nothing here is run.

Addresses and digests were read in the places that the comments name. A digest that nobody published is left out, not
made up: `fetch` then records what it saw first, and holds later downloads against it.
"""

from dataclasses import dataclass
from typing import Literal

from transduce.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """One file of a source. `size` in bytes (0: not published) and `digest` (`sha256:...` or `md5:...`; or none)."""

    url: str
    size: int = 0
    digest: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class AsIs:
    """The download, byte for byte."""

    download: Download


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The lines of a download; or of `member`, where the download is an archive.

    `sgm`: what stands between `<seg>` tags, as sacreBLEU reads it. `talks`: IWSLT's training files, without the lines
    about the talks and without the tags around titles and descriptions.
    """

    download: Download
    member: str = ""
    form: Literal["text", "sgm", "talks"] = "text"


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """The lines of several parts, one after the other, without carriage returns: all, every 23rd, or the others."""

    parts: tuple[Part, ...]
    keep: Literal["all", "every 23rd", "the others"] = "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class Dictionary:
    """One part of CMUdict: word, tab, phones without stress (`convert.split_dictionary`)."""

    download: Download
    part: Literal["train", "dev", "test"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A file to be made below the data root; `.gz` and `.xz` say how it is compressed."""

    path: str
    content: AsIs | Joined | Dictionary

    @property
    def downloads(self) -> tuple[Download, ...]:
        """What it is made from."""
        match self.content:
            case Joined(parts=parts):
                return tuple(dict.fromkeys(part.download for part in parts))
            case AsIs(download=download) | Dictionary(download=download):
                return (download,)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A corpus. Where its licence is not `free`, the user is asked. `left` says what is left to the user, if anything.

    All targets are in one folder.
    """

    about: str
    home: str
    size: str
    licence: str
    free: bool
    recipes: tuple[str, ...]
    targets: tuple[Target, ...]
    left: str = ""

    @property
    def downloads(self) -> tuple[Download, ...]:
        """Every file to be downloaded, once."""
        return tuple(dict.fromkeys(download for target in self.targets for download in target.downloads))

    @property
    def folder(self) -> str:
        """Where its targets are, below the data root."""
        return self.targets[0].path.partition("/")[0]


def find(name: str) -> tuple[str, Source]:
    """The source called `name`, or the one of the recipe called so. Raises `ConfigError`, which lists them."""
    for key, source in SOURCES.items():
        if name == key or name in source.recipes:
            return key, source
    raise ConfigError(f"{name}: no such corpus. There are: {', '.join(SOURCES)}.")


# --- GitHub. These addresses on the branch `master` are the ones that published loaders use, for instance torchtext's
# Multi30k (which also has the MD5s of the raw files), and are the repositories' own links for SIGMORPHON.

_RAW = "https://raw.githubusercontent.com"
_MULTI30K = f"{_RAW}/multi30k/dataset/master/data/task1"
_MULTI30K_MD5 = {  # torchtext/datasets/multi30k.py, before it moved to another mirror
    "train.en": "0065d13af80720a55ca8153d126e6627",
    "train.de": "81ff90b99829c0cd4b1b587d394afd39",
    "train.fr": "6cb767741dcad3931f966fefbc05203f",
    "val.en": "2b69aa9253948ac9f67e94917272dd40",
    "val.de": "6e0e229eb049e3fc99a1ef02fb2d5f91",
    "val.fr": "93fc564584b7e5ba410c761ea5a1c682",
    "test_2016_flickr.en": "ff2c0fcb4893a13bd73414306bc250ae",
    "test_2016_flickr.de": "efd67d314d98489b716b145475101932",
    "test_2016_flickr.fr": "08dc7cd4a662f31718412de95ca9bfe3",
}


def _text(path: str, url: str) -> Target:
    return Target(path=path, content=Joined(parts=(Part(download=Download(url=url)),)))


def _multi30k() -> tuple[Target, ...]:
    raw = [
        Target(
            path=f"multi30k/{name}.gz",
            content=AsIs(download=Download(url=f"{_MULTI30K}/raw/{name}.gz", digest=f"md5:{md5}")),
        )
        for name, md5 in _MULTI30K_MD5.items()
    ]
    parts = [name.split(".") for name in _MULTI30K_MD5]
    names = [f"{part}.lc.norm.tok.{lang}" for part, lang in parts]
    return (*raw, *(_text(f"multi30k/{name}.gz", f"{_MULTI30K}/tok/{name}") for name in names))


G2P_LANGUAGES = ("ady", "arm", "bul", "fre", "gre", "hun", "ice", "jpn", "lit", "vie")


def _g2p() -> tuple[Target, ...]:
    data = f"{_RAW}/sigmorphon/2020/master/task1/data"
    return tuple(
        Target(
            path=f"sigmorphon2020_g2p/{lang}_{part}.tsv",
            content=AsIs(download=Download(url=f"{data}/{part}/{lang}_{part}.tsv")),
        )
        for lang in G2P_LANGUAGES
        for part in ("train", "dev", "test")
    )


INFLECTION_LANGUAGES = {  # the folder of each in the repository
    "aka": "DEVELOPMENT-LANGUAGES/niger-congo",
    "bod": "SURPRISE-LANGUAGES/Sino-Tibetan",
    "dak": "SURPRISE-LANGUAGES/Siouan",
    "evn": "SURPRISE-LANGUAGES/Tungusic",
    "gaa": "DEVELOPMENT-LANGUAGES/niger-congo",
    "mwf": "SURPRISE-LANGUAGES/Australian",
    "ood": "SURPRISE-LANGUAGES/Uto-Aztecan",
}


def _inflection() -> tuple[Target, ...]:
    data = f"{_RAW}/sigmorphon2020/task0-data/master"
    return tuple(
        _text(f"sigmorphon2020_inflection/{lang}.{part}.tsv", f"{data}/{folder}")
        for lang, family in INFLECTION_LANGUAGES.items()
        for part, folder in (
            ("train", f"{family}/{lang}.trn"),
            ("dev", f"{family}/{lang}.dev"),
            ("test", f"GOLD-TEST/{lang}.tst"),  # the .tst beside the others has no forms
        )
    )


def _cmudict() -> tuple[Target, ...]:
    dictionary = Download(url=f"{_RAW}/cmusphinx/cmudict/master/cmudict.dict")
    licence = Download(url=f"{_RAW}/cmusphinx/cmudict/master/LICENSE")
    return (
        Target(path="cmudict/train.tsv.xz", content=Dictionary(download=dictionary, part="train")),
        Target(path="cmudict/dev.tsv.xz", content=Dictionary(download=dictionary, part="dev")),
        Target(path="cmudict/test.tsv.xz", content=Dictionary(download=dictionary, part="test")),
        Target(path="cmudict/LICENSE", content=AsIs(download=licence)),
    )


def _scan() -> tuple[Target, ...]:
    scan = f"{_RAW}/brendenlake/SCAN/master"
    parts = [f"tasks_{part}_simple.txt" for part in ("train", "test")]
    licence = Target(path="scan/LICENSE", content=AsIs(download=Download(url=f"{scan}/LICENSE")))
    return (*(_text(f"scan/{part}.xz", f"{scan}/simple_split/{part}") for part in parts), licence)


# --- WMT14 at statmt.org. Sizes and SHA-256 of the training archives: TensorFlow Datasets, url_checksums/
# wmt14_translate.txt and wmt15_translate.txt. SHA-256 of dev.tgz: ml_tools (text/wmt14/dev). MD5 of test-full.tgz:
# sacreBLEU, whose "wmt14/full" it is: all 3,003 sentences, as the literature after the paper scores them.
# Names inside the archives: fairseq's prepare-wmt14en2fr.sh and the wmt_utils.py of Hugging Face's `datasets`.

_STATMT = "https://www.statmt.org"
_EUROPARL = Download(
    url=f"{_STATMT}/wmt13/training-parallel-europarl-v7.tgz",
    size=657632379,
    digest="sha256:0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7",
)
_COMMONCRAWL = Download(
    url=f"{_STATMT}/wmt13/training-parallel-commoncrawl.tgz",
    size=918311367,
    digest="sha256:c7a74e2ea01ac6c920123108627e35278d4ccb5701e15428ffa34de86fa3a9e5",
)
_UN = Download(
    url=f"{_STATMT}/wmt13/training-parallel-un.tgz",
    size=2365634246,
    digest="sha256:29141b5c1eba149a94f7a59d3b1a834b2e47fe0f8758d68dcd77a3d3f497ee47",
)
_NEWS = Download(
    url=f"{_STATMT}/wmt14/training-parallel-nc-v9.tgz",
    size=80418416,
    digest="sha256:cb8953f292298e6877ae433c98912b927cb0766b303f4540512ddd286c748485",
)
_GIGA = Download(
    url=f"{_STATMT}/wmt10/training-giga-fren.tar",
    size=2595102720,
    digest="sha256:3ff8319f6919393520559bfbc7ad6a747ec81b3abc7be9993b338d4b017b4d9a",
)
_DEV = Download(
    url=f"{_STATMT}/wmt14/dev.tgz",
    digest="sha256:cda0f85309e8ea4c9c2bc142cd795fb2771a5939ed5b4527b525dae05fa0c145",
)
_TEST = Download(url=f"{_STATMT}/wmt14/test-full.tgz", digest="md5:a8cd784e006feb32ac6f3d9ec7eb389a")


def _wmt14(folder: str, other: str, more: tuple[tuple[Download, str], ...] = ()) -> tuple[Target, ...]:
    corpora = (
        (_EUROPARL, f"training/europarl-v7.{other}-en.{{}}"),
        (_COMMONCRAWL, f"commoncrawl.{other}-en.{{}}"),
        (_NEWS, f"training/news-commentary-v9.{other}-en.{{}}"),
        *more,
    )
    targets = []
    for lang, side in (("en", "src"), (other, "ref")):
        train = tuple(Part(download=download, member=member.format(lang)) for download, member in corpora)
        dev = Part(download=_DEV, member=f"dev/newstest2013.{lang}")
        test = Part(download=_TEST, member=f"test-full/newstest2014-{other}en-{side}.{lang}.sgm", form="sgm")
        targets += [
            Target(path=f"{folder}/train.{lang}.gz", content=Joined(parts=train)),
            Target(path=f"{folder}/newstest2013.{lang}", content=Joined(parts=(dev,))),
            Target(path=f"{folder}/newstest2014.{lang}", content=Joined(parts=(test,))),
        ]
    return tuple(targets)


# --- IWSLT14. The mirror of wit3.fbk.eu's archive, and the rule by which it is cut into three, are those of fairseq's
# prepare-iwslt14.sh.

_IWSLT = Download(url="https://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz")
_IWSLT_TESTS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")


def _iwslt14() -> tuple[Target, ...]:
    targets = []
    for lang in ("de", "en"):
        train = (Part(download=_IWSLT, member=f"de-en/train.tags.de-en.{lang}", form="talks"),)
        names = [f"de-en/IWSLT14.{test}.de-en.{lang}.xml" for test in _IWSLT_TESTS]
        tests = tuple(Part(download=_IWSLT, member=name, form="sgm") for name in names)
        targets += [
            Target(path=f"iwslt14/train.{lang}.gz", content=Joined(parts=train, keep="the others")),
            Target(path=f"iwslt14/val.{lang}.gz", content=Joined(parts=train, keep="every 23rd")),
            Target(path=f"iwslt14/test.{lang}.gz", content=Joined(parts=tests)),
        ]
    return tuple(targets)


_WMT_LICENCE = "no licence is stated for the whole; the corpora have their own terms, and are there for research"

SOURCES: dict[str, Source] = {
    "multi30k": Source(
        about="image captions in English, German and French, raw and tokenised",
        home="https://github.com/multi30k/dataset",
        size="about 8 MB",
        licence="none is stated; the images that the captions describe are for non-commercial research and education",
        free=False,
        recipes=("multi30k_ende", "multi30k_ende_lstm", "multi30k_ende_conv", "multi30k_ende_raw", "multi30k_enfr"),
        targets=_multi30k(),
    ),
    "sigmorphon2020_g2p": Source(
        about="words and their pronunciations in ten languages",
        home="https://github.com/sigmorphon/2020",
        size="1.5 MB",
        licence="none is stated there; the words are from Wiktionary, the next year's task says CC BY-SA 3.0",
        free=False,
        recipes=("sigmorphon2020_g2p",),
        targets=_g2p(),
    ),
    "sigmorphon2020_inflection": Source(
        about="lemma and tags to inflected form, seven languages",
        home="https://github.com/sigmorphon2020/task0-data",
        size="0.8 MB",
        licence="none is stated; each language has a source of its own, named there; take it for research use",
        free=False,
        recipes=("sigmorphon2020_inflection",),
        targets=_inflection(),
    ),
    "cmudict": Source(
        about="the CMU Pronouncing Dictionary, without stress, in three parts",
        home="https://github.com/cmusphinx/cmudict",
        size="3.6 MB",
        licence="BSD-style, Carnegie Mellon University; unrestricted, acknowledgement requested",
        free=True,
        recipes=("cmudict",),
        targets=_cmudict(),
    ),
    "scan": Source(
        about="commands to action sequences, simple split",
        home="https://github.com/brendenlake/SCAN",
        size="4 MB",
        licence="BSD, Facebook, Inc.",
        free=True,
        recipes=("scan_simple",),
        targets=_scan(),
    ),
    "wmt14_ende": Source(
        about="WMT14 English-German: Europarl, Common Crawl, News Commentary; newstest2013, newstest2014",
        home="https://www.statmt.org/wmt14/translation-task.html",
        size="1.7 GB, with 1.4 GB of text in it",
        licence=_WMT_LICENCE,
        free=False,
        recipes=("wmt14_ende_base", "wmt14_ende_big"),
        targets=_wmt14("wmt14", "de"),
    ),
    "wmt14_enfr": Source(
        about="WMT14 English-French: the same, with the UN corpus and 10^9; newstest2013, newstest2014",
        home="https://www.statmt.org/wmt14/translation-task.html",
        size="6.7 GB, with 15 GB of text in it",
        licence=_WMT_LICENCE,
        free=False,
        recipes=("wmt14_enfr_base", "wmt14_enfr_big"),
        targets=_wmt14(
            "wmt14_enfr", "fr", ((_UN, "un/undoc.2000.fr-en.{}"), (_GIGA, "giga-fren.release2.fixed.{}.gz"))
        ),
    ),
    "iwslt14": Source(
        about="TED talks, German-English",
        home="https://wit3.fbk.eu",
        size="not published",
        licence="TED talks are Creative Commons BY-NC-ND: no commercial use, no derivatives passed on",
        free=False,
        recipes=(),
        targets=_iwslt14(),
        left="The text is raw. The literature's figures are on text tokenised and lower-cased with Moses' scripts, "
        "without pairs over 175 tokens or of very unequal length, and cut into parts after that.",
    ),
}
