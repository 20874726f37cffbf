"""Which other programs can run a model: their rules, known before anything is trained or converted.

Every kind of pieces is a SentencePiece model, which all of them read; they differ in layers, norms and positions.
"""

from typing import Literal

from transduce.nn.attention import Attention
from transduce.nn.transformer import TransformerConfig

Format = Literal["ctranslate2", "huggingface", "argos"]
NAMES: dict[Format, str] = {"ctranslate2": "CTranslate2", "huggingface": "Hugging Face", "argos": "Argos"}


def refusals(model: TransformerConfig, *, joint: bool, tagged: bool) -> dict[Format, list[str]]:
    """For each format why a model cannot be exported to it, each reason naming its setting; none where it can.

    `joint`: both sides have one vocabulary. `tagged`: tags may stand in front of its sources.
    """
    ctranslate2 = _ctranslate2(model)
    return {
        "ctranslate2": ctranslate2,
        "huggingface": ctranslate2 + _marian(model),
        "argos": ctranslate2 + _argos(joint, tagged),
    }


def _ctranslate2(c: TransformerConfig) -> list[str]:
    found = []
    if not isinstance(c.layer, Attention):
        found.append(f"model.layer is {c.layer.kind}, and it has self-attention only")
    if not c.residual:
        found.append("model.residual = false, and it always adds the residual")
    if c.d_k != c.d_v:
        found.append(f"model.d_k = {c.d_k} and model.d_v = {c.d_v}, and they are one in it")
    return found


def _marian(c: TransformerConfig) -> list[str]:
    """Beside CTranslate2's rules: the class MarianMTModel is the paper's Transformer and nothing else."""
    found = []
    if c.d_k == c.d_v != c.d_model / c.n_heads:
        width = c.d_model / c.n_heads
        found.append(f"model.d_k = {c.d_k}, and heads of Marian's class are d_model / n_heads = {width:g} wide")
    if c.norm != "post":
        found.append(f"model.norm = {c.norm}, and Marian's class normalises after adding (post)")
    if c.positions != "sinusoidal":
        found.append(f"model.positions = {c.positions}, and Marian's class has sinusoids")
    return found


def _argos(joint: bool, tagged: bool) -> list[str]:
    """Beside CTranslate2's rules, for it runs the models: a package has one SentencePiece model, and puts no tags."""
    found = []
    if not joint:
        found.append("tokenizer.joint = false, and a package has one vocabulary")
    if tagged:
        found.append("sources have tags, and it puts none in front of them")
    return found
