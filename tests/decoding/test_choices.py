"""A search among the pieces of a shortlist: the plain search where every other piece is impossible."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.decoding.test_beam import assert_same, random_sources, search_transformer, transformer
from transduce.data.shortlist import Shortlist
from transduce.decoding import BeamConfig, Hypothesis
from transduce.decoding.beam import beam_search
from transduce.decoding.continuous import continuous_beam_search
from transduce.nn import Transformer
from transduce.nn.inference import PackedTransformer
from transduce.nn.packed import Format
from transduce.nn.transformer import TransformerState
from transduce.text.pieces import IDS

pytestmark = pytest.mark.unit

SIZE = 200  # lists of 60 to 140 pieces: of one and of two and three multiples of the rounding
NEVER = [IDS.pad, IDS.unk, IDS.bos, 77]


def some_list(seed: int, each: int) -> Shortlist:
    random = np.random.default_rng(seed)
    rows = random.integers(4, SIZE, (SIZE, each)).astype(np.int32)
    rows[IDS.eos] = IDS.eos
    return Shortlist(random.choice(np.arange(4, SIZE, dtype=np.int32), 45, replace=False), rows)


def everything() -> Shortlist:
    return Shortlist(np.arange(SIZE, dtype=np.int32), np.full((SIZE, 1), IDS.eos, np.int32))


@torch.no_grad()
def search(
    model: Transformer,
    sources: Sequence[Sequence[int]],
    limits: Sequence[int],
    config: BeamConfig,
    places: int,
    shortlist: Shortlist,
    prefixes: Sequence[Sequence[int]] = (),
    form: Format = "fp32",
) -> list[list[Hypothesis]]:
    return continuous_beam_search(
        PackedTransformer(model, form),
        [[*source, IDS.eos] for source in sources],
        limits,
        config=config,
        n_best=config.beam,
        forbidden=[77],
        places=places,
        prefixes=prefixes,
        shortlist=shortlist,
    )


@torch.no_grad()
def reference(
    model: Transformer,
    source: Sequence[int],
    limit: int,
    config: BeamConfig,
    shortlist: Shortlist,
    prefix: Sequence[int] = (),
) -> list[Hypothesis]:
    """One sentence, in the plain model, with the logits of all that is not on its list at -inf."""
    listed = torch.tensor(sorted({*shortlist.pieces(source).tolist(), IDS.eos, *NEVER, *prefix}))

    def step(previous: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        logits, after = model.step(previous, state)
        only = torch.full_like(logits, -math.inf)
        only[:, listed] = logits[:, listed]
        return only, after

    state = model.start(torch.tensor([[*source, IDS.eos]]), config.beam)
    [found] = beam_search(
        step, state, [limit], config=config, ids=IDS, n_best=config.beam, forbidden=[77], prefixes=[prefix]
    )
    return found


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("beam", [1, 4])
def test_it_finds_what_the_plain_search_finds_among_these_pieces(beam: int) -> None:
    model = transformer(SIZE, seed=beam, sharpness=4.0)
    sources = random_sources(11, SIZE, 12)
    prefixes: list[list[int]] = [[], [5], [6, 7, 8], *([] for _ in range(8))]
    limits = [2 * len(source) + 3 for source in sources]
    config, shortlist = BeamConfig(beam=beam), some_list(beam, 8)
    assert len({-(-len(shortlist.pieces(source)) // 64) for source in sources}) > 1
    rows = zip(sources, limits, prefixes, strict=True)
    expected = [reference(model, source, limit, config, shortlist, prefix) for source, limit, prefix in rows]
    for places in (1, 3, 20):
        found = search(model, sources, limits, config, places, shortlist, prefixes)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)


def test_with_every_piece_listed_it_is_the_search_without_a_list() -> None:
    model = transformer(SIZE, seed=3, sharpness=4.0)
    model.output_weight.data[77] = -10.0  # forbidden below; the plain search here does not know, and never takes it
    sources = random_sources(7, SIZE, 9)
    limits = [len(source) + 4 for source in sources]
    expected = search_transformer(model, sources, limits, BeamConfig(), 4)
    assert all(77 not in h.ids for outputs in expected for h in outputs)
    for one, other in zip(search(model, sources, limits, BeamConfig(), 3, everything()), expected, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("form", ["bf16", "int8"])
def test_narrow_formats_write_what_is_listed(form: Format) -> None:
    model = transformer(SIZE, seed=5, sharpness=4.0)
    sources = random_sources(9, SIZE, 12)
    shortlist = some_list(9, 3)
    found = search(model, sources, [20] * 9, BeamConfig(), 3, shortlist, form=form)
    for source, outputs in zip(sources, found, strict=True):
        assert {piece for h in outputs for piece in h.ids} <= set(shortlist.pieces(source).tolist()) - {77}


def test_fewer_pieces_than_the_beam_looks_at() -> None:
    model = transformer(SIZE, seed=6)
    shortlist = Shortlist(np.array([9], np.int32), np.full((SIZE, 1), IDS.eos, np.int32))
    [found] = search(model, [[4, 5]], [3], BeamConfig(), 2, shortlist)
    assert {h.ids for h in found} == {(), (9,), (9, 9), (9, 9, 9)}
    assert_same(found, reference(model, [4, 5], 3, BeamConfig(), shortlist))
