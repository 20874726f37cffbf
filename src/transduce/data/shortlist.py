"""Which target pieces a source piece may become, learned from the training pairs: the lexical shortlist.

The output matrix is most of what a step reads and multiplies, and nearly all of its pieces have nothing to do with the
sentence at hand. So a search may be given, for every source, only the likely translations of its pieces and the most
frequent pieces of all (Jean et al. 2015, section 3.2; L'Hostis et al. 2016).

Likely is what IBM Model 1 says (Brown et al. 1993, section 4): t(target piece | source piece), by expectation
maximisation over which source piece, or none of them, each target piece comes from. `augment.lexicon` counts the same
co-occurrences, but of whole words, and keeps a word only where one translation leaves no doubt; a list wants several
for every piece.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from transduce.data.shards import TokenisedCorpus
from transduce.errors import ConfigError, DataError
from transduce.files import write_atomically
from transduce.text.pieces import IDS
from transduce.text.tokenizer import TokenizerPair

FILE = "shortlist.safetensors"
_FORMAT = "1"
_CELLS = 2**24  # pairs of pieces that are counted, at most: about 0.5 GB
_ROUNDS = 5

Ids = npt.NDArray[np.int32]


@final
@dataclass(frozen=True, slots=True)
class Shortlist:
    """`frequent` may come in any output, row s of `translations` where piece s is in the source.

    A row that has fewer pieces is filled up with end symbols, which every output has.
    """

    frequent: Ids  # K2
    translations: Ids  # V_source K1

    def pieces(self, source: Sequence[int]) -> Ids:
        """The target pieces for these source pieces, each once, ascending."""
        found: Ids = np.unique(np.concatenate([self.frequent, self.translations[list(source)].ravel()]))
        return found


def learn_shortlist(
    corpus: TokenisedCorpus, tokenizers: TokenizerPair, *, translations: int, frequent: int
) -> Shortlist:
    """The most probable `translations` of each source piece and the most `frequent` target pieces.

    A piece that both sides have is among its own translations: names are copied. Of a large corpus every n-th pair is
    counted.

    Raises:
        ConfigError: a number below 1.
    """
    if min(translations, frequent) < 1:
        raise ConfigError(f"{translations} translations and {frequent} frequent pieces: both must be at least 1.")
    sizes = tokenizers.source.size, tokenizers.target.size
    translations = min(translations, sizes[1])
    sources, targets, cells, starts, counts = _cells(corpus, sizes[1])
    sure = _model_1(sources, cells, starts)
    order = np.lexsort((targets, -sure, sources))
    sources, targets = sources[order], targets[order]
    rank = np.arange(len(order)) - np.searchsorted(sources, sources)
    # What comes from no source piece, the padding's row, is for `frequent` to hold. The last column is the copy's.
    kept = (rank < translations) & (sources != IDS.pad)
    rows = np.full((sizes[0], translations + 1), IDS.eos, np.int32)
    rows[sources[kept], rank[kept]] = targets[kept]
    other = {piece: i for i, piece in enumerate(tokenizers.target.pieces(range(sizes[1])))}
    rows[:, -1] = [other.get(piece, IDS.eos) for piece in tokenizers.source.pieces(range(sizes[0]))]
    common = np.argsort(-counts, kind="stable")[:frequent]
    return Shortlist(common[counts[common] > 0].astype(np.int32), rows)


def save_shortlist(folder: Path, shortlist: Shortlist, tokenizers: TokenizerPair) -> None:
    """Put it into the bundle `folder`, in the place of another. Raises `SaveError`."""
    content = save(
        {"frequent": shortlist.frequent, "translations": shortlist.translations},
        {"format": _FORMAT, **tokenizers.hashes()},
    )
    write_atomically(folder / FILE, content)


def shortlist_file(folder: Path) -> Path:
    """Where the bundle `folder` has its list. Raises `DataError` if it has none."""
    path = folder / FILE
    if not path.is_file():
        raise DataError(f"{path}: this model has no shortlist. Make one from its run: `transduce shortlist RUN`.")
    return path


def load_shortlist(folder: Path, tokenizers: TokenizerPair) -> Shortlist:
    """The one of the bundle `folder`.

    Raises:
        DataError: there is none, or it is broken, or of other pieces than these tokenizers'.
    """
    path = shortlist_file(folder)
    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            found = Shortlist(file.get_tensor("frequent"), file.get_tensor("translations"))
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: not a shortlist ({error}). Make it again with `transduce shortlist`.") from error
    if about != {"format": _FORMAT, **tokenizers.hashes()}:
        raise DataError(f"{path}: made for other pieces than this model's. Make it again with `transduce shortlist`.")
    return found


def _cells(
    corpus: TokenisedCorpus, target_size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Ids, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Every target position beside every piece of its source, the padding for "none of them" first: cells.

    Gives the distinct (source, target) pieces as two arrays; for every cell the number of its own, the cells of a
    position in a row; where each position's begin; and how often each target piece occurs.
    """
    sizes = (corpus.source_lengths + 1) * corpus.target_lengths
    stride = max(1, -(-int(sizes.sum()) // _CELLS))
    keys, lengths = [], []
    counts = np.zeros(target_size, np.int64)
    for i in range(0, len(corpus), stride):
        source, target = corpus.pair(i)
        read = np.append(source.astype(np.int64), IDS.pad) * target_size
        keys.append((target.astype(np.int64)[:, None] + read).ravel())
        lengths.append(np.full(len(target), len(read)))
        np.add.at(counts, target, 1)
    distinct, cells = np.unique(np.concatenate(keys), return_inverse=True)
    ends = np.cumsum(np.concatenate(lengths))
    starts = np.concatenate([[0], ends[:-1]])
    sources, targets = np.divmod(distinct, target_size)
    return sources, targets, cells.astype(np.int32), starts, counts


def _model_1(sources: npt.NDArray[np.int64], cells: Ids, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """t(target | source) of every distinct pair, from equal ones. `sources` are ascending."""
    t = np.ones(len(sources))
    lengths = np.diff(starts, append=len(cells))
    for _ in range(_ROUNDS):
        shares = t[cells]
        shares /= np.repeat(np.add.reduceat(shares, starts), lengths)
        expected = np.bincount(cells, shares, minlength=len(t))
        t = expected / np.bincount(sources, expected)[sources]
    return t
