import sys

import pytest
import torch

from transduce.errors import ConfigError
from transduce.interop.engines import choose_engine
from transduce.nn import TransformerConfig
from transduce.nn.convolution import Convolution

pytestmark = pytest.mark.unit

CPU, GPU = torch.device("cpu"), torch.device("cuda")
PAPER, OTHER = TransformerConfig(), TransformerConfig(layer=Convolution())
SMALL = TransformerConfig(d_model=128)


@pytest.fixture(autouse=True)
def without_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transduce.interop.engines.has_amx", lambda: False)


def test_auto_takes_what_was_measured_to_be_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    for precision in ("auto", "fp32", "bf16", "int8"):
        assert choose_engine("auto", precision, CPU, PAPER)[0] == "torch"
        assert choose_engine("auto", precision, GPU, SMALL)[0] == "torch"
        assert choose_engine("auto", precision, CPU, OTHER)[0] == "torch"
    assert choose_engine("auto", "int8", CPU, SMALL)[0] == "ctranslate2"
    assert choose_engine("auto", "bf16", CPU, SMALL) == ("torch", "bf16 was asked for")
    assert "faster on one" in choose_engine("auto", "fp32", CPU, PAPER)[1]
    assert "for one at a time it depends on the processor" in choose_engine("auto", "int8", CPU, PAPER)[1]
    monkeypatch.setattr("transduce.interop.engines.has_int8", lambda: False)
    assert choose_engine("auto", "int8", CPU, PAPER)[0] == "ctranslate2"
    assert choose_engine("auto", "fp32", CPU, PAPER)[0] == "torch"
    monkeypatch.setattr("transduce.interop.engines.has_amx", lambda: True)
    assert choose_engine("auto", "fp32", CPU, SMALL)[0] == "torch"
    monkeypatch.setattr("transduce.interop.engines.has_int8", lambda: True)
    assert "faster on one" in choose_engine("auto", "int8", CPU, PAPER)[1]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose_engine("auto", "int8", CPU, PAPER) == ("torch", "CTranslate2 is not installed")


def test_what_is_asked_for_is_taken_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_engine("torch", "int8", CPU, PAPER)[0] == "torch"
    assert choose_engine("ctranslate2", "int8", CPU, PAPER)[0] == "ctranslate2"
    with pytest.raises(ConfigError, match="convolution"):
        choose_engine("ctranslate2", "fp32", CPU, OTHER)
    with pytest.raises(ConfigError, match="--device cpu"):
        choose_engine("ctranslate2", "fp32", GPU, PAPER)
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(ConfigError, match="not installed"):
        choose_engine("ctranslate2", "fp32", CPU, PAPER)
