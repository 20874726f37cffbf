import json
from pathlib import Path

import pytest

from benchmarks.compare_engines import cases
from benchmarks.decode import parser, random_model, run, weight_bytes

pytestmark = pytest.mark.unit


def test_both_engines_decode_the_same_weights_for_as_many_steps(tmp_path: Path) -> None:
    words = ["--model", "tiny", "--sentences", "3", "--out-len", "4", "--repeats", "1", "--batch", "2"]
    found = {}
    for engine in ("torch", "ctranslate2"):
        for mode in ("throughput", "latency"):
            more = ["--engine", engine, "--mode", mode, "--conversion", str(tmp_path / "converted")]
            record = run(parser().parse_args([*words, *more]))
            outputs = record.pop("outputs")
            assert json.dumps(record)
            assert record["output_tokens_per_second"] > record["sentences_per_second"] > 0
            found[engine, mode] = [output[:3] for output in outputs]
            if mode == "latency":
                assert record["bandwidth_share"] > 0
    assert found["torch", "throughput"] == found["torch", "latency"]
    assert found["torch", "latency"] == found["ctranslate2", "latency"]


def test_either_engine_decodes_with_a_shortlist(tmp_path: Path) -> None:
    words = ["--model", "tiny", "--sentences", "3", "--out-len", "4", "--repeats", "1", "--batch", "1"]
    words += ["--conversion", str(tmp_path / "converted")]
    run(parser().parse_args([*words, "--engine", "ctranslate2"]))
    found = {}
    for engine in ("torch", "ctranslate2"):
        record = run(parser().parse_args([*words, "--engine", engine, "--shortlist"]))
        assert record["shortlist"]
        found[engine] = [output[:3] for output in record["outputs"]]
    assert found["torch"] == found["ctranslate2"]
    assert (tmp_path / "converted" / "vmap.txt").is_file()


def test_the_engines_take_turns_and_have_the_same_shapes() -> None:
    for mode in ("throughput", "latency"):
        every = list(cases(mode, 2, ["1", "16"]))
        assert [engine for engine, _ in every[:2]] == ["torch", "ctranslate2"]
        shapes = {
            engine: {(s["--batch"], s["--threads"], s["--workers"]) for e, s in every if e == engine}
            for engine in ("torch", "ctranslate2")
        }
        assert shapes["torch"] == shapes["ctranslate2"]
        more = list(cases(mode, 2, ["1", "16"], with_huggingface=True))
        assert [engine for engine, _ in more[:3]] == ["torch", "ctranslate2", "huggingface"]
        assert [case for case in more if case[0] != "huggingface"] == every
        assert {s["--workers"] for engine, s in more if engine == "huggingface"} == {"1"}


def test_what_a_step_reads_of_weights_in_each_precision() -> None:
    model, _, _ = random_model("tiny")
    once = weight_bytes(model, "int8")
    sizes = {name: weight_bytes(model, name) // once for name in ("fp32", "float32", "bf16", "int16", "int8_float32")}
    assert sizes == {"fp32": 4, "float32": 4, "bf16": 2, "int16": 2, "int8_float32": 1}
