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


def test_auto_is_ours_where_it_has_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    for precision in ("auto", "fp32", "bf16", "int8"):
        assert choose_engine("auto", precision, CPU, PAPER)[0] == "torch"
        assert choose_engine("auto", precision, GPU, OTHER)[0] == "torch"
    monkeypatch.setattr("transduce.interop.engines.has_int8", lambda: False)
    assert choose_engine("auto", "int8", CPU, PAPER)[0] == "ctranslate2"
    assert choose_engine("auto", "int8", CPU, OTHER)[0] == "torch"
    assert choose_engine("auto", "fp32", CPU, PAPER)[0] == "torch"


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
