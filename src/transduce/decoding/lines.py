"""Lines in any number and of any length: windows of a stream, batches of like length, cuts in what is too long."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

_STOPS = r"[.!?\u2026\u0964\u061f\u06d4]"  # . ! ? ellipsis, danda, Arabic
_SENTENCE_END = re.compile(
    rf"(?<!{_STOPS}){_STOPS}+[\"'\u201d\u2019\u00bb)\]]*\s+"  # all there are, quotes, a space
    r"|[\u3002\uff01\uff1f]+[\u201d\u2019\u300d\u300f\uff09]*"  # Chinese and Japanese need no space
)
_SPACE = re.compile(r"[^\S\u00a0\u202f]+")  # a space that may be broken at: not those of 1 000


def windows(
    lines: Iterable[str], *, most_lines: int, most_characters: int, ready: Callable[[], bool] = lambda: True
) -> Iterator[list[str]]:
    """Consecutive lines in lists that are bounded both ways, read only as far as needed.

    A list holds at least one line, so a line beyond `most_characters` stands alone or ends its list. Where the next
    line is not `ready`, nothing waits for it: a list is what has come. Lines before an error come before it.
    """
    window: list[str] = []
    characters = 0
    coming = iter(lines)
    while True:
        try:
            line = next(coming)
        except StopIteration:
            break
        except Exception:
            if window:
                yield window
            raise
        window.append(line)
        characters += len(line)
        if len(window) >= most_lines or characters >= most_characters or not ready():
            yield window
            window, characters = [], 0
    if window:
        yield window


def batches(lengths: Sequence[int], *, most_tokens: int, most_rows: int) -> list[list[int]]:
    """Indices of rows in batches of like length, longest rows first.

    A batch has at most `most_rows` rows and `most_tokens` tokens with its padding, or else one row.
    """
    found: list[list[int]] = []
    room = 0
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if not room:
            found.append([])
            room = max(1, min(most_rows, most_tokens // max(1, lengths[i])))
        found[-1].append(i)
        room -= 1
    return found


def cut(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Parts of `text` that fit, in order, without the spaces around them.

    What does not fit is halved: at the sentence end nearest its middle, else the nearest space, else in the middle.
    A single character is never cut, whether it fits or not.
    """
    parts: list[str] = []
    pending = [text]
    while pending:
        part = pending.pop().strip()
        if len(part) > 1 and not fits(part):
            middle = _cutting_point(part)
            pending += [part[middle:], part[:middle]]
        elif part:
            parts.append(part)
    return parts


def _cutting_point(text: str) -> int:
    middle = len(text) // 2
    for boundary in (_SENTENCE_END, _SPACE):
        ends = [match.end() for match in boundary.finditer(text) if match.end() < len(text)]
        if ends:
            return min(ends, key=lambda end: abs(end - middle))
    return middle
