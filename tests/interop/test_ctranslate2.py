"""Our weights in CTranslate2: the same log-probabilities, and its search in the place of ours."""

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.decoding.tiny import penalty
from transduce.data.collate import collate
from transduce.data.shortlist import Shortlist
from transduce.decoding import BeamConfig, score_pairs
from transduce.decoding.continuous import continuous_beam_search
from transduce.errors import ConfigError
from transduce.interop.ctranslate2 import CTranslate2Engine, convert, library, refusal
from transduce.nn import Transformer, TransformerConfig, build
from transduce.nn.inference import PackedTransformer
from transduce.nn.packed import Format
from transduce.nn.recurrence import Recurrence
from transduce.text.pieces import IDS

pytestmark = pytest.mark.unit

TINY = TransformerConfig(n_layers=2, d_model=16, d_ff=32, n_heads=2, d_k=8, d_v=8)
KINDS = [
    TINY,
    replace(TINY, norm="pre", share_embeddings="none"),
    replace(TINY, positions="learned", max_positions=50, share_embeddings="target", n_heads=3, d_k=4, d_v=4),
]
SIZE = 12


def pieces(size: int = SIZE) -> list[str]:
    return ["<pad>", "<unk>", "<s>", "</s>", *(f"w{i}" for i in range(4, size))]


def model(config: TransformerConfig, size: int = SIZE) -> Transformer:
    torch.manual_seed(1)
    built = build(config, size, size, IDS.pad).eval()
    for p in built.parameters():
        p.data += 0.2 * torch.randn_like(p)
    return built


def random_pairs(n: int) -> list[tuple[list[int], list[int]]]:
    rows = [torch.randint(4, SIZE, (int(torch.randint(1, 9, ())),)).tolist() for _ in range(2 * n)]
    return list(zip(rows[:n], rows[n:], strict=True))


@pytest.mark.parametrize("config", KINDS)
def test_a_converted_model_gives_the_same_log_probabilities(config: TransformerConfig, tmp_path: Path) -> None:
    ours = model(config)
    convert(tmp_path / "converted", config, ours, pieces(), pieces())
    theirs = library().Translator(str(tmp_path / "converted"), compute_type="float32", intra_threads=1)
    pairs = random_pairs(6)
    as_pieces = [[[pieces()[i] for i in side] for side in sides] for sides in zip(*pairs, strict=True)]
    found = [sum(scored.log_probs) for scored in theirs.score_batch(*as_pieces)]
    assert found == pytest.approx(score_pairs(ours, collate(pairs)), abs=1e-4)


def engine(path: Path, ours: Transformer, config: TransformerConfig, precision: Format = "fp32") -> CTranslate2Engine:
    size = len(ours.output_weight)
    convert(path, config, ours, pieces(size), pieces(size))
    return CTranslate2Engine(path, precision, threads=1)


def test_sinusoids_reach_as_far_as_they_are_asked_for(tmp_path: Path) -> None:
    ours, size = model(TINY), len(pieces())
    convert(tmp_path / "converted", TINY, ours, pieces(), pieces(), 3000)
    theirs = library().Translator(str(tmp_path / "converted"), compute_type="float32", intra_threads=1)
    source, target = [4 + i % (size - 4) for i in range(2999)], [4, 5]
    sides = [[[pieces()[i] for i in side]] for side in (source, target)]
    [found] = theirs.score_batch(*sides, max_input_length=0)
    assert [sum(found.log_probs)] == pytest.approx(score_pairs(ours, collate([(source, target)])), abs=1e-3)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_its_outputs_are_ranked_by_the_papers_penalty(alpha: float, tmp_path: Path) -> None:
    size, limit, source = 6, 3, [4, 5, 4]
    config = replace(TINY, share_embeddings="none")
    ours = model(config, size)
    theirs = engine(tmp_path / "converted", ours, config)
    [found] = theirs.search([source], [limit], config=BeamConfig(beam=64, alpha=alpha), n_best=15, forbidden=[])
    outputs = [ids for n in range(limit + 1) for ids in itertools.product((4, 5), repeat=n)]
    log_probs = score_pairs(ours, collate([(source, ids) for ids in outputs]))
    expected = {ids: (p, p / penalty(len(ids) + 1, alpha)) for ids, p in zip(outputs, log_probs, strict=True)}
    ranked = sorted(expected, key=lambda ids: -expected[ids][1])
    assert [h.ids for h in found] == ranked[: len(found)]
    assert len(found) >= 3
    for h in found:
        assert (h.log_prob, h.score) == pytest.approx(expected[h.ids], abs=1e-4)


def test_a_shortlist_is_searched_as_by_our_own_engine(tmp_path: Path) -> None:
    config = replace(TINY, share_embeddings="none")
    ours = model(config)
    rows = [[IDS.eos] * 3] * 4 + [[IDS.eos, 4 + i % 8, 4 + i * 5 % 8] for i in range(4, SIZE)]
    listed = Shortlist(np.array([4], np.int32), np.array(rows, np.int32))
    convert(tmp_path / "converted", config, ours, pieces(), pieces(), 0, listed)
    theirs = CTranslate2Engine(tmp_path / "converted", "fp32", 1, shortlist=True)
    search = BeamConfig(beam=64, alpha=0.6)
    for source, _ in random_pairs(6):
        [found] = theirs.search([source], [3], config=search, n_best=3, forbidden=[])
        [expected] = continuous_beam_search(
            PackedTransformer(ours, "fp32"), [[*source, IDS.eos]], [3], config=search, n_best=3, shortlist=listed
        )
        assert {i for h in found for i in h.ids} <= {4, *listed.translations[source].ravel().tolist()}
        assert [h.ids for h in found] == [h.ids for h in expected]
        assert [h.log_prob for h in found] == pytest.approx([h.log_prob for h in expected], abs=1e-4)


@pytest.mark.parametrize("beam", [1, 4])
def test_lists_of_one_batch_do_not_reach_into_another(tmp_path: Path, beam: int) -> None:
    """Prefixes, and pieces that are forbidden, among many sentences whose lists have little in common."""
    size = 60
    config = replace(TINY, share_embeddings="none")
    ours = model(config, size)
    rows = [[IDS.eos] * 3] * 4 + [[i, 4 + i * 7 % 56, 4 + i * 11 % 56] for i in range(4, size)]
    listed = Shortlist(np.array([4], np.int32), np.array(rows, np.int32))
    convert(tmp_path / "converted", config, ours, pieces(size), pieces(size), 0, listed)
    theirs = CTranslate2Engine(tmp_path / "converted", "fp32", 1, shortlist=True)
    sources = [[4 + i % 56, 4 + i * 3 % 56] for i in range(80)]
    prefixes = [[4 + i * 5 % 56] if i % 3 == 0 else [] for i in range(80)]
    forbidden = [*range(10, 60, 2)]
    search = BeamConfig(beam=beam, alpha=0.6)
    theirs.search(sources, [6] * 80, config=search, n_best=1, forbidden=[])
    found = theirs.search(sources, [6] * 80, config=search, n_best=1, forbidden=[], prefixes=prefixes)
    assert all(best.ids[: len(p)] == tuple(p) for (best,), p in zip(found, prefixes, strict=True))
    found = theirs.search(sources, [6] * 80, config=search, n_best=1, forbidden=forbidden)
    assert all(found)
    assert not {i for (best,) in found for i in best.ids} & {*forbidden}


def test_a_conversion_without_a_list_is_not_taken_for_one_with_it(tmp_path: Path) -> None:
    engine(tmp_path / "converted", model(TINY), TINY)
    with pytest.raises(ConfigError, match="converted without a shortlist"):
        CTranslate2Engine(tmp_path / "converted", "fp32", 1, shortlist=True)


def test_what_is_forbidden_is_not_given(tmp_path: Path) -> None:
    config = replace(TINY, share_embeddings="none")
    ours = model(config)
    theirs = engine(tmp_path / "converted", ours, config)
    sources = [source for source, _ in random_pairs(5)]
    found = theirs.search(
        sources, [6] * 5, config=BeamConfig(beam=2, alpha=0.6), n_best=2, forbidden=[5, 6, 7, 8, 9, 10]
    )
    assert all(found)
    assert {i for outputs in found for h in outputs for i in h.ids} <= {4, 11}


def test_prefixes_begin_outputs_and_count_in_their_scores(tmp_path: Path) -> None:
    config = replace(TINY, share_embeddings="none")
    ours = model(config)
    theirs = engine(tmp_path / "converted", ours, config)
    sources = [source for source, _ in random_pairs(5)]
    prefixes: list[list[int]] = [[5], [], [6, 6, 6, 6], [11, 4], [7]]
    limits = [7, 7, 4, 7, 5]
    found = theirs.search(sources, limits, config=BeamConfig(beam=9), n_best=4, forbidden=[], prefixes=prefixes)
    pairs, log_probs = [], []
    for i, outputs in enumerate(found):
        assert outputs
        for h in outputs:
            assert list(h.ids[: len(prefixes[i])]) == prefixes[i]
            if len(h.ids) < limits[i]:  # came to its end
                pairs.append((sources[i], list(h.ids)))
                log_probs.append(h.log_prob)
    assert len(pairs) > 8
    assert log_probs == pytest.approx(score_pairs(ours, collate(pairs)), abs=1e-4)
    with pytest.raises(ConfigError, match="piece 8 is never produced"):
        theirs.search(sources, limits, config=BeamConfig(), n_best=1, forbidden=[8], prefixes=[[8]] * 5)


def test_each_source_keeps_to_its_own_limit(tmp_path: Path) -> None:
    theirs = engine(tmp_path / "converted", model(TINY), TINY)
    limits = [0, 7, 2, 5, 1]
    found = theirs.search([[4], [5, 6], [7, 8, 9], [4, 5], [10]], limits, config=BeamConfig(), n_best=4, forbidden=[])
    assert all(1 <= len(outputs) <= 4 for outputs in found)
    assert all(len(h.ids) <= limit for outputs, limit in zip(found, limits, strict=True) for h in outputs)


def test_nothing_to_do(tmp_path: Path) -> None:
    theirs = engine(tmp_path / "converted", model(TINY), TINY)
    assert theirs.search([], [], config=BeamConfig(), n_best=1, forbidden=[]) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"layer": Recurrence()}, "recurrent"), ({"residual": False}, "residual"), ({"d_v": 4}, "model.d_v = 4")],
)
def test_what_it_cannot_run_is_refused(change: dict[str, object], reason: str, tmp_path: Path) -> None:
    config = replace(TINY, **change)  # type: ignore[arg-type]
    assert reason in refusal(config)
    with pytest.raises(ConfigError, match=reason):
        convert(tmp_path / "converted", config, model(config), pieces(), pieces())
    assert not (tmp_path / "converted").exists()


def test_a_precision_that_it_has_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library(), "get_supported_compute_types", lambda device: {"float32"})
    with pytest.raises(ConfigError, match="has no int8"):
        engine(tmp_path / "converted", model(TINY), TINY, "int8")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(ConfigError, match="pip install"):
        library()
