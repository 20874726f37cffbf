"""x"""


def demo() -> None:
    """p"""
