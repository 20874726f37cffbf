"""Strings to ids and back. SentencePiece does the work; nothing outside this package imports it."""

from transduce.text.pieces import IDS, PLACEHOLDERS, TAGS, SpecialIds
from transduce.text.tokenizer import Kind, Tokenizer, TokenizerConfig, TokenizerPair, train_tokenizers

__all__ = [
    "IDS",
    "PLACEHOLDERS",
    "TAGS",
    "Kind",
    "SpecialIds",
    "Tokenizer",
    "TokenizerConfig",
    "TokenizerPair",
    "train_tokenizers",
]
