"""Random segmentations of words: BPE-dropout (Provilkov et al., 2020) and subword regularisation (Kudo, 2018).

SentencePiece draws them too, but its draws cannot be repeated: from 0.2.2 on every process has others for one seed, and
a run that goes on has to see what it would have seen. What is drawn here follows from the generator, and has the
distribution that SentencePiece's draws have.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heappush
from itertools import accumulate
from random import Random


def without_merges(word: str, scores: Mapping[str, float], dropout: float, random: Random) -> Iterator[list[str]]:
    """Segmentations of `word`, one after the other: merges go from the best score to the worst, and each is left out
    with probability `dropout`. One that was left out is not tried again.

    `scores` are those of all pieces; every letter of the word is one.
    """
    n, inf = len(word), math.inf
    first = [(-scores.get(word[i : i + 2], -inf), i, i + 1, word[i : i + 2]) for i in range(n - 1)]
    first = [pair for pair in first if pair[0] < inf]
    heapify(first)
    while True:
        pieces, before, after = list(word), list(range(-1, n - 1)), list(range(1, n + 1))
        agenda = first.copy()
        while agenda:
            _, left, right, piece = heappop(agenda)
            if not pieces[right] or pieces[left] + pieces[right] != piece or random.random() < dropout:
                continue  # one of the two has become part of another piece, or by chance
            pieces[left], pieces[right] = piece, ""
            after[left] = after[right]
            if after[left] < n:
                before[after[left]] = left
            for one, other in ((before[left], left), (left, after[left])):
                if one >= 0 and other < n and (both := pieces[one] + pieces[other]) in scores:
                    heappush(agenda, (-scores[both], one, other, both))
        yield [piece for piece in pieces if piece]


def by_probability(
    word: str, scores: Mapping[str, float], sampling: float, random: Random, longest: int
) -> Iterator[list[str]]:
    """Segmentations of `word`, one after the other, each with probability proportional to P(segmentation)^`sampling`.

    `scores` are log-probabilities of all pieces, which have at most `longest` letters; every letter of the word is one.
    Forward filtering, backward sampling: the last piece is drawn first, among those that end the word, then the one
    before it.
    """
    total = [0.0]  # log of the sum over segmentations up to each place
    ways = [([0.0], [0])]  # where the last piece of one may begin, and the sum of their shares up to there
    for end in range(1, len(word) + 1):
        starts = [i for i in range(max(0, end - longest), end) if word[i:end] in scores]
        logs = [total[i] + sampling * scores[word[i:end]] for i in starts]
        most = max(logs)
        sums = list(accumulate(math.exp(value - most) for value in logs))
        total.append(most + math.log(sums[-1]))
        ways.append((sums, starts))
    while True:
        pieces, end = [], len(word)
        while end:
            sums, starts = ways[end]
            start = starts[min(bisect_right(sums, random.random() * sums[-1]), len(starts) - 1)]
            pieces.append(word[start:end])
            end = start
        yield pieces[::-1]
