import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transduce.data.collate import Ids, collate, pad_rows
from transduce.text.pieces import IDS

pytestmark = pytest.mark.unit

sentences = st.lists(st.integers(4, 65_535), max_size=9).map(lambda ids: np.array(ids, dtype=np.uint16))
pairs = st.lists(st.tuples(sentences, sentences), min_size=1, max_size=6)


def test_a_batch_by_hand() -> None:
    batch = collate([(np.array([5, 6, 7]), np.array([8])), (np.array([9]), np.array([10, 11]))])
    assert batch.source.tolist() == [[5, 6, 7, IDS.eos], [9, IDS.eos, IDS.pad, IDS.pad]]
    assert batch.target_in.tolist() == [[IDS.bos, 8, IDS.pad], [IDS.bos, 10, 11]]
    assert batch.target_out.tolist() == [[8, IDS.eos, IDS.pad], [10, 11, IDS.eos]]
    assert batch.n_target_tokens == 5


@given(pairs)
@settings(max_examples=50, deadline=None)
def test_without_padding_and_special_ids_the_pairs_are_back(pairs: list[tuple[Ids, Ids]]) -> None:
    batch = collate(pairs)
    for row, (source, target) in enumerate(pairs):
        assert batch.source[row][batch.source[row] != IDS.pad].tolist() == [*source, IDS.eos]
        assert batch.target_in[row][batch.target_in[row] != IDS.pad].tolist() == [IDS.bos, *target]
        assert batch.target_out[row][batch.target_out[row] != IDS.pad].tolist() == [*target, IDS.eos]
    assert batch.source.shape[1] == 1 + max(len(source) for source, _ in pairs)
    assert batch.target_in.shape == batch.target_out.shape == (len(pairs), 1 + max(len(t) for _, t in pairs))
    assert batch.n_target_tokens == sum(len(target) + 1 for _, target in pairs)
    assert {x.dtype for x in (batch.source, batch.target_in, batch.target_out)} == {torch.int64}


@given(pairs)
@settings(max_examples=25, deadline=None)
def test_padding_is_only_at_the_right(pairs: list[tuple[Ids, Ids]]) -> None:
    batch = collate(pairs)
    for ids in (batch.source, batch.target_in, batch.target_out):
        is_pad = (ids == IDS.pad).int()
        assert bool((is_pad.diff(dim=1) >= 0).all())


def test_rows_are_put_between_before_and_after() -> None:
    assert pad_rows([[7], [8, 9]], before=(1, 2), after=(3,)).tolist() == [[1, 2, 7, 3, 0], [1, 2, 8, 9, 3]]
    assert pad_rows([[7], []]).tolist() == [[7], [0]]
    assert pad_rows([]).shape == (0, 0)


def test_a_batch_moves_whole() -> None:
    moved = collate([(np.array([5]), np.array([6]))]).to(torch.device("meta"))
    assert {moved.source.device.type, moved.target_in.device.type, moved.target_out.device.type} == {"meta"}
