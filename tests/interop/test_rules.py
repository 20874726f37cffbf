"""Which formats a model can be exported to: every rule refuses on its own, and names the setting."""

from dataclasses import replace
from typing import Any

import pytest

from transduce.interop.rules import NAMES, refusals
from transduce.nn import Convolution, RestrictedAttention
from transduce.nn.transformer import TransformerConfig

pytestmark = pytest.mark.unit

PAPER = TransformerConfig()


def test_the_paper_s_model_may_go_anywhere() -> None:
    assert refusals(PAPER, joint=True, tagged=False) == {name: [] for name in NAMES}


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"layer": Convolution(kernel=3)}, "model.layer"),
        ({"layer": RestrictedAttention(neighbourhood=3)}, "model.layer"),
        ({"residual": False}, "model.residual"),
        ({"d_k": 32}, "model.d_k"),
        ({"d_v": 128}, "model.d_v"),
    ],
)
def test_what_ctranslate2_cannot_run_nobody_can(change: dict[str, Any], setting: str) -> None:
    for reasons in refusals(replace(PAPER, **change), joint=True, tagged=False).values():
        (reason,) = reasons
        assert setting in reason


@pytest.mark.parametrize("change", [{"norm": "pre"}, {"positions": "learned"}, {"d_k": 32, "d_v": 32}])
def test_marian_s_class_is_the_paper_s_model_and_nothing_else(change: dict[str, Any]) -> None:
    found = refusals(replace(PAPER, **change), joint=True, tagged=False)
    key, value = next(iter(change.items()))
    assert found["ctranslate2"] == found["argos"] == []
    (reason,) = found["huggingface"]
    assert reason.startswith(f"model.{key} = {value}, and ")


def test_a_package_of_argos_has_one_vocabulary_and_no_tags() -> None:
    found = refusals(PAPER, joint=False, tagged=True)
    assert found["ctranslate2"] == found["huggingface"] == []
    assert len(found["argos"]) == 2
