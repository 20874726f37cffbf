"""What searches: the plain model, or the same weights packed for the processor. One verb, sources to outputs."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, Protocol, TypeVar, final, runtime_checkable

import torch

from transduce.data.collate import pad_rows
from transduce.data.shortlist import Shortlist
from transduce.decoding.beam import BeamConfig, beam_search
from transduce.decoding.continuous import continuous_beam_search
from transduce.decoding.ensemble import Ensemble
from transduce.decoding.lines import batches
from transduce.decoding.search import Hypothesis, Step
from transduce.device import choose_precision
from transduce.errors import ConfigError
from transduce.nn import Transformer
from transduce.nn.inference import PackedTransformer, check_packed
from transduce.nn.packed import Format
from transduce.text.pieces import IDS

Found = TypeVar("Found")
DecodingPrecision = Literal["auto", "fp32", "bf16", "int8"]

_TOKENS = 8192  # source tokens, with padding, whose keys and values are in memory at once
_SHORT = 128
_WORTH_A_THREAD = 8  # sentences


def choose_form(asked: DecodingPrecision, device: torch.device) -> tuple[Format, str]:
    """The format to decode in, and why, as a sentence; `auto` is as in training, and never 8 bits.

    Raises:
        ConfigError: int8 elsewhere than on a processor; and as `choose_precision`.
    """
    if asked != "int8":
        return choose_precision(asked, device)
    if device.type != "cpu":
        raise ConfigError(f"precision = 'int8' is for the processor, not {device.type}. Use 'bf16', or device 'cpu'.")
    return "int8", "int8 as asked"


@runtime_checkable  # so that tests can check annotations at run time
class Engine(Protocol):
    """A model that outputs can be searched for with."""

    def search(
        self,
        sources: Sequence[Sequence[int]],
        limits: Sequence[int],
        *,
        config: BeamConfig,
        n_best: int,
        forbidden: Sequence[int],
        prefixes: Sequence[Sequence[int]] = (),
        usual: Sequence[int] = (),
    ) -> list[list[Hypothesis]]:
        """The `n_best` outputs of every source (ids without end symbol), distinct and best first; see `beam_search`.

        `prefixes` has one row a source, or none. `usual`, one number a source, is a hint: outputs of more pieces need
        not be waited for.
        """
        ...


@final
@dataclass(frozen=True, slots=True)
class PlainEngine:
    """The model as it is, on any device, in batches of sentences of like length.

    `computing` is the context to run it in; `batch_tokens` are source tokens times beam with padding, `batch_rows`
    sentences times beam.
    """

    model: Transformer | Ensemble
    device: torch.device
    computing: Callable[[], AbstractContextManager[None]]
    batch_tokens: int
    batch_rows: int

    def search(
        self,
        sources: Sequence[Sequence[int]],
        limits: Sequence[int],
        *,
        config: BeamConfig,
        n_best: int,
        forbidden: Sequence[int],
        prefixes: Sequence[Sequence[int]] = (),
        usual: Sequence[int] = (),
    ) -> list[list[Hypothesis]]:
        """As `Engine.search`."""

        step: Step[Any] = self.model.step

        def decode(rows: Sequence[int]) -> list[list[Hypothesis]]:
            source = pad_rows([[*sources[i], IDS.eos] for i in rows]).to(self.device)
            with self.computing():
                return beam_search(
                    step,
                    self.model.start(source, config.beam),
                    [limits[i] for i in rows],
                    config=config,
                    ids=IDS,
                    n_best=n_best,
                    forbidden=forbidden,
                    prefixes=[prefixes[i] for i in rows] if prefixes else (),
                    usual=[usual[i] for i in rows] if usual else (),
                    device=self.device,
                )

        return in_batches(sources, decode, config.beam, self.batch_tokens, self.batch_rows)


def in_batches(
    sources: Sequence[Sequence[int]],
    decode: Callable[[Sequence[int]], list[list[Found]]],
    copies: int,
    batch_tokens: int,
    batch_rows: int,
) -> list[list[Found]]:
    """What `decode` finds for the numbers of some sources, for all of them, in batches of sentences of like length."""
    found: list[list[Found]] = [[] for _ in sources]
    lengths = [(len(ids) + 1) * copies for ids in sources]
    for rows in batches(lengths, most_tokens=batch_tokens, most_rows=max(1, batch_rows // copies)):
        for i, hypotheses in zip(rows, decode(rows), strict=True):
            found[i] = hypotheses
    return found


@final
class PackedEngine:
    """Packed weights on a processor; see `continuous_beam_search`. They are packed by the first search.

    Many sentences are shared out among as many threads as PyTorch is set to, each with a batch of its own. Few go
    through one batch, each of whose products takes all threads. With a `shortlist` outputs are made of what it has.

    Raises:
        ConfigError: as `check_packed`.
    """

    def __init__(self, model: Transformer, form: Format, shortlist: Shortlist | None = None) -> None:
        check_packed(model, form)
        self._shortlist = shortlist
        self._pack = cache(lambda: PackedTransformer(model, form))
        self._rows = 256 if form == "bf16" else 128

    def search(
        self,
        sources: Sequence[Sequence[int]],
        limits: Sequence[int],
        *,
        config: BeamConfig,
        n_best: int,
        forbidden: Sequence[int],
        prefixes: Sequence[Sequence[int]] = (),
        usual: Sequence[int] = (),
    ) -> list[list[Hypothesis]]:
        """As `Engine.search`."""
        ended = [[*ids, IDS.eos] for ids in sources]
        found: list[list[Hypothesis]] = [[] for _ in sources]
        packed = self._pack()

        def decode(rows: Sequence[int], stopped: Callable[[], bool], places: int) -> None:
            with torch.no_grad():
                outputs = continuous_beam_search(
                    packed,
                    [ended[i] for i in rows],
                    [limits[i] for i in rows],
                    config=config,
                    n_best=n_best,
                    forbidden=forbidden,
                    prefixes=[prefixes[i] for i in rows] if prefixes else (),
                    usual=[usual[i] for i in rows] if usual else (),
                    places=places,
                    shortlist=self._shortlist,
                    stopped=stopped,
                )
            for i, hypotheses in zip(rows, outputs, strict=True):
                found[i] = hypotheses

        for rows in _alike([len(ids) for ids in ended]):
            places = max(1, min(self._rows // config.beam, _TOKENS // len(ended[rows[0]])))
            workers = min(torch.get_num_threads(), len(rows) // _WORTH_A_THREAD)
            if workers > 1:
                share(rows, partial(decode, places=places), workers)
            else:
                decode(rows, lambda: False, places)
        return found


def _alike(lengths: Sequence[int]) -> list[list[int]]:
    """Numbers of rows, longest first, cut where they have become much shorter: a batch has room for its longest."""
    found: list[list[int]] = []
    shortest = 0
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if not found or lengths[i] < shortest:
            found.append([])
            shortest = 0 if lengths[i] <= _SHORT else lengths[i] // 2
        found[-1].append(i)
    return found


def share(rows: Sequence[int], decode: Callable[[Sequence[int], Callable[[], bool]], None], workers: int) -> None:
    """`decode` every worker's share of these rows, each on a thread of its own whose products take no other.

    `decode` is told how to ask whether to stop: the others do when one fails, and all when Ctrl-C comes, which only the
    main thread hears.
    """
    stop = threading.Event()
    threads = torch.get_num_threads()

    def work(share: Sequence[int]) -> None:
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)  # each thread has its own setting
        try:
            decode(share, stop.is_set)
        except BaseException:
            stop.set()
            raise

    try:
        with ThreadPoolExecutor(workers) as pool:
            try:
                list(pool.map(work, [rows[i::workers] for i in range(workers)]))
            except BaseException:
                stop.set()
                raise
    finally:
        torch.set_num_threads(threads)
