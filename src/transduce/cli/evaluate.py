"""x"""


def evaluate() -> None:
    """p"""


def compare() -> None:
    """p"""
