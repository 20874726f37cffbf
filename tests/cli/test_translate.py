"""`transduce translate`: lines in, lines out, in order, whatever they look like and wherever they come from."""

import gzip
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest

from tests.cli.conftest import Transduce
from tests.tiny import sentences, write_lines
from transduce.cli.files import open_output
from transduce.decoding.translator import Translator

pytestmark = pytest.mark.unit

LINES = ["the dog runs", "cat", "", "green bird sees the cat", "   ", "dog dog dog"]


@pytest.fixture
def outputs(run: Path) -> list[str]:
    """What the library says to `LINES`."""
    return Translator.load(run).translate(LINES)


# ---- where lines come from and go to


def test_a_text_is_translated(transduce: Transduce, run: Path, outputs: list[str]) -> None:
    said = transduce("translate", run, LINES[0])
    assert (said.status, said.out, said.err) == (0, outputs[0] + "\n", "")


def test_the_name_of_a_file_is_translated_with_a_warning(
    transduce: Transduce, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "cat", ["dog"])
    said = transduce("translate", run, "cat")
    assert "its lines: --input cat" in said.err.lower()
    assert said.out == transduce("translate", run, stdin="cat\n").out


def test_a_file_of_pairs_is_no_input(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    transduce("translate", run, "--input", write_lines(tmp_path / "m.po", ["msgid"])).refused("this is po")


def test_two_may_write_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is whole last stays, and is whole."""
    out = str(tmp_path / "out")
    with open_output(out) as one:
        one.write("one\n")
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: 1)
            with open_output(out) as other:
                other.write("other\n")
        assert (tmp_path / "out").read_text() == "other\n"
    assert (tmp_path / "out").read_text() == "one\n"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_model_directory_is_as_good_as_its_run(transduce: Transduce, run: Path) -> None:
    assert transduce("translate", run / "model", "the cat").out == transduce("translate", run, "the cat").out


def test_a_text_of_several_lines_is_several_lines(transduce: Transduce, run: Path, outputs: list[str]) -> None:
    assert transduce("translate", run, "\n".join(LINES)).out.split("\n")[:-1] == outputs


@pytest.mark.parametrize("options", [[], ["--input", "-", "--output", "-"]], ids=["default", "dashes"])
def test_standard_input_to_standard_output(
    transduce: Transduce, run: Path, outputs: list[str], options: list[str]
) -> None:
    said = transduce("translate", run, *options, stdin="".join(line + "\n" for line in LINES))
    assert said.status == 0
    assert said.out.split("\n")[:-1] == outputs
    assert said.err == ""


def test_blank_lines_stay_and_are_empty(outputs: list[str]) -> None:
    assert [not text for text in outputs] == [not line.strip() for line in LINES]


def test_line_ends_of_windows_and_a_last_line_without_one(transduce: Transduce, run: Path, outputs: list[str]) -> None:
    assert transduce("translate", run, stdin="\r\n".join(LINES)).out.split("\n")[:-1] == outputs


def test_nothing_in_nothing_out(transduce: Transduce, run: Path) -> None:
    said = transduce("translate", run)
    assert (said.status, said.out, said.err) == (0, "", "")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files(transduce: Transduce, run: Path, outputs: list[str], tmp_path: Path, suffix: str) -> None:
    content = "".join(line + "\n" for line in LINES).encode()
    (tmp_path / f"in.aa{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    said = transduce("translate", run, "--input", tmp_path / f"in.aa{suffix}", "--output", tmp_path / "out.bb")
    assert (said.status, said.out) == (0, "")
    assert (tmp_path / "out.bb").read_text(encoding="utf-8").split("\n")[:-1] == outputs
    assert sorted(f.name for f in tmp_path.iterdir()) == [f"in.aa{suffix}", "out.bb"]


@pytest.mark.parametrize(("suffix", "unpack"), [(".gz", gzip.decompress), (".xz", lzma.decompress)])
def test_outputs_are_packed_as_they_are_called(
    transduce: Transduce, run: Path, outputs: list[str], tmp_path: Path, suffix: str, unpack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"out.bb{suffix}"
    assert transduce("translate", run, "--output", path, stdin="".join(line + "\n" for line in LINES)).status == 0
    assert unpack(path.read_bytes()).decode().split("\n")[:-1] == outputs
    assert [f.name for f in tmp_path.iterdir()] == [path.name]


def test_a_pipe_is_written_to_and_a_link_stays_one(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    expected = transduce("translate", run, "the dog").out
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert transduce("translate", run, "the dog", "--output", tmp_path / "pipe").status == 0
    assert os.read(reading, 2**16).decode() == expected
    os.close(reading)
    (tmp_path / "real").write_text("old", encoding="utf-8")
    (tmp_path / "link").symlink_to("real")
    assert transduce("translate", run, "the dog", "--output", tmp_path / "link").status == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text(encoding="utf-8") == expected


def test_where_nothing_can_be_written_nothing_is_translated(
    transduce: Transduce, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Translator, "translate_stream", None)
    transduce("translate", run, "the dog", "--output", tmp_path).refused(f"{tmp_path}: this is a folder. Name a file")
    transduce("translate", run, "the dog", "--output", tmp_path / "no" / "x").refused("no is no folder. Make it first")
    page = tmp_path / "none" / "x.html"
    transduce("translate", run, "the dog", "--attention", page).refused(f"{page}: {page.parent} is no folder.")
    transduce("translate", run, "the dog", "--attention", tmp_path).refused(f"{tmp_path}: this is a folder.")
    lines = tmp_path / "lines"
    lines.write_text("the dog\n", encoding="utf-8")
    for used in (("--input", lines), ("--input", lines, "--output", tmp_path / "x"), ("--prefix", lines)):
        place = tmp_path / "x" if "--output" in used else lines
        said = transduce("translate", run, *used, "--attention", place, stdin="the dog\n")
        said.refused(f"--attention {place}: this file is read, or is written too.")
    for used in (("--input", lines), ("--prefix", lines)):
        said = transduce("translate", run, *used, "--output", tmp_path / "." / "lines", stdin="the dog\n")
        said.refused(f"--output {lines}: this file is read, or is written too.")
    transduce("translate", run, "the dog", "--attention", "-").refused("-: this does not go to standard output.")
    assert lines.read_text(encoding="utf-8") == "the dog\n"


def test_a_byte_order_mark_is_no_text(transduce: Transduce, run: Path) -> None:
    assert transduce("translate", run, stdin="\ufeffthe dog\n").out == transduce("translate", run, "the dog").out


def test_any_text_at_all_gives_one_line(transduce: Transduce, run: Path) -> None:
    strange = ["🙂 dog", "\x00", "a\u2028b", "\ufeff", "word" * 500, "<s> </s> <unk> <pad>", "dog\tcat", "\u2581", "ﬃ"]
    said = transduce("translate", run, stdin="".join(line + "\n" for line in strange))
    assert said.status == 0
    assert said.out.count("\n") == len(strange)


# ---- what is asked for


def test_n_best_gives_at_most_n_outputs_best_first(transduce: Transduce, run: Path) -> None:
    said = transduce("translate", run, "green bird sees", "--n-best", 3, "--scores")
    rows = [line.split("\t") for line in said.out.splitlines()]
    assert len(rows) == 3
    assert len({text for _, text in rows}) == 3
    scores = [float(score) for score, _ in rows]
    assert scores == sorted(scores, reverse=True)
    assert said.out.startswith(transduce("translate", run, "green bird sees", "--scores").out)  # the same search


def test_diverse_outputs_differ_more_and_are_best_first(transduce: Transduce, run: Path) -> None:
    options = ("--n-best", 4, "--scores", "--diverse")
    said = transduce("translate", run, "green bird sees", *options, 2.0)
    rows = [line.split("\t") for line in said.out.splitlines()]
    assert len({text for _, text in rows}) == len(rows) == 4
    assert [float(score) for score, _ in rows] == sorted((float(score) for score, _ in rows), reverse=True)
    plain = transduce("translate", run, "green bird sees", "--n-best", 4).out.splitlines()
    assert len({text.split()[0] for _, text in rows}) > len({text.split()[0] for text in plain})
    assert transduce("translate", run, "green bird sees", *options, 2.0, "--engine", "auto").out == said.out


def test_more_outputs_than_the_usual_beam_widen_it(transduce: Transduce, run: Path) -> None:
    assert len(transduce("translate", run, "the dog", "--n-best", 6).out.splitlines()) == 6


def test_json_is_one_object_a_line_and_nothing_else(transduce: Transduce, run: Path, outputs: list[str]) -> None:
    said = transduce("translate", run, "--json", "--n-best", 2, stdin="".join(line + "\n" for line in LINES))
    objects = [json.loads(line) for line in said.out.splitlines()]
    assert [o["source"] for o in objects] == LINES
    assert [o["translation"] for o in objects] == [o["outputs"][0]["text"] for o in objects]
    assert [bool(text) for text in outputs] == [bool(o["translation"]) for o in objects]
    assert len(objects[0]["outputs"]) == 2
    assert all(set(output) == {"text", "score", "log_prob"} for o in objects for output in o["outputs"])
    assert objects[0]["outputs"][0]["score"] > objects[0]["outputs"][0]["log_prob"]


def test_samples_follow_from_the_seed(transduce: Transduce, run: Path) -> None:
    def sample(*options: object) -> str:
        said = transduce("translate", run, "--sample", *options, stdin="the dog runs\n" * 20)
        assert said.status == 0
        return said.out

    first = sample("--seed", 7, "--temperature", 2)
    assert first == sample("--seed", 7, "--temperature", 2)
    assert first != sample("--seed", 8, "--temperature", 2)
    assert sample() == sample("--seed", 1, "--temperature", 1.0)
    assert len(set(first.splitlines())) > 1
    coldest = sample("--temperature", 1e-4).splitlines()
    assert set(coldest) == {transduce("translate", run, "the dog runs", "--beam", 1).out.strip()}


def test_attention_is_written_beside_the_translations(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    page = tmp_path / "attention.html"
    said = transduce("translate", run, "--attention", page, stdin="the dog runs\n\na <b> cat\n")
    assert (said.status, said.err.splitlines()[-1]) == (0, f"{page}: attention of 2 sentences")
    assert said.out == transduce("translate", run, stdin="the dog runs\n\na <b> cat\n").out
    assert '"source":"the dog runs"' in page.read_text(encoding="utf-8")
    many = "the dog\n" * 101
    transduce("translate", run, "--attention", page, stdin=many).failed("--attention: give at most 100 lines")
    transduce("translate", run, "--attention", page, stdin="\n").failed("attention page: no line to show")
    long = " ".join(["dog", "cat"] * 15)
    said = transduce("translate", run, "--attention", page, stdin=f"the dog\n{long}\n")
    assert f"warning: dog cat dog cat dog cat dog cat dog cat ...: left out of {page}: 30 source pieces" in said.err
    assert said.err.endswith(f"{page}: attention of 1 sentence\n")


def test_a_line_too_long_is_cut_with_a_warning(transduce: Transduce, run: Path) -> None:
    long = " ".join(["dog", "cat"] * 15)
    said = transduce("translate", run, stdin=f"the dog\n{long}\nthe cat\n")
    assert said.status == 0
    assert said.out.count("\n") == 3
    assert said.out.splitlines()[0] == transduce("translate", run, "the dog").out.strip()
    assert said.err.startswith(
        "warning: line 2: 30 pieces, and this model takes 12 at once. It was translated in 4 parts"
    )
    assert said.err.count("\n") == 1


def test_bf16_where_it_is_asked_for(transduce: Transduce, run: Path) -> None:
    assert transduce("translate", run, "the dog", "--precision", "bf16").status == 0
    assert transduce("translate", run, "the dog", "--device", "cpu", "--precision", "fp32").status == 0


def test_the_engines_agree(
    transduce: Transduce, run: Path, outputs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lines = "".join(line + "\n" for line in LINES)
    for options in (["--engine", "torch"], ["--engine", "torch", "--precision", "int8"], ["--engine", "ctranslate2"]):
        said = transduce("translate", run, *options, stdin=lines)
        assert (said.out.split("\n")[:-1], said.err) == (outputs, "")
    [conversion] = (tmp_path / "transduce" / "ctranslate2").iterdir()
    made = (conversion / "model.bin").stat().st_mtime_ns
    assert transduce("translate", run, "--engine", "ctranslate2", stdin=lines).status == 0
    assert (conversion / "model.bin").stat().st_mtime_ns == made
    for damaged in ("model.bin", "shared_vocabulary.json", "source_vocabulary.json"):
        if (conversion / damaged).exists():
            (conversion / damaged).write_bytes((conversion / damaged).read_bytes()[:20])
            assert transduce("translate", run, "--engine", "ctranslate2", stdin=lines).out == said.out


def test_auto_says_which_engine_it_took_and_why(
    transduce: Transduce, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert transduce("translate", run, "cat", "--engine", "auto", "--precision", "bf16").err.startswith(
        "engine torch: "
    )
    monkeypatch.setattr("transduce.interop.engines.has_amx", lambda: False)
    assert transduce("translate", run, "cat", "--engine", "auto").err.startswith("engine ctranslate2: faster for")
    (tmp_path / "full").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "full"))  # where no folder can be made
    said = transduce("translate", run, "cat", "--engine", "auto")
    assert (said.status, said.out) == (0, transduce("translate", run, "cat").out)
    assert said.err.startswith("engine torch: a model for CTranslate2 cannot be kept (")
    transduce("translate", run, "cat", "--engine", "ctranslate2").failed("XDG_CACHE_HOME says where; --engine torch")
    said = transduce("translate", run, "cat", "--engine", "auto", "--sample")
    assert said.err == "engine torch: --sample draws with the plain model\n"
    said = transduce("translate", run, "cat", "--engine", "auto", "--diverse", 1, "--n-best", 2)
    assert said.err == "engine torch: --diverse searches with the plain model\n"


# ---- what cannot be


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--beam", 0], "beam = 0"),
        (["--alpha", "nan"], "alpha = nan"),
        (["--n-best", 0], "--n-best 0: must be at least 1."),
        (["--n-best", 5, "--beam", 3], "--n-best 5 needs a beam of at least 5; it is 3."),
        (["--sample", "--n-best", 2], "--n-best 2: --sample draws one output a line"),
        (["--sample", "--beam", 2], "--beam 2: --sample draws one output a line"),
        (["--sample", "--temperature", 0], "temperature = 0.0: must be above 0"),
        (["--sample", "--seed", -1], "--seed -1: must be at least 0"),
        (["--sample", "--seed", 2**64], "must be at least 0 and below 2^63"),
        (["--temperature", 0.5], "--temperature 0.5: it is for --sample."),
        (["--seed", 3], "--seed 3: it is for --sample."),
        (["--device", "tpu"], "--device tpu: choose one of auto, cpu, cuda, mps."),
        (["--precision", "fp8"], "--precision fp8: choose one of auto, fp32, bf16, int8."),
        (["--engine", "marian"], "--engine marian: choose one of auto, torch, ctranslate2."),
        (["--engine", "ctranslate2", "--sample"], "--sample and --engine ctranslate2: only the plain model draws."),
        (["--precision", "int8", "--sample"], "--sample and --precision int8: only the plain model draws."),
        (["--input", "x.aa"], "A text and --input: give one of them."),
        (["--sample", "--prefix", "x.bb"], "--prefix x.bb: --sample draws one output a line"),
        (["--sample", "--diverse", 0.5], "--diverse 0.5: --sample draws one output a line"),
        (["--diverse", 0.5], "--diverse 0.5: one output has nothing to differ from. Give --n-best 2 or more."),
        (["--diverse", -1, "--n-best", 2], "strength = -1.0: must be from 0"),
        (["--diverse", 0.5, "--n-best", 2, "--beam", 3], "beam = 3 for 2 diverse outputs"),
        (["--diverse", 0.5, "--n-best", 2, "--precision", "int8"], "--diverse and --precision int8: only the plain"),
        (
            ["--diverse", 1, "--n-best", 2, "--shortlist"],
            "--shortlist and --diverse: diverse search is over all pieces",
        ),
        (["--diverse", 1, "--n-best", 2, "--engine", "ctranslate2"], "--diverse and --engine ctranslate2: only the"),
        (["--workers", 0], "--workers 0: must be at least 1."),
        (["--workers", 2], "--workers 2: they are for many lines. Leave it out, or give --input."),
    ],
    ids=str,
)
def test_impossible_options(transduce: Transduce, run: Path, options: list[object], message: str) -> None:
    transduce("translate", run, "the dog", *options).refused(message)


def test_names_of_no_model(transduce: Transduce) -> None:
    transduce("translate", ",", "the dog").refused("',' names no model.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", 2, "--sample"], "--workers 2: --sample draws line after line. Leave one of them out."),
        (["--workers", 2, "--attention", "x.html"], "--workers 2: --attention looks into one model."),
        (
            ["--workers", 4],
            "--workers 4: each needs a thread, and the number of threads is 3. Use at most 3, or set OMP",
        ),
        (["--workers", 2, "--to", "de"], "--to de: the tags of this model are: none."),
        (["--workers", 2, "--beam", 0], "beam = 0"),
    ],
    ids=str,
)
def test_where_several_processes_make_no_sense(
    transduce: Transduce, run: Path, options: list[object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    transduce("translate", run, *options, stdin="the dog\n").refused(message)


def test_our_own_engine_needs_no_home(transduce: Transduce, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", nowhere)
    for engine in ("torch", "auto"):
        assert transduce("translate", run, "dog", "--engine", engine, "--precision", "int8").status == 0
    transduce("translate", run, "dog", "--engine", "ctranslate2").failed("no home directory to keep a conversion in")


@pytest.mark.parametrize(("stream", "message"), [("stdin", "standard input: it is"), ("stdout", "standard output: it")])
def test_closed_streams(run: Path, stream: str, message: str) -> None:
    closed = "<&-" if stream == "stdin" else "'dog' >&-"
    command = f"exec {sys.executable} -m transduce translate {run} {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr.startswith(f"error: {message}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.returncode == (1 if stream == "stdout" else 2)


def test_outputs_begin_with_given_text(transduce: Transduce, run: Path, outputs: list[str], tmp_path: Path) -> None:
    begun = write_lines(tmp_path / "begun.bb", ["TAC", "", "", "NEERG DRIB", "", "SNUR"])
    said = transduce("translate", run, "--prefix", begun, stdin="".join(line + "\n" for line in LINES))
    found = said.out.split("\n")[:-1]
    assert said.status == 0
    assert [found[i] for i in (1, 2, 4)] == [outputs[i] for i in (1, 2, 4)]
    assert found[0].startswith("TAC")
    assert found[3] == outputs[3]  # what it would have begun with anyway
    assert found[5].startswith("SNUR")
    alone = write_lines(tmp_path / "alone.bb", ["TAC"])
    assert transduce("translate", run, LINES[0], "--prefix", alone).out == found[0] + "\n"


@pytest.mark.parametrize(
    ("prefixes", "message"),
    [
        (["GOD"], "begun.bb: it ends before line 2 of the input. Give one prefix for every line; it may be blank."),
        (["GOD", "", "TAC"], "begun.bb:3: the input has no such line."),
        (["GOD", "WOLF"], "line 2: the prefix 'WOLF' has characters that this model never writes."),
        (["GOD " * 99, ""], "line 1: a prefix of 99 pieces, but this model writes 62. Shorten it."),
    ],
)
def test_prefixes_that_do_not_fit(
    transduce: Transduce, run: Path, tmp_path: Path, prefixes: list[str], message: str
) -> None:
    begun, out = write_lines(tmp_path / "begun.bb", prefixes), tmp_path / "out.bb"
    said = transduce("translate", run, "--prefix", begun, "--output", out, stdin="the dog\nthe cat\n")
    said.failed(message)
    assert (said.status, said.out) == (2, "")
    assert not out.exists()


def test_what_an_ensemble_cannot_do(
    transduce: Transduce, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    three = f"{run},{run / 'model'},{run}"
    assert transduce("translate", three, "the dog").status == 0
    transduce("translate", three, "the dog", "--precision", "int8").refused(
        "precision = 'int8' is for one model, not for an ensemble. Use 'bf16' or 'fp32'."
    )
    transduce("translate", three, "the dog", "--engine", "ctranslate2").refused(
        "--engine ctranslate2 runs one model, not an ensemble. Use --engine torch."
    )
    transduce("translate", three, "the dog", "--attention", tmp_path / "x.html").refused("--attention: of one model")
    transduce("translate", f"{run},{tmp_path / 'none'}", "the dog").refused(f"{tmp_path / 'none'}: no such folder")
    said = transduce("translate", three, "the dog", "--engine", "auto")
    assert said.err == "engine torch: CTranslate2 runs no ensembles\n"


def test_models_of_different_vocabularies_are_no_ensemble(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    import torch

    from transduce.bundle import load_bundle, save_bundle, unique_weights
    from transduce.text.tokenizer import Tokenizer, TokenizerPair

    bundle = load_bundle(run, torch.device("cpu"))
    size = bundle.tokenizers.target.size
    names = " ".join(f"W{i}" for i in range(size))
    other = TokenizerPair(bundle.tokenizers.source, Tokenizer.train([names] * 2, "words", size, pretokenised=False))
    assert other.target.size == size
    save_bundle(tmp_path / "other", bundle.config, unique_weights(bundle.model), other, "")
    transduce("translate", f"{run},{tmp_path / 'other'}", "the dog").refused(
        f"{tmp_path / 'other'}: not the vocabulary of {run}, so they cannot be an ensemble. Train its models"
    )


def test_a_model_that_is_not_there(transduce: Transduce, tmp_path: Path) -> None:
    transduce("translate", tmp_path / "nowhere", "x").refused("nowhere: no such folder. Give a model directory")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "in.aa: cannot open it (No such file or directory). Check the path."),
        (b"", "in.aa: the file is empty."),
        (b"dog\nd\xf6g\n", "in.aa:2: not UTF-8 (byte 0xF6 at column 2). Convert the file"),
    ],
    ids=["missing", "empty", "not UTF-8"],
)
def test_bad_input_leaves_no_output(
    transduce: Transduce, run: Path, tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "in.aa").write_bytes(content)
    said = transduce("translate", run, "--input", tmp_path / "in.aa", "--output", tmp_path / "out.bb")
    said.failed(message)
    assert (said.status, said.out) == (2, "")
    assert not (tmp_path / "out.bb").exists()
    part = tmp_path / "out.part.bb"  # of what was good
    assert part.exists() == (f"{part}: the lines before the error or interruption\n" in said.err) == bool(content)
    if content:
        assert part.read_text() == transduce("translate", run, "dog").out


def test_what_is_kept_replaces_nothing(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    (tmp_path / "d.part.de").write_bytes(b"dog\nd\xf6g\n")
    said = transduce("translate", run, "--input", tmp_path / "d.part.de", "--output", tmp_path / "d.de")
    said.failed("not UTF-8")
    assert (tmp_path / "d.part.de").read_bytes() == b"dog\nd\xf6g\n"
    assert (tmp_path / f"d.part{os.getpid()}.de").exists()
    for name in ("e.de.gz", "e.de.xz"):
        transduce("translate", run, "--output", tmp_path / name, stdin=b"\xff\n").failed("not UTF-8")
    assert not list(tmp_path.glob("e*"))


def test_an_output_that_is_no_file_needs_no_folder_to_write_to(
    transduce: Transduce, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    assert transduce("translate", run, "dog", "--output", "/dev/null").status == 0
    said = transduce("translate", run, "dog", "--output", tmp_path / "x")
    said.refused(f"x: {tmp_path} cannot be written to. Choose another place.")


def test_standard_input_that_is_not_utf_8(transduce: Transduce, run: Path, outputs: list[str]) -> None:
    said = transduce("translate", run, stdin=f"{LINES[0]}\n".encode() + b"d\xf6g\n")
    assert (said.status, said.out) == (2, outputs[0] + "\n")
    said.failed("standard input:2: not UTF-8")


def test_an_output_that_cannot_be_written_is_a_failure(
    transduce: Transduce, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, kind: str) -> TextIO:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("transduce.cli.files._opened", denied)  # root may write anywhere
    said = transduce("translate", run, "the dog", "--output", tmp_path / "out.bb")
    assert said.status == 1
    said.failed("out.bb: cannot be written (Permission denied). Choose another --output.")


def test_an_output_that_exists_is_replaced_only_by_a_whole_one(transduce: Transduce, run: Path, tmp_path: Path) -> None:
    out = write_lines(tmp_path / "out.bb", ["old"])
    transduce("translate", run, "--output", out, stdin=b"dog\n\xff\n").failed("not UTF-8")
    assert out.read_text() == "old\n"
    assert transduce("translate", run, "--output", out, stdin="dog\n").status == 0
    assert out.read_text() != "old\n"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "source.model", "target.model"])
@pytest.mark.parametrize("content", ["truncated", "foreign"])
def test_broken_models_are_refused(transduce: Transduce, run: Path, tmp_path: Path, name: str, content: str) -> None:
    shutil.copytree(run / "model", tmp_path / "m")
    path = tmp_path / "m" / name
    path.write_bytes(path.read_bytes()[:-40] if content == "truncated" else b'{"model_type": "marian"}\n')
    transduce("translate", tmp_path / "m", "the dog").refused(name)


# ---- as a program


def program(run: Path, *options: object, threads: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "transduce", "translate", str(run), *map(str, options)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        start_new_session=True,  # so that an interruption reaches its processes as the terminal's does, and not ours
        preexec_fn=heed_interruptions,
    )


def heed_interruptions() -> None:
    """What a shell starts in the background ignores them, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def processes() -> list[tuple[int, int, str]]:
    """Number, parent and state of every process."""
    said = subprocess.check_output(["ps", "-A", "-o", "pid=,ppid=,stat="], text=True)
    return [(int(pid), int(parent), state) for pid, parent, state in map(str.split, said.splitlines())]


def children(process: int) -> list[int]:
    """Processes that a process has started."""
    return [pid for pid, parent, _ in processes() if parent == process]


def left(started: list[int]) -> list[int]:
    """Those of `started` that have not ended ten seconds later: one that looks after others ends when it notices."""
    deadline = time.monotonic() + 10
    while found := [p for p, _, state in processes() if p in started and not state.startswith("Z")]:
        if time.monotonic() > deadline:
            return found
        time.sleep(0.05)
    return []


@pytest.mark.parametrize("workers", [1, 2])
def test_who_writes_slowly_gets_every_answer_at_once(run: Path, outputs: list[str], workers: int) -> None:
    with program(run, "--workers", workers, threads=2) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for line, output in zip(LINES, outputs, strict=True):
            running.stdin.write(line + "\n")
            running.stdin.flush()
            assert running.stdout.readline() == output + "\n"  # before the next line is written
        running.stdin.close()
        assert running.stdout.read() == ""
    assert running.returncode == 0


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_whoever_ends_it_leaves_no_process(run: Path, tmp_path: Path, workers: int, by: signal.Signals) -> None:
    """Nor a file under a name that nobody knows, where it could do something about it."""
    lines, out = write_lines(tmp_path / "in.aa", ["the dog runs"] * 200_000), tmp_path / "out.bb"
    with program(run, "--input", lines, "--output", out, "--workers", workers, threads=2) as running:
        deadline = time.monotonic() + 60
        while not any(f.stat().st_size for f in tmp_path.glob("out*")) and time.monotonic() < deadline:
            time.sleep(0.05)  # until it is at work
        started = children(running.pid)
        os.kill(running.pid, by)
        said = running.communicate()[1]
    assert running.returncode == (130 if by == signal.SIGTERM else -by), said
    assert not left(started)
    if by == signal.SIGTERM:
        assert sorted(f.name for f in tmp_path.iterdir()) == ["in.aa", "out.part.bb"]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interruption_leaves_whole_lines_and_no_process(run: Path, tmp_path: Path, workers: int) -> None:
    lines = write_lines(tmp_path / "in.aa", ["the dog runs"] * 200_000)
    with program(run, "--input", lines, "--workers", workers, threads=2) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        written = running.stdout.readline()  # it is at work
        started = children(running.pid)
        assert len(started) >= (2 if workers == 2 else 0)
        os.killpg(running.pid, signal.SIGINT)
        written += running.stdout.read()
        assert "Traceback" not in running.stderr.read()
    assert running.returncode == 130
    assert written.endswith("\n")
    assert set(written.splitlines()) == {written.splitlines()[0]}
    assert not left(started)


def test_a_reader_that_goes_away_ends_all_processes(run: Path, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "in.aa", ["the dog runs"] * 200_000)
    with program(run, "--input", lines, "--workers", 2, threads=2) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 0


def test_several_processes_find_what_one_finds(
    transduce: Transduce, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr("transduce.cli.translate._LINES", 7)
    long = " ".join(["dog", "cat"] * 15)
    lines = write_lines(tmp_path / "in.aa", [*sentences(30, 5), "", long, *sentences(9, 6)])
    begun = write_lines(tmp_path / "begun.bb", [*[""] * 35, "GOD", *[""] * 5])
    options = ("--input", lines, "--precision", "fp32", "--n-best", 3, "--json", "--prefix", begun)
    one = transduce("translate", run, *options)
    several = transduce("translate", run, *options, "--workers", 2)
    assert (several.status, several.err) == (one.status, one.err)
    for found, expected in zip(*(map(json.loads, said.out.splitlines()) for said in (several, one)), strict=True):
        pairs = list(zip(found.pop("outputs"), expected.pop("outputs"), strict=True))
        assert found == expected
        assert all(a["text"] == b["text"] for a, b in pairs)
        for name in ("score", "log_prob"):  # which sentences share a batch shows in the last bits
            assert [a[name] for a, _ in pairs] == pytest.approx([b[name] for _, b in pairs], abs=1e-4)
    assert one.status == 0
    assert one.err.startswith("warning: line 32: 30 pieces")
    assert json.loads(one.out.splitlines()[35])["translation"].startswith("GOD")


def test_as_a_program_in_a_pipe(run: Path, outputs: list[str]) -> None:
    command = [sys.executable, "-m", "transduce", "translate", str(run), "--json"]
    lines = "".join(line + "\n" for line in LINES)
    done = subprocess.run(
        command, input=lines.encode(), capture_output=True, check=True, env={**os.environ, "LC_ALL": "C"}
    )
    assert [json.loads(line)["translation"] for line in done.stdout.decode().splitlines()] == outputs
    assert done.stderr == b""


def test_a_reader_that_goes_away_is_no_error(run: Path, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "in.aa", ["the dog runs"] * 5000)
    program = (
        f"{sys.executable} -m transduce translate {run} --beam 1 --input {lines} | head -n 1; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "0"
    assert done.stderr == ""
