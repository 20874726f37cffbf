"""What becomes of downloads: the right lines, in files that are whole or not there."""

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from sacrebleu.dataset import DATASETS
from sacrebleu.dataset.fake_sgml import FakeSGMLDataset

from tests.data.tiny import archive
from tests.disk import contents, full_disk
from transduce.data.convert import convert, split_dictionary
from transduce.data.sources import SOURCES, AsIs, Dictionary, Download, Joined, Part, Target
from transduce.errors import FetchError, SaveError

pytestmark = pytest.mark.unit

HERE = Download(url="http://there/a.gz")
SGM = """<refset trglang="de">\n<doc id="1">\n<hl>\n<seg id="1"> Ein  Haus\u00a0&amp; Hof. </seg>\n</hl>
<seg id="2">Zwei.</seg>\n</doc>\n</refset>\n""".encode()
TALKS = b"""<url>http://x</url>\n<keywords>a, b</keywords>\n<talkid>1</talkid>\n<title>Al Gore: Klima</title>
<description>Ein Vortrag.</description>\n Vielen Dank. \n< 5 ist klein.\n"""


def made(folder: Path, download: bytes, content: AsIs | Joined | Dictionary, name: str = "out/a.txt") -> bytes:
    """The bytes of the file that `content` asks for, made of `download`."""
    source = folder / "download.gz"
    source.write_bytes(download)
    convert(Target(path=name, content=content), lambda file: source, folder / name, ready=lambda whole: None)
    assert list(contents((folder / name).parent)) == [Path(name).name]
    return (folder / name).read_bytes()


def part(member: str = "", **more: str) -> Part:
    return Part(download=HERE, member=member, **more)  # type: ignore[arg-type]


def test_as_is_is_byte_for_byte(tmp_path: Path) -> None:
    packed = gzip.compress(b"a\r\n")
    assert made(tmp_path, packed, AsIs(download=HERE)) == packed


UNPACK: dict[str, Callable[[bytes], bytes]] = {".txt": bytes, ".gz": gzip.decompress, ".xz": lzma.decompress}


@pytest.mark.parametrize("suffix", UNPACK)
def test_text_is_packed_as_its_name_says_without_carriage_returns(tmp_path: Path, suffix: str) -> None:
    text, name = gzip.compress("ä\r\n\nb\x0bc\rd".encode()), f"out/a{suffix}"
    first = made(tmp_path, text, Joined(parts=(part(),)), name)
    assert UNPACK[suffix](first) == "ä\n\nb\x0bc\rd\n".encode()
    assert made(tmp_path, text, Joined(parts=(part(),)), name) == first


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_members_of_archives_one_after_the_other(tmp_path: Path, mode: str) -> None:
    packed = archive({"./x/b.en": b"b\n", "x/no": b"no\n", "a.en.gz": gzip.compress(b"a1\na2\n")}, mode)
    (tmp_path / "download.tar").write_bytes(packed)
    target = Target(path="a", content=Joined(parts=(part("a.en.gz"), part("x/b.en"))))
    convert(target, lambda file: tmp_path / "download.tar", tmp_path / "a", lambda whole: None)
    assert (tmp_path / "a").read_bytes() == b"a1\na2\nb\n"


def test_segments_and_talks(tmp_path: Path) -> None:
    packed = archive({"s": SGM, "t": TALKS})
    joined = Joined(parts=(part("s", form="sgm"), part("t", form="talks")))
    expected = "Ein Haus &amp; Hof.\nZwei.\nAl Gore: Klima\nEin Vortrag.\nVielen Dank.\n< 5 ist klein.\n"
    assert made(tmp_path, packed, joined).decode() == expected


def sacrebleu_s() -> FakeSGMLDataset:
    theirs = DATASETS["wmt14/full"]
    assert isinstance(theirs, FakeSGMLDataset)
    return theirs


def test_segments_are_those_of_sacrebleu(tmp_path: Path) -> None:
    (tmp_path / "s.sgm").write_bytes(SGM)
    sacrebleu_s()._convert_format(str(tmp_path / "s.sgm"), str(tmp_path / "s.txt"))  # type: ignore[no-untyped-call]
    ours = made(tmp_path, archive({"s": SGM}), Joined(parts=(part("s", form="sgm"),)))
    assert ours == (tmp_path / "s.txt").read_bytes()


def test_the_archives_of_wmt14_are_those_of_sacrebleu() -> None:
    theirs = sacrebleu_s()
    for name, pair in (("wmt14_ende", "en-de"), ("wmt14_enfr", "en-fr")):
        contents_of = [target.content for target in SOURCES[name].targets]
        parts = [part for joined in contents_of if isinstance(joined, Joined) for part in joined.parts]
        parts = [part for part in parts if part.form == "sgm"]
        assert [part.member for part in parts] == theirs.langpairs[pair]
        assert {part.download.url.replace("www.", "") for part in parts} == set(theirs.data or ())
        assert {part.download.digest for part in parts} == {f"md5:{md5}" for md5 in theirs.md5 or ()}


def test_every_23rd_line_and_the_others_are_all(tmp_path: Path) -> None:
    lines = [b"%d\n" % n for n in range(1, 101)]
    text = gzip.compress(b"".join(lines))
    held_out = made(tmp_path, text, Joined(parts=(part(),), keep="every 23rd")).splitlines()
    others = made(tmp_path, text, Joined(parts=(part(),), keep="the others")).splitlines()
    assert held_out == [b"23", b"46", b"69", b"92"]
    assert sorted(held_out + others, key=int) == [line.strip() for line in lines]


def test_every_word_is_in_one_part_only_and_stress_in_none() -> None:
    entries = [(f"w{n}", ["AA1", "B"]) for n in range(400)]
    parts = split_dictionary([*entries, ("cat", ["K", "AE0", "T"]), ("cat", ["K", "AE2", "T"]), ("cat", ["S", "AE1"])])
    words = {name: {word for word, _ in pairs} for name, pairs in parts.items()}
    assert not words["train"] & words["dev"] | words["train"] & words["test"] | words["dev"] & words["test"]
    assert (len(words["train"]), len(words["dev"]), len(words["test"])) == (341, 20, 40)
    assert parts["dev"][0] == ("w19", "AA B")
    assert [word for word, _ in parts["test"][:2]] == ["w17", "w18"]
    assert [said for word, said in parts["train"] if word == "cat"] == ["K AE T", "S AE"]


def test_the_dictionary_s_file(tmp_path: Path) -> None:
    text = gzip.compress(b"aalborg AO1 L B AO0 R G # place, danish\naalborg(2) AA1 L B AO0 R G\n'bout B AW1 T\n")
    made_of_it = made(tmp_path, text, Dictionary(download=HERE, part="train"))
    assert made_of_it == b"aalborg\tAO L B AO R G\naalborg\tAA L B AO R G\n'bout\tB AW T\n"


@pytest.mark.parametrize(
    ("download", "content", "message"),
    [
        (archive({"x": b"x" * 99999})[:-20], Joined(parts=(part("y"),)), "damaged"),
        (archive({"x": b"x"}), Joined(parts=(part("y"),)), "there is no y in this archive"),
        (gzip.compress(b"not an archive"), Joined(parts=(part("y"),)), "damaged"),
        (gzip.compress(b"text" * 999)[:-9], Joined(parts=(part(),)), "damaged"),
        (gzip.compress(b"text" * 999)[:-9], AsIs(download=HERE), "damaged"),
        (b"\x1f\x8bno", AsIs(download=HERE), "damaged"),
        (gzip.compress(b"a B\n<b>404</b>\n"), Dictionary(download=HERE, part="dev"), ":2: not a word and its phones"),
    ],
    ids=["cut archive", "no such member", "no archive", "cut part", "cut file", "no gzip", "web page"],
)
def test_damage_is_one_line_and_leaves_nothing(
    tmp_path: Path, download: bytes, content: AsIs | Joined | Dictionary, message: str
) -> None:
    with pytest.raises(FetchError) as caught:
        made(tmp_path, download, content)
    assert str(caught.value).startswith(HERE.url)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path / "out") == {}


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    before = made(tmp_path, gzip.compress(b"old\n"), Joined(parts=(part(),)))
    (tmp_path / "download.gz").write_bytes(gzip.compress(b"word\n" * 50_000))
    target = Target(path="a", content=Joined(parts=(part(),)))
    with full_disk(1000), pytest.raises(SaveError, match="a.txt: cannot be written .* Free space, then go on"):
        convert(target, lambda file: tmp_path / "download.gz", tmp_path / "out" / "a.txt", lambda whole: None)
    assert contents(tmp_path / "out") == {"a.txt": before}
