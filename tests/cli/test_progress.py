import pytest

from transduce.cli.progress import counting, note

pytestmark = pytest.mark.unit


def test_time_left_is_that_of_the_bytes_left() -> None:
    assert note(0, 0, 1000, 0.0) == "0 lines"
    assert note(50, 250, 1000, 100.0) == "50 lines  0.5 lines/s  25%  left 0:05:00"
    assert note(1_234_567, 999, 1000, 3600.0) == "1,234,567 lines  342.9 lines/s  100%  left 0:00:04"
    assert note(20, 1200, 1000, 10.0).endswith("100%  left 0:00:00")


def test_without_a_size_there_is_no_time_left() -> None:
    assert note(3000, 9000, 0, 20.0) == "3,000 lines  150.0 lines/s"


def test_nothing_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    for shown in (True, False):  # standard error is no terminal here
        with counting(10, shown) as count:
            count("a line")
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_lines_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from rich.console import Console

    screen = io.StringIO()
    monkeypatch.setattr("transduce.cli.progress.err", Console(file=screen, force_terminal=True, width=100))
    with counting(16, True) as count:
        count("a line")
    assert "1 lines" in screen.getvalue()
    assert "44%" in screen.getvalue()
