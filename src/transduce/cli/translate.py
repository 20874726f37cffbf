"""`transduce translate` and `transduce score`."""


def translate() -> None:
    """placeholder"""


def score() -> None:
    """placeholder"""
