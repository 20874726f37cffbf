"""Search over a model's outputs, and `Translator`, which puts strings around it."""

from transduce.decoding.beam import BeamConfig, beam_search
from transduce.decoding.ensemble import Ensemble
from transduce.decoding.sampling import greedy, sample
from transduce.decoding.scores import score_pairs
from transduce.decoding.search import DecodeState, Hypothesis, Step, length_penalty
from transduce.decoding.texts import Translation
from transduce.decoding.translator import DecodingConfig, Translator

__all__ = [
    "BeamConfig",
    "DecodeState",
    "DecodingConfig",
    "Ensemble",
    "Hypothesis",
    "Step",
    "Translation",
    "Translator",
    "beam_search",
    "greedy",
    "length_penalty",
    "sample",
    "score_pairs",
]
