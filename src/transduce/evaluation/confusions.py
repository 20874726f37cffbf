"""Which symbols are taken for which: the edits that turn references into outputs, counted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from transduce.evaluation.statistics import nearest


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusions:
    """Edits from the nearest references to the outputs: (right, written), missing and added symbols.

    `seen` counts every symbol of these references, `edits` are those of each line, `lengths` those of its reference.
    """

    substituted: Counter[tuple[str, str]]
    missing: Counter[str]
    added: Counter[str]
    seen: Counter[str]
    edits: list[int]
    lengths: list[int]


def confusions(outputs: Sequence[list[str]], references: Sequence[Sequence[list[str]]]) -> Confusions:
    """The fewest edits of every line, against the reference that needs the fewest."""
    substituted = Counter[tuple[str, str]]()
    missing, added, seen = Counter[str](), Counter[str](), Counter[str]()
    edits, lengths = list[int](), list[int]()
    for output, refs in zip(outputs, references, strict=True):
        right = nearest(output, refs)
        seen.update(right)
        found = Levenshtein.editops(right, output)
        edits.append(len(found))
        lengths.append(len(right))
        for edit in found:
            if edit.tag == "replace":
                substituted[right[edit.src_pos], output[edit.dest_pos]] += 1
            elif edit.tag == "delete":
                missing[right[edit.src_pos]] += 1
            else:
                added[output[edit.dest_pos]] += 1
    return Confusions(substituted=substituted, missing=missing, added=added, seen=seen, edits=edits, lengths=lengths)
