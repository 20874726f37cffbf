"""Formats: what translators and programmers have, read as they mean it; and text that is easily damaged."""

import gzip
import json
import lzma
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transduce.data.corpus import (
    AlignedFiles,
    Files,
    Joined,
    Mixed,
    PairsFile,
    languages_of,
    paths,
    read_pairs,
)
from transduce.data.formats import format_of
from transduce.data.shards import TokenisedCorpus, write_shards
from transduce.errors import ConfigError, DataError
from transduce.text.tokenizer import Kind, TokenizerConfig, train_tokenizers

pytestmark = pytest.mark.unit

xml_text = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1)
line_pairs = st.lists(st.tuples(xml_text, xml_text), min_size=1, max_size=5)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, **options: Any) -> list[tuple[str, str]]:
    return list(read_pairs(PairsFile(pairs=path, **options)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("formats")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.tsv", "text"),
        ("po", "text"),
        ("a.po", "po"),
        ("a.POT.gz", "po"),
        ("a.en-de.tmx", "tmx"),
        ("a.xlf", "xliff"),
        ("a.xliff.xz", "xliff"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson.gz", "jsonl"),
        ("a.po.tsv", "text"),
    ],
)
def test_the_suffix_says_the_format(name: str, expected: str) -> None:
    assert format_of(Path(name)) == expected


# ---- JSON lines


@given(pairs=st.lists(st.tuples(xml_text, xml_text), min_size=1), ascii_only=st.booleans())
@settings(max_examples=30, deadline=None)
def test_json_comes_back(folder: Path, pairs: list[tuple[str, str]], ascii_only: bool) -> None:
    lines = [json.dumps({"translation": {"en": s, "de": t}}, ensure_ascii=ascii_only) for s, t in pairs]
    path = write(folder, "a.jsonl", "\n".join(lines))
    assert read(path, source_columns=("translation.en",), target_columns=("translation.de",)) == pairs


def test_fields_arrays_and_several_targets(tmp_path: Path) -> None:
    path = write(
        tmp_path, "a.jsonl", '{"source": "a\\nb", "target": ["x", "y\\r\\n"]}\n\n{"source": "c", "target": null}\n'
    )
    assert read(path) == [("a b", "x"), ("a b", "y"), ("c", "")]
    none = write(tmp_path, "none.jsonl", '{"source": "c", "target": []}\n')
    assert read(none) == [("c", "")]
    arrays = write(tmp_path, "b.jsonl.gz", gzip.compress(b'\xef\xbb\xbf["a", "b", "c"]\r\n'))
    assert read(arrays) == [("a", "b")]
    assert read(arrays, source_columns=(1, 3)) == [("a c", "b")]
    dotted = write(tmp_path, "c.jsonl", '{"a.b": "whole", "a": {"b": "part"}, "t": "x"}\n')
    assert read(dotted, source_columns=("a.b", "t"), target_columns=("t",)) == [("whole x", "x")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"source": "a"', ":2: not JSON"),
        ('{"source": "a"}', ":2: no field 'target'"),
        ('{"source": "a", "target": 5}', ":2: 5 is not text"),
        ('{"source": ["a"], "target": "b"}', r':2: \["a"\] is not text'),
        ('{"source": "\\ud800", "target": "b"}', ":2: a lone surrogate"),
        ('["a"]', ":2: no column 2"),
        ('"a"', ":2: no field 'source'"),
        ("[" * 100_000, ":2: nested too deeply|:2: not JSON"),
    ],
)
def test_lines_that_are_no_pair(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path, "a.jsonl", f'{{"source": "a", "target": "b"}}\n{line}\n')
    with pytest.raises(DataError, match=f"a.jsonl{message}"):
        read(path)


def test_columns_that_objects_and_arrays_do_not_have(tmp_path: Path) -> None:
    objects, arrays = write(tmp_path, "o.jsonl", '{"source": "a"}'), write(tmp_path, "a.jsonl", '["a", "b"]')
    with pytest.raises(DataError, match="o.jsonl:1: an object has no column 3, its columns are names"):
        read(objects, source_columns=(3,))
    with pytest.raises(DataError, match="a.jsonl:1: an array has no field 'en', its columns are numbers"):
        read(arrays, source_columns=("en",))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.tsv", {"source_columns": ("en",)}, "names are for JSON lines; here they are numbers"),
        ("a.po", {"source_columns": (3,)}, r"po has two, source \(1\) and target \(2\)"),
        ("a.jsonl", {"source_columns": (0,)}, "the first column is number 1"),
        ("a.tmx", {"pattern": "(a)(b)"}, "data.pattern is for lines of text, this is tmx"),
    ],
)
def test_columns_that_a_format_does_not_have(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PairsFile(pairs=Path(name), **options)


# ---- PO

PO = r"""# translators
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=3; plural=(n==1 ? 0 : n<5 ? 1 : 2);\n"

#, fuzzy
msgid "guessed"
msgstr "geraten"

#: menu.c:3
msgctxt "menu"
msgid "Open \"x\"\n"
"the file\n"
msgstr "Datei\t„x“\n"
"öffnen\n"

#, c-format
msgid "one cat"
msgid_plural "%d cats"
msgstr[0] "eine Katze"
msgstr[1] "%d Katzen"
msgstr[2] "viele Katzen"

msgid "untranslated"
msgstr ""

#~ msgid "old"
#~ msgstr "alt"
"""
PO_PAIRS = [
    ('Open "x" the file', "Datei\t„x“ öffnen"),
    ("one cat", "eine Katze"),
    ("%d cats", "%d Katzen"),
    ("%d cats", "viele Katzen"),
]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
@pytest.mark.parametrize("change", [lambda c: c, lambda c: c.replace(b"\n", b"\r\n"), lambda c: b"\xef\xbb\xbf" + c])
def test_po(tmp_path: Path, pack: Callable[[bytes], bytes], change: Callable[[bytes], bytes]) -> None:
    suffix = {bytes: "", gzip.compress: ".gz", lzma.compress: ".xz"}[pack]
    path = write(tmp_path, f"de.po{suffix}", pack(change(PO.encode())))
    assert read(path) == PO_PAIRS
    assert read(path, source_columns=(2,), target_columns=(1,)) == [(t, s) for s, t in PO_PAIRS]


def test_a_language_without_plural_has_the_plural(tmp_path: Path) -> None:
    path = write(tmp_path, "ja.po", 'msgid "cat"\nmsgid_plural "cats"\nmsgstr[0] "猫"\n')
    assert read(path) == [("cats", "猫")]


def test_a_po_in_the_character_set_that_it_names(tmp_path: Path) -> None:
    content = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=%s\\n"\n\nmsgid "oil"\nmsgstr "Öl"\n'
    latin = (content % "ISO-8859-1").encode("latin-1")
    assert read(write(tmp_path, "a.po", latin)) == [("oil", "Öl")]
    with pytest.raises(DataError, match="b.po:5: not UTF-8, which it should be"):
        read(write(tmp_path, "b.po", (content % "UTF-8").encode("latin-1")))
    with pytest.raises(DataError, match="c.po: no such character set as klingon"):
        read(write(tmp_path, "c.po", content % "klingon"))


def test_a_po_that_speaks_of_other_character_sets(tmp_path: Path) -> None:
    said = "# was Content-Type: text/plain; charset=ISO-8859-1 once\n"
    entry = 'msgid "Use <meta charset=iso-8859-1>"\nmsgstr "Öl: <meta charset=iso-8859-1>"\n'
    expected = [("Use <meta charset=iso-8859-1>", "Öl: <meta charset=iso-8859-1>")]
    assert read(write(tmp_path, "a.po", said + entry)) == expected
    header = 'msgid ""\nmsgstr ""\n"Language: de\\n"\n"Content-Type: text/plain; charset=ISO-8859-1\\n"\n\n'
    assert read(write(tmp_path, "b.po", (said + header + entry).encode("latin-1"))) == expected


@given(line_pairs)
@settings(max_examples=30, deadline=None)
def test_po_comes_back(folder: Path, pairs: list[tuple[str, str]]) -> None:
    from translate.storage.pypo import pofile

    store = pofile()
    kept = {source: target for source, target in pairs if source.strip() and target.strip()} | {"a": "b"}
    for source, target in kept.items():
        store.addsourceunit(source).target = target
    path = write(folder, "a.po", bytes(store))
    assert read(path) == list(kept.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('msgid "a\nmsgstr "b"\n', "not a PO file: .*line 1"),
        ("hello world\n", "not a PO file"),
        ('msgid "one"\nmsgid_plural "two"\nmsgguessed"\nmsgstr[1] "zwei"\n', "not a PO file"),
        ('msgid "a"\nmsgstr ""\n', "nothing in it is translated, read as po"),
        ("", "the file is empty"),
    ],
)
def test_what_is_no_po(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=f"a.po: {message}"):
        read(write(tmp_path, "a.po", content))


def test_without_the_library_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "translate.storage.pypo", None)
    with pytest.raises(ConfigError, match=r"a.po: PO files need .* pip install 'transduce\[formats\]'"):
        read(write(tmp_path, "a.po", PO))


# ---- TMX


def tmx(*units: dict[str, str], srclang: str = "*all*", prolog: str = "") -> str:
    body = "".join(
        "<tu>" + "".join(f'<tuv xml:lang="{lang}"><seg>{seg}</seg></tuv>' for lang, seg in unit.items()) + "</tu>"
        for unit in units
    )
    return f'<?xml version="1.0"?>{prolog}\n<tmx version="1.4"><header srclang="{srclang}"/><body>\n{body}</body></tmx>'


TWO = ({"en-US": "one", "de-DE": "eins"}, {"de-DE": "zwei", "en-US": "two"}, {"en-US": "alone"})


@pytest.mark.parametrize(
    ("srclang", "asked", "expected"),
    [
        ("*all*", ("", ""), ("en-us", "de-de")),
        ("de-DE", ("", ""), ("de-de", "en-us")),
        ("DE", ("", ""), ("de-de", "en-us")),
        ("de-DE", ("en", "de"), ("en-us", "de-de")),
        ("*all*", ("de_DE", "EN-us"), ("de-de", "en-us")),
    ],
)
def test_which_way_a_tmx_is_read(
    tmp_path: Path, srclang: str, asked: tuple[str, str], expected: tuple[str, str]
) -> None:
    path = write(tmp_path, "a.tmx", tmx(*TWO, srclang=srclang))
    files = PairsFile(pairs=path, languages=asked)
    assert languages_of(files) == languages_of(Joined(parts=(PairsFile(pairs=Path("x")), files))) == expected
    right = [("one", "eins"), ("two", "zwei")]
    assert list(read_pairs(files)) == (right if expected[0] == "en-us" else [(t, s) for s, t in right])
    assert languages_of(AlignedFiles(source=Path("x"), target=Path("y"))) == ("", "")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("", ""), r"the languages are en-us \(2\), en-gb \(1\), de \(2\). Say which two with --langs"),
        (("en", "de"), r"language 'en' could be en-us or en-gb; there are en-us \(2\)"),
        (("en-us", "fr"), "language 'fr' is not there; there are"),
        (("e", "de"), "language 'e' is not there"),
    ],
)
def test_languages_that_are_not_clear(tmp_path: Path, asked: tuple[str, str], message: str) -> None:
    units = ({"en-US": "a", "en-GB": "b", "de": "c"}, {"en-US": "d", "de": "e"})
    path = write(tmp_path, "a.tmx", tmx(*units))
    with pytest.raises(DataError, match=f"a.tmx: {message}"):
        read(path, languages=asked)
    assert read(path, languages=("en-us", "de")) == [("a", "c"), ("d", "e")]
    exact = write(tmp_path, "b.tmx", tmx({"en": "a", "en-GB": "b", "de": "c"}))
    assert read(exact, languages=("en", "de")) == [("a", "c")]


def test_native_codes_are_no_text(tmp_path: Path) -> None:
    seg = 'Click <bpt i="1">&lt;b&gt;</bpt><hi>here</hi><ept i="1">&lt;/b&gt;</ept> &amp; <ph>%s<sub>x</sub></ph>now\n!'
    path = write(tmp_path, "a.tmx", tmx({"en": seg, "de": "<![CDATA[a < b]]>"}))
    assert read(path) == [("Click here & now !", "a < b")]


@given(line_pairs)
@settings(max_examples=30, deadline=None)
def test_tmx_and_xliff_come_back_and_translate_toolkit_agrees(folder: Path, pairs: list[tuple[str, str]]) -> None:
    from translate.storage.tmx import tmxfile

    content = tmx(*({"en": escape(s), "de": escape(t)} for s, t in pairs))
    assert read(write(folder, "a.tmx", content)) == pairs
    theirs = tmxfile.parsestring(content.encode())  # type: ignore[no-untyped-call]
    assert [(" ".join(str(u.source).split()), " ".join(str(u.target).split())) for u in theirs.units] == [
        (" ".join(s.split()), " ".join(t.split())) for s, t in pairs
    ]
    units = "".join(
        f"<trans-unit><source>{escape(s)}</source><target>{escape(t)}</target></trans-unit>" for s, t in pairs
    )
    if any(t.strip() for _, t in pairs):
        assert read(write(folder, "a.xlf", f"<xliff><file><body>{units}</body></file></xliff>")) == [
            (s, t) for s, t in pairs if t.strip()
        ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-1", "windows-1252"])
def test_xml_says_its_encoding(tmp_path: Path, encoding: str) -> None:
    name = encoding.removesuffix("-sig")
    content = tmx({"en": "oil", "de": "Öl"}).replace('"1.0"?', f'"1.0" encoding="{name}"?').replace("\n", "\r\n")
    assert read(write(tmp_path, "a.tmx", content.encode(encoding))) == [("oil", "Öl")]


# ---- XLIFF

XLIFF_1 = """<?xml version="1.0"?>
<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2"><file source-language="en"><body>
<group><trans-unit id="1"><source>Click <g id="1">here</g><x id="2"/><ph id="3">%s</ph></source>
  <seg-source><mrk mtype="seg">no</mrk></seg-source>
  <target state="translated">Hier <mrk mtype="seg">klicken</mrk></target>
  <alt-trans><source>guess</source><target>geraten</target></alt-trans><note>no</note></trans-unit></group>
<trans-unit id="2"><source>none</source></trans-unit>
<trans-unit id="3"><source>blank</source><target> </target></trans-unit>
<trans-unit id="4"><source>copied</source><target state="needs-translation">copied</target></trans-unit>
<trans-unit id="5"><source>two</source><target>zwei</target></trans-unit>
</body></file></xliff>"""
XLIFF_2 = """<xliff version="2.0" xmlns="urn:oasis:names:tc:xliff:document:2.0" srcLang="en" trgLang="de"><file id="f">
<unit id="1"><segment><source>One <pc id="1">b</pc><ph id="2"/></source><target>Eins</target></segment>
<ignorable><source> </source></ignorable>
<segment state="final"><source>Two</source><target>Zwei</target></segment></unit>
<unit id="2"><segment><source>x</source></segment>
<segment state="initial"><source>copied</source><target>copied</target></segment></unit></file></xliff>"""


def test_xliff(tmp_path: Path) -> None:
    assert read(write(tmp_path, "1.xlf", XLIFF_1)) == [("Click here", "Hier klicken"), ("two", "zwei")]
    assert read(write(tmp_path, "2.xliff.gz", gzip.compress(XLIFF_2.encode()))) == [("One b", "Eins"), ("Two", "Zwei")]


# ---- XML that is broken, or meant to break something

LAUGHS = '<!DOCTYPE tmx [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'
FILE = '<!DOCTYPE tmx [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
PARAMETER = '<!DOCTYPE tmx [<!ENTITY % a SYSTEM "http://127.0.0.1:9/x.dtd"> %a;]>'
SKIPPED = '<!DOCTYPE tmx SYSTEM "tmx14.dtd">'


@pytest.mark.parametrize("prolog", [LAUGHS, FILE, PARAMETER])
@pytest.mark.parametrize("name", ["a.tmx", "a.xlf"])
def test_entities_are_refused(tmp_path: Path, name: str, prolog: str) -> None:
    path = write(tmp_path, name, tmx({"en": "&c;", "de": "b"}, prolog=prolog))
    with pytest.raises(DataError, match=f"{name}:1: has entities of its own"):
        read(path)


def test_a_document_type_is_not_looked_for_and_its_entities_are_refused(tmp_path: Path) -> None:
    assert read(write(tmp_path, "a.tmx", tmx(*TWO, prolog=SKIPPED)))[0] == ("one", "eins")
    with pytest.raises(DataError, match="b.tmx:3: has entities of its own"):
        read(write(tmp_path, "b.tmx", tmx({"en": "a&nbsp;b", "de": "b"}, prolog=SKIPPED)))


@pytest.mark.parametrize("name", ["a.tmx", "a.xlf"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tmx(*TWO)[:-30].encode(), "a....:3: not XML, or truncated"),
        (b"plain text\n", "a....:1: not XML"),
        (b"<tu>" * 201, "a.tmx:1: nested too deeply|not XML"),
        (b"<segment>" * 100_000, "a.xlf:1: nested too deeply|not XML"),
        (tmx({"en": "a & b", "de": "c"}).encode(), "a....:3: not XML"),
        (tmx({"en": "ö", "de": "c"}).encode("latin-1"), "a....:3: not XML"),
        (tmx().replace('"1.0"?', '"1.0" encoding="klingon"?').encode(), "a....:1: (cannot be read as|not) XML"),
        (b"", "the file is empty"),
    ],
)
def test_what_is_no_xml(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, name, content))


@pytest.mark.parametrize("name", ["a.tmx.gz", "a.xlf.gz", "a.po.gz", "a.jsonl.gz"])
def test_damaged_compression_is_an_error(tmp_path: Path, name: str) -> None:
    packed = gzip.compress(b"".join(b"%d\n" % (i * i) for i in range(5000)))
    with pytest.raises(DataError, match="cannot read on|not XML|not JSON|not a PO|is not text|no field"):
        read(write(tmp_path, name, packed[: len(packed) // 2]))
    with pytest.raises(DataError, match="cannot open it"):
        read(tmp_path / f"missing.{name}")


def test_a_translation_memory_is_not_held_in_memory(tmp_path: Path) -> None:
    """40,000 units, 5 MB: as a tree, 65 MB."""
    path = write(tmp_path, "a.tmx", tmx(*({"en": f"sentence {i}", "de": f"Satz {i}"} for i in range(40_000))))
    program = (
        "import resource, sys; from pathlib import Path; from transduce.data.corpus import PairsFile, read_pairs\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); n = sum(1 for _ in read_pairs(PairsFile(pairs=Path(sys.argv[1])))); print(n, peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    n, grown = map(int, done.stdout.split())
    assert n == 40_000
    assert grown * (1 if sys.platform == "darwin" else 1024) < 8_000_000


# ---- several sets, old data in new


def tsv(folder: Path, name: str, n: int) -> PairsFile:
    return PairsFile(pairs=write(folder, name, "".join(f"{name}{i}\t{i}\n" for i in range(n))))


def test_sets_come_one_after_the_other_with_their_tags(tmp_path: Path) -> None:
    aligned = AlignedFiles(source=write(tmp_path, "s", "a\n\n"), target=write(tmp_path, "t", "x\ny\n"), tag="fr")
    both = Joined(parts=(tsv(tmp_path, "p", 2), aligned))
    assert list(read_pairs(both)) == [("p0", "0"), ("p1", "1"), (">>fr<< a", "x"), ("", "y")]
    assert [path.name for path in paths(both)] == ["p", "s", "t"]


@pytest.mark.parametrize(("share", "n"), [(0.2, 25), (0.5, 100), (0.01, 1), (0.9, 200)])
def test_old_pairs_are_a_share_of_all(tmp_path: Path, share: float, n: int) -> None:
    new, old = tsv(tmp_path, "new", 100), tsv(tmp_path, "old", 200)
    mixed = Mixed(new=new, old=old, share=share, seed=1)
    pairs = list(read_pairs(mixed))
    assert pairs[:100] == list(read_pairs(new))
    assert len(pairs[100:]) == len(set(pairs[100:])) == n
    assert set(pairs[100:]) <= set(read_pairs(old))
    assert list(read_pairs(mixed)) == pairs
    if n < 200:
        assert list(read_pairs(Mixed(new=new, old=old, share=share, seed=2))) != pairs
    assert [path.name for path in paths(mixed)] == ["new", "old"]


# ---- text that is easily damaged: from a file through vocabulary and shard and back

HARD = {
    "carriage returns": "a\rb",
    "no-break and thin spaces": "10\u00a0000\u202f€\u2009x\u3000y",
    "composed": unicodedata.normalize("NFC", "Ångström é"),
    "decomposed": unicodedata.normalize("NFD", "Ångström é"),
    "Arabic": "\u202bمرحبا بِكُمْ\u202c ١٢٣",  # noqa: RUF001
    "Hebrew": "שָׁלוֹם \u200fעולם",  # noqa: RUF001
    "Thai": "ภาษาไทยไม่มีวรรค",
    "Japanese": "日本語には空白がない。ﾊﾝｶｸ",
    "emoji": "👩‍👩‍👧‍👦 👍🏽 🇩🇪 ❤️",
    "zero width": "a\u200bb\u200cc\u200dd\ufeffe\u00adf",
    "astral": "𐍈𝔘𠜎",
}


def hard_files(folder: Path, text: str) -> Iterator[tuple[str, Files]]:
    bom, line = "\ufeff", text + "\r\n"
    source, target = write(folder, "s", bom + line), write(folder, "t", line)
    yield "aligned", AlignedFiles(source=source, target=target)
    yield "tsv", PairsFile(pairs=write(folder, "p.tsv", f"{bom}{text}\t{line}"))
    yield "jsonl", PairsFile(pairs=write(folder, "p.jsonl", bom + json.dumps([text, text], ensure_ascii=False)))
    yield "tmx", PairsFile(pairs=write(folder, "p.tmx", bom + tmx({"a": text, "b": text})))
    xliff = f"<xliff><trans-unit><source>{text}</source><target>{text}</target></trans-unit></xliff>"
    yield "xliff", PairsFile(pairs=write(folder, "p.xlf", bom + xliff))
    yield "po", PairsFile(pairs=write(folder, "p.po", f'{bom}msgid "{text}"\r\nmsgstr "{text}"\r\n'))


@pytest.mark.parametrize("text", HARD.values(), ids=HARD)
def test_no_character_is_lost(tmp_path: Path, text: str) -> None:
    for name, files in hard_files(tmp_path, text):
        if "\r" in text and name not in ("aligned", "tsv"):  # a line break there, which becomes a space
            text_there = text.replace("\r", " ")
            if name == "po":
                continue
        else:
            text_there = text
        assert list(read_pairs(files)) == [(text_there, text_there)], name
    pairs = list(read_pairs(next(hard_files(tmp_path, text))[1])) * 3
    kinds: tuple[Kind, ...] = ("bpe", "unigram", "characters")
    for kind in kinds:
        tokenizers = train_tokenizers(
            [("some other text", "x")], TokenizerConfig(source=kind, target=kind, size=320), False
        )
        write_shards(enumerate(pairs, start=1), tokenizers, tmp_path / kind, max_length=400)
        corpus = TokenisedCorpus.open(tmp_path / kind)
        for side, ids in zip((tokenizers.source, tokenizers.target), corpus.pair(2), strict=True):
            assert side.decode(ids) == text, kind


def test_normal_forms_are_applied_when_asked(tmp_path: Path) -> None:
    text = HARD["decomposed"] + "ﾊ"
    for _, files in hard_files(tmp_path, text):
        assert isinstance(files, AlignedFiles | PairsFile)
        for form, expected in (("nfc", HARD["composed"] + "ﾊ"), ("nfkc", HARD["composed"] + "ハ")):
            options = {name: getattr(files, name) for name in files.__slots__} | {"normalise": form}
            assert list(read_pairs(type(files)(**options))) == [(expected, expected)]
