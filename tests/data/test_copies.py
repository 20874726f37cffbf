"""Copies and sources with several targets, against counting in memory."""

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transduce.data.copies import Copies

pytestmark = pytest.mark.unit

sides = st.sampled_from(["a", "b", "a ", "ab", "é", "\0"])


@given(pairs=st.lists(st.tuples(sides, sides), max_size=40), cut=st.integers(0, 40))
@settings(max_examples=40)
def test_what_is_counted_is_what_a_dictionary_counts(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("copies")
    numbers = range(len(pairs))
    with Copies(folder) as copies:
        for part in (slice(0, cut), slice(cut, None)):
            copies.add(numbers[part], [s for s, _ in pairs[part]], [t for _, t in pairs[part]])
        counted = copies.count(len(pairs) + 1)
    targets = defaultdict(set)
    for source, target in pairs:
        targets[source].add(target)
    assert counted.sources == len(targets)
    assert counted.pairs == len(set(pairs))
    assert counted.ambiguous == sum(len(found) > 1 for found in targets.values())
    assert counted.later.tolist() == [pairs[i] in pairs[:i] for i in numbers] + [False]
    assert list(folder.iterdir()) == []


def test_files_are_gone_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError), Copies(tmp_path) as copies:
        copies.add([0, 1], ["a", "\ud800"], ["b", "c"])
    assert list(tmp_path.iterdir()) == []
