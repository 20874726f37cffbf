"""x"""


def info() -> None:
    """p"""
