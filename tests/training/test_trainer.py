"""The training loop: sums over micro-batches, stopping, and the law that a resumed run is one that never stopped."""

import math
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.tiny import (
    CPU,
    TINY,
    TRAINING,
    Witness,
    copying_corpus,
    everything,
    make_trainer,
    restore,
    same_bits,
    with_training,
)
from transduce.bundle import unique_weights
from transduce.checkpoint import DevResult, Progress, load_weights, saved_steps
from transduce.data.collate import Batch, collate
from transduce.data.shards import Pairs, TokenisedCorpus
from transduce.device import Precision
from transduce.errors import CheckpointError, ConfigError, TrainingError
from transduce.nn.dropout import seeded
from transduce.nn.loss import reference_nll, reference_r_drop
from transduce.nn.transformer import Transformer, build
from transduce.text.pieces import IDS
from transduce.training.parallel import Cut, cut, in_lanes, set_gradients
from transduce.training.trainer import BatchingConfig, Listener, StepResult, TrainingConfig, step_seed, train_step
from transduce.training.world import World

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TokenisedCorpus:
    return copying_corpus(tmp_path_factory.mktemp("corpus") / "train")


# ---- one update


class Descent:
    """Plain gradient descent, whose updates show the gradient."""

    def __init__(self, model: Transformer) -> None:
        self.model = model

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for p in self.model.parameters():
            if p.grad is not None:
                p.sub_(rate * p.grad)


RAGGED = [([9, 8], [7]), ([5], [6, 6, 6, 5, 9, 4]), ([4, 5, 6, 7, 8], [9, 9]), ([7], [4, 5, 6]), ([6, 6, 6], [8] * 9)]


def gradients_of_step(
    batches: list[Batch], eps_ls: float = 0.1, clip: float = 0.0, lanes: int = 1, r_drop: float = 0.0
) -> tuple[float, int, list[Tensor]]:
    torch.manual_seed(1)
    model = build(replace(TINY, p_drop=0.0), 12, 12, IDS.pad).double()
    optimizer = Descent(model)
    loss, n = train_step(
        model,
        batches,
        optimizer,
        rate=0.0,
        eps_ls=eps_ls,
        clip=clip,
        precision="fp32",
        r_drop=r_drop,
        lanes=in_lanes(model, lanes),
        threads=lanes,
    )
    return loss, n, [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("cuts", [[1], [4], [2, 3], [1, 2, 3, 4]])
def test_loss_and_gradients_do_not_depend_on_the_split_into_micro_batches(cuts: list[int]) -> None:
    whole_loss, whole_n, whole = gradients_of_step([collate(RAGGED)])
    pieces = [collate(RAGGED[a:b]) for a, b in zip([0, *cuts], [*cuts, len(RAGGED)], strict=True)]
    assert len({p.target_in.shape for p in pieces}) > 1  # each is padded to its own longest
    loss, n, gradients = gradients_of_step(pieces)
    assert n == whole_n == sum(len(target) + 1 for _, target in RAGGED)
    assert loss == pytest.approx(whole_loss, rel=1e-6)
    assert len(gradients) == len(whole) > 20
    for split, one in zip(gradients, whole, strict=True):
        torch.testing.assert_close(split, one, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("lanes", [2, 3, 7])
def test_loss_and_gradients_do_not_depend_on_the_lanes(lanes: int) -> None:
    pieces = [collate(RAGGED[a : a + 1]) for a in range(len(RAGGED))]
    loss, n, gradients = gradients_of_step(pieces)
    threads = torch.get_num_threads()
    apart = gradients_of_step(pieces, lanes=lanes)
    assert torch.get_num_threads() == threads
    assert apart[:2] == (loss, n)
    for ours, one in zip(apart[2], gradients, strict=True):
        torch.testing.assert_close(ours, one, rtol=1e-9, atol=1e-12)
    again = gradients_of_step(pieces, lanes=lanes)
    assert all(torch.equal(a, b) for a, b in zip(apart[2], again[2], strict=True))


def test_r_drop_without_dropout_changes_nothing_however_batches_are_split() -> None:
    whole_loss, whole_n, whole = gradients_of_step([collate(RAGGED)])
    for cuts in ([], [2, 3]):
        pieces = [collate(RAGGED[a:b]) for a, b in zip([0, *cuts], [*cuts, len(RAGGED)], strict=True)]
        loss, n, gradients = gradients_of_step(pieces, r_drop=5.0)
        assert n == whole_n
        assert loss == pytest.approx(whole_loss, rel=1e-6)
        for ours, one in zip(gradients, whole, strict=True):
            torch.testing.assert_close(ours, one, rtol=1e-5, atol=1e-7)


def test_r_drop_is_of_two_passes_with_different_dropout() -> None:
    model = build(TINY, 12, 12, IDS.pad).double()
    optimizer = Descent(model)
    batch = collate(RAGGED)
    loss, n = train_step(
        model, [batch], optimizer, rate=0.0, eps_ls=0.1, clip=0.0, precision="fp32", seed=7, r_drop=3.0
    )
    with seeded(step_seed(7, 0, 0)):
        states = model(torch.cat([batch.source] * 2), torch.cat([batch.target_in] * 2))
    passes = states.chunk(2)
    assert not torch.equal(*passes)
    nll, count = reference_r_drop(states, model.output_weight, batch.target_out, 0.1, IDS.pad, 3.0)
    assert n == count
    assert loss == pytest.approx(nll.item() / count, rel=1e-6)
    expected = torch.autograd.grad(nll / count, list(model.parameters()))
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("r_drop", [0.0, 2.0])
def test_dropout_follows_from_the_seed_in_whatever_lane(r_drop: float) -> None:
    torch.manual_seed(1)
    dropout = replace(TINY, p_drop=0.4, attention_dropout=0.4, activation_dropout=0.4)
    model = build(dropout, 12, 12, IDS.pad).double()
    optimizer = Descent(model)
    pieces = [collate(RAGGED[a : a + 1]) for a in range(len(RAGGED))]

    def loss(seed: int, n: int) -> float:
        torch.rand(3)  # what the global generator has done does not matter
        settings: dict[str, Any] = {"eps_ls": 0.0, "clip": 0.0, "precision": "fp32", "r_drop": r_drop}
        return train_step(model, pieces, optimizer, rate=0.0, seed=seed, lanes=in_lanes(model, n), **settings)[0]

    assert loss(5, 1) == loss(5, 2) == loss(5, 4)
    assert loss(5, 1) != loss(6, 1)
    alike = [collate(RAGGED[:1])] * 2
    one = train_step(model, alike[:1], optimizer, rate=0.0, eps_ls=0.0, clip=0.0, precision="fp32")[0]
    two = train_step(model, alike, optimizer, rate=0.0, eps_ls=0.0, clip=0.0, precision="fp32")[0]
    assert one != two  # each draws its own


def test_what_goes_wrong_in_a_lane_is_raised() -> None:
    def fails(lane: torch.nn.Module, number: int) -> Tensor:
        raise TrainingError(f"part {number}")

    threads = torch.get_num_threads()
    with pytest.raises(TrainingError, match="part 0"):
        set_gradients(in_lanes(torch.nn.Linear(2, 2), 2), 4, fails, threads=2)
    assert torch.get_num_threads() == threads


def test_lanes_have_the_weights_of_the_model_in_the_same_memory_whatever_it_has_now() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False))
    first, second = in_lanes(model, 2)
    assert first is model
    assert [p.data_ptr() for p in second.parameters()] == [p.data_ptr() for p in model.parameters()]

    def part(lane: torch.nn.Sequential, number: int) -> Tensor:
        loss: Tensor = (number + 1) * lane(torch.ones(1, 1)).sum()
        torch.autograd.backward(loss)
        return loss.detach()

    for weights in ((2.0, 3.0), (5.0, 7.0)):
        for parameter, weight in zip(model.parameters(), weights, strict=True):
            parameter.data = torch.tensor([[weight]])  # as `MovingAverage.in_use` does
        losses = set_gradients([first, second], 3, part, threads=2)
        assert [float(loss) for loss in losses] == [n * weights[0] * weights[1] for n in (1, 2, 3)]
        assert [p.grad.item() for p in model.parameters() if p.grad is not None] == [6 * weights[1], 6 * weights[0]]
        assert all(p.grad is None for p in second.parameters())


def test_parameters_that_only_some_parts_use() -> None:
    layers = [torch.nn.Linear(1, 1, bias=False) for _ in range(3)]

    def part(lane: torch.nn.ModuleList, number: int) -> Tensor:
        loss: Tensor = (number + 1) * lane[number % 2].weight.sum()  # type: ignore[operator]
        torch.autograd.backward(loss)
        return loss.detach()

    for n in (1, 2, 3):
        set_gradients(in_lanes(torch.nn.ModuleList(layers), n), 4, part, threads=n)
        assert [p.weight.grad if p.weight.grad is None else p.weight.grad.item() for p in layers] == [4.0, 6.0, None]


def test_how_many_lanes_and_parts() -> None:
    """Lanes of 512 tokens or more; as many parts for every lane, none with more than 1,024 tokens of width 512."""
    lanes = [cut(2, 4096, 8), cut(2, 600, 8), cut(8, 2048, 8), cut(1, 4096, 8), cut(4, 40, 8)]
    assert lanes == [Cut(2, 2), Cut(1, 1), Cut(4, 4), Cut(1, 1), Cut(1, 1)]
    parts = [cut(1, 1024, 512), cut(1, 1025, 512), cut(2, 2048, 512), cut(2, 3072, 512), cut(8, 2048, 512)]
    assert parts == [Cut(1, 1), Cut(1, 2), Cut(2, 2), Cut(2, 4), Cut(4, 4)]
    assert [cut(1, 4096, width).parts for width in (128, 256, 512, 1024)] == [1, 2, 4, 8]


def test_the_step_is_the_gradient_of_the_mean_loss_per_piece() -> None:
    loss, n, gradients = gradients_of_step([collate(RAGGED[:2]), collate(RAGGED[2:])])
    torch.manual_seed(1)
    model = build(replace(TINY, p_drop=0.0), 12, 12, IDS.pad).double()
    batch = collate(RAGGED)
    nll, count = reference_nll(
        model(batch.source, batch.target_in), model.output_weight, batch.target_out, 0.1, IDS.pad
    )
    assert n == count
    assert loss == pytest.approx(nll.item() / count, rel=1e-6)
    for ours, expected in zip(gradients, torch.autograd.grad(nll / count, list(model.parameters())), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


def norm_of(gradients: list[Tensor]) -> float:
    return math.sqrt(sum(float(g.pow(2).sum()) for g in gradients))


def test_clipping_shortens_long_gradients_and_only_those() -> None:
    _, _, free = gradients_of_step([collate(RAGGED)])
    length = norm_of(free)
    _, _, unchanged = gradients_of_step([collate(RAGGED)], clip=length * 2)
    assert all(torch.equal(a, b) for a, b in zip(free, unchanged, strict=True))
    _, _, clipped = gradients_of_step([collate(RAGGED)], clip=length / 5)
    assert norm_of(clipped) == pytest.approx(length / 5, rel=1e-4)
    for a, b in zip(free, clipped, strict=True):
        torch.testing.assert_close(a / 5, b, rtol=1e-4, atol=1e-9)


def test_gradients_of_the_step_before_are_gone_and_the_rate_is_set() -> None:
    torch.manual_seed(1)
    model = build(TINY, 12, 12, IDS.pad).eval()
    optimizer = Descent(model)
    for _ in range(2):
        train_step(model, [collate(RAGGED)], optimizer, rate=0.0, eps_ls=0.0, clip=0.0, precision="fp32")
        found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    _, _, once = gradients_of_step([collate(RAGGED)], eps_ls=0.0)
    for a, b in zip(found, once, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-5)
    before = [p.clone() for p in model.parameters()]
    train_step(model, [collate(RAGGED)], optimizer, rate=0.5, eps_ls=0.0, clip=0.0, precision="fp32")
    for old, p in zip(before, model.parameters(), strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p, old - 0.5 * p.grad)


def test_an_update_tells_what_it_did(corpus: TokenisedCorpus) -> None:
    trainer = make_trainer(corpus, config=replace(TINY, p_drop=0.0))
    after, numbers = next(trainer.updates(Progress()))
    reference = make_trainer(corpus, config=replace(TINY, p_drop=0.0)).model
    result = trainer.update(after, numbers)
    nll, count = 0.0, 0
    for batch in (collate([corpus.pair(int(i)) for i in n]) for n in numbers):
        states = reference(batch.source, batch.target_in)
        one, n = reference_nll(states, reference.output_weight, batch.target_out, 0.1, IDS.pad)
        nll, count = nll + one.item(), count + n
    assert (result.step, result.epoch, result.learning_rate) == (1, 0, trainer.rate(1))
    assert result.target_tokens == count
    assert result.loss == pytest.approx(nll / count, rel=1e-5)
    moved = max(
        float((a - b).detach().abs().max())
        for a, b in zip(trainer.model.parameters(), reference.parameters(), strict=True)
    )
    assert moved == pytest.approx(
        trainer.rate(1), rel=1e-3
    )  # Adam's first step is the rate, in the gradient's direction


# ---- what goes wrong


@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_stops_and_leaves_everything_as_it_was(
    corpus: TokenisedCorpus, what: str, clip: float
) -> None:
    trainer = make_trainer(corpus, training=with_training(clip=clip))
    (first, numbers), (second, more) = islice(trainer.updates(Progress()), 2)
    trainer.update(first, numbers)
    if what == "loss":
        with torch.no_grad():
            trainer.model.output_weight[IDS.eos] = 1e38
    else:
        trainer.model.output_weight.register_hook(lambda g: g * math.inf)  # type: ignore[no-untyped-call]
    before = everything(trainer)
    pairs = ", ".join(str(int(i)) for i in more[0][:3])
    message = (
        rf"step 2 \(epoch 0\): the loss or its gradient is not finite; the batch holds pairs {pairs}, .* Nothing was"
    )
    with pytest.raises(TrainingError, match=message):
        trainer.update(second, more)
    assert same_bits(everything(trainer), before)


def test_a_run_ends_with_the_loss_and_keeps_its_checkpoints(corpus: TokenisedCorpus, tmp_path: Path) -> None:
    trainer = make_trainer(corpus, rate=lambda step: 1e-3 if step < 7 else 1e30)
    witness = Witness(tmp_path)
    with pytest.raises(TrainingError, match="step 8 .* Lower the learning rate .1e[+]30 now"):
        witness.train(trainer, Progress())
    assert saved_steps(tmp_path) == [4]
    assert all(p.isfinite().all() for p in restored_model(corpus, tmp_path).parameters())


def restored_model(corpus: TokenisedCorpus, run: Path) -> Transformer:
    trainer = make_trainer(corpus)
    restore(run, trainer)
    return trainer.model


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (BatchingConfig, {"max_tokens": 0}, "batching.max_tokens = 0: must be at least 1."),
        (BatchingConfig, {"accumulate": 0}, "batching.accumulate = 0: must be at least 1."),
        *(
            (TrainingConfig, {n: 0}, f"training.{n} = 0: must be at least 1.")
            for n in ("max_steps", "warmup", "average")
        ),
        (TrainingConfig, {"checkpoint_every": 0}, "training.checkpoint_every = 0: must be at least 1."),
        (TrainingConfig, {"seed": -1}, "training.seed = -1: must be at least 0."),
        (TrainingConfig, {"seed": 2**63}, "training.seed = 9223372036854775808: must be below 2.63."),
        *(
            (TrainingConfig, {n: v}, f"training.{n} = {v}: must be finite and not negative .0 switches it off")
            for n, v in (("minutes", -1.0), ("patience", -1), ("clip", math.inf), ("minutes", math.nan))
        ),
        *(
            (TrainingConfig, {"label_smoothing": v}, f"training.label_smoothing = {v}: at least 0 and below 1.")
            for v in (-0.1, 1.0, math.nan)
        ),
        *(
            (TrainingConfig, {"learning_rate": v}, f"training.learning_rate = {v}: must be above 0 and finite.")
            for v in (0.0, -1.0, math.inf, math.nan)
        ),
    ],
)
def test_impossible_values_are_refused(config: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**changes)


# ---- which batches when


def numbers_of(updates: list[tuple[Progress, list[Any]]]) -> list[list[list[int]]]:
    return [[n.tolist() for n in numbers] for _, numbers in updates]


def test_an_epoch_uses_every_pair_once_and_the_last_update_may_be_smaller(corpus: TokenisedCorpus) -> None:
    trainer = make_trainer(corpus, batching=BatchingConfig(max_tokens=40, accumulate=2))
    per_epoch = [trainer.epoch_batches(epoch) for epoch in (0, 1)]
    assert len(per_epoch[0]) % 2 == 1
    updates = list(islice(trainer.updates(Progress()), math.ceil(len(per_epoch[0]) / 2) + 1))
    first_epoch = [p for p in updates if p is not updates[-1]]
    assert sorted(i for numbers in numbers_of(first_epoch) for n in numbers for i in n) == list(range(len(corpus)))
    assert [p.step for p, _ in updates] == list(range(1, len(updates) + 1))
    assert [(p.epoch, p.batch) for p, _ in first_epoch[:2]] == [(0, 2), (0, 4)]
    assert (first_epoch[-1][0].epoch, first_epoch[-1][0].batch) == (1, 0)
    assert len(first_epoch[-1][1]) == 1
    assert (updates[-1][0].epoch, updates[-1][0].batch) == (1, 2)
    assert numbers_of(updates[-1:])[0] == [n.tolist() for n in per_epoch[1][:2]]
    assert numbers_of(first_epoch) != numbers_of(updates[-1:])


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_what_comes_next_follows_from_the_progress_alone(corpus: TokenisedCorpus, accumulate: int) -> None:
    batching = BatchingConfig(max_tokens=40, accumulate=accumulate)
    updates = list(islice(make_trainer(corpus, batching=batching).updates(Progress()), 30))
    assert updates[-1][0].epoch > 0
    for k in range(29):
        (after, numbers) = next(make_trainer(corpus, batching=batching).updates(updates[k][0]))
        assert after == updates[k + 1][0]
        assert numbers_of([(after, numbers)]) == numbers_of([updates[k + 1]])


class Noted:
    """A corpus that writes down which epochs it was asked for."""

    def __init__(self, corpus: TokenisedCorpus) -> None:
        self.corpus = corpus
        self.asked: list[int] = []

    def of_epoch(self, epoch: int) -> Pairs:
        self.asked.append(epoch)
        return self.corpus.of_epoch(epoch)


def test_an_update_reads_the_pieces_of_its_own_epoch(corpus: TokenisedCorpus) -> None:
    """Which is the one that the update before it led to."""
    trainer, noted = make_trainer(corpus), Noted(corpus)
    updates = list(islice(trainer.updates(Progress()), 12))
    trainer.corpus = noted
    told = [trainer.update(after, numbers).epoch for after, numbers in updates]
    assert noted.asked == told == [0, *(after.epoch for after, _ in updates[:-1])]
    assert noted.asked[-1] > 0


def test_ranks_share_the_batches(corpus: TokenisedCorpus) -> None:
    whole = make_trainer(corpus)
    shares = []
    for rank in (0, 1):
        trainer = make_trainer(corpus)
        trainer.world = World(rank=rank, size=2, device=CPU)
        shares.append([n.tolist() for n in trainer.epoch_batches(0)])
    assert len(shares[0]) == len(shares[1])
    assert {tuple(n) for share in shares for n in share} == {tuple(n.tolist()) for n in whole.epoch_batches(0)}


def test_seeds_of_steps_are_all_different_and_torch_takes_them() -> None:
    seeds = {step_seed(seed, step, rank) for seed in range(5) for step in range(50) for rank in range(3)}
    assert len(seeds) == 750
    assert step_seed(1, 2, 0) == step_seed(1, 2, 0)
    for seed in (min(seeds), max(seeds)):
        torch.manual_seed(seed)


# ---- when it ends


def test_validations_and_checkpoints_come_when_due_and_at_the_end(corpus: TokenisedCorpus) -> None:
    witness = Witness()
    assert isinstance(witness, Listener)
    last = witness.train(make_trainer(corpus), Progress())
    assert [r.step for r in witness.steps] == list(range(1, 12))
    assert [r.step for r in witness.validations] == [4, 8, 11] == [p.step for p in witness.saved]
    assert [p.finished for p in witness.saved] == [False, False, True]
    assert not any(p.interim for p in witness.saved)
    assert last == witness.saved[-1]
    assert last.history == tuple(witness.validations)


@pytest.mark.parametrize(
    ("scores", "ends"),
    [([1, 2, 3, 4, 5, 6], 24), ([3, 2, 2, 9, 9, 9], 12), ([1, 0, 2, 1, 2, 9], 20), ([5, 5, 5, 5, 5, 5], 12)],
)
def test_patience_counts_validations_without_a_better_one(
    corpus: TokenisedCorpus, scores: list[float], ends: int
) -> None:
    trainer = make_trainer(corpus, training=with_training(max_steps=24, patience=2))
    witness = Witness(scores=[float(score) for score in scores])
    last = witness.train(trainer, Progress())
    assert (last.step, last.finished) == (ends, True)
    assert witness.saved[-1] == last


@pytest.mark.parametrize(("stop_at", "interim"), [(1, True), (4, False), (6, True), (11, False)])
def test_stopping_saves_once_what_was_done(corpus: TokenisedCorpus, stop_at: int, interim: bool) -> None:
    witness = Witness()
    last = witness.train(make_trainer(corpus), Progress(), stop_at)
    assert last.step == stop_at == witness.saved[-1].step
    assert [p.step for p in witness.saved] == [s for s in (4, 8, 11) if s < stop_at] + [stop_at]
    assert witness.saved[-1].interim == interim
    assert last.finished == (stop_at == 11)


def test_a_run_that_is_over_does_nothing(corpus: TokenisedCorpus) -> None:
    witness = Witness()
    trainer = make_trainer(corpus)
    before = everything(trainer)
    over = Progress(step=11, epoch=1, batch=2)
    assert witness.train(trainer, over) == replace(over, finished=True)
    assert same_bits(everything(trainer), before)
    assert not witness.steps
    assert not witness.saved


def test_more_steps_may_be_added(corpus: TokenisedCorpus) -> None:
    trainer = make_trainer(corpus)
    over = Witness().train(trainer, Progress())
    witness = Witness()
    trainer.training = with_training(max_steps=13)
    last = witness.train(trainer, over)
    assert [r.step for r in witness.steps] == [12, 13]
    assert (last.step, last.finished) == (13, True)
    assert [r.step for r in last.history] == [4, 8, 11, 12, 13]


# ---- a resumed run is one that never stopped


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("stops", [[1], [4], [5], [10], [2, 3, 9]], ids=str)
@pytest.mark.parametrize(
    ("precision", "training"),
    [
        ("fp32", TRAINING),
        ("bf16", TRAINING),
        ("fp32", with_training(r_drop=2.0)),
        ("fp32", with_training(ema=0.8)),
        ("fp32", with_training(optimizer="muon")),
        ("fp32", with_training(optimizer="muon", ema=0.8, r_drop=2.0)),
    ],
    ids=["fp32", "bf16", "R-Drop", "moving average", "Muon", "all three"],
)
def test_resuming_from_disk_changes_no_bit(
    corpus: TokenisedCorpus, tmp_path: Path, stops: list[int], precision: Precision, training: TrainingConfig
) -> None:
    config = replace(TINY, attention_dropout=0.3, activation_dropout=0.1)
    whole = make_trainer(corpus, config=config, precision=precision, training=training)
    straight = Witness()
    end = straight.train(whole, Progress())
    assert end.epoch > 0  # the border of an epoch was crossed

    progress, history = Progress(), list[Any]()
    for stop_at in (*stops, 0):
        trainer = make_trainer(corpus, config=config, precision=precision, training=training)
        if saved_steps(tmp_path):
            for parameter in trainer.model.parameters():
                parameter.data.fill_(7.0)  # nothing but the disk may carry anything over
            progress = restore(tmp_path, trainer)
            assert progress.interim == (progress.step not in (4, 8, 11))
        torch.rand(stop_at + 1)  # nor may the random state
        witness = Witness(tmp_path)
        progress = witness.train(trainer, progress, stop_at)
        history += witness.steps
    assert same_bits(everything(trainer), everything(whole))
    assert progress == end
    assert history == straight.steps


def test_the_average_is_validated_and_saved_and_steers_nothing(corpus: TokenisedCorpus, tmp_path: Path) -> None:
    trainer, plain = make_trainer(corpus, training=with_training(ema=0.8)), make_trainer(corpus)
    seen: list[dict[str, Tensor]] = []
    history: list[dict[str, Tensor]] = []

    class Looks(Witness):
        def stepped(self, result: StepResult) -> None:
            super().stepped(result)
            history.append({name: value.clone() for name, value in unique_weights(trainer.model).items()})

        def validate(self, model: Transformer, step: int) -> DevResult:
            seen.append({name: value.clone() for name, value in unique_weights(model).items()})
            return super().validate(model, step)

    Looks(tmp_path).train(trainer, Progress())
    Witness().train(plain, Progress())
    assert same_bits(unique_weights(trainer.model), unique_weights(plain.model))
    for step, found in zip((4, 8, 11), seen, strict=True):
        shares = torch.tensor([0.8 ** (step - 1 - i) for i in range(step)])
        for name, value in found.items():
            expected = sum(s * weights[name] for s, weights in zip(shares / shares.sum(), history, strict=False))
            torch.testing.assert_close(value, expected)
        assert same_bits(load_weights(tmp_path, step), found)
    assert not same_bits(seen[-1], history[-1])


def test_a_checkpoint_without_the_weights_beside_their_average_is_refused(
    corpus: TokenisedCorpus, tmp_path: Path
) -> None:
    Witness(tmp_path).train(make_trainer(corpus), Progress())
    with pytest.raises(CheckpointError, match="The weights beside their average are missing"):
        restore(tmp_path, make_trainer(corpus, training=with_training(ema=0.8)))


def test_a_kill_costs_only_the_work_since_the_last_checkpoint(corpus: TokenisedCorpus, tmp_path: Path) -> None:
    """Steps 5 to 7 were done and lost: they are done again, in the same way."""
    straight, whole = Witness(), make_trainer(corpus)
    straight.train(whole, Progress())
    lost = Witness(tmp_path)
    with pytest.raises(ZeroDivisionError):
        lost.train(make_trainer(corpus, rate=lambda step: whole.rate(step) / (step != 8)), Progress())
    assert [r.step for r in lost.steps] == list(range(1, 8))
    trainer, witness = make_trainer(corpus), Witness(tmp_path)
    progress = restore(tmp_path, trainer)
    assert progress.step == 4
    witness.train(trainer, progress)
    assert witness.steps == straight.steps[4:]
    assert same_bits(everything(trainer), everything(whole))


def test_the_seed_matters(corpus: TokenisedCorpus) -> None:
    """And so the equalities above are not those of runs that have no randomness in them."""
    ends = []
    for training in (TRAINING, with_training(seed=4)):
        torch.manual_seed(0)
        trainer = make_trainer(corpus)
        trainer.training = training
        Witness().train(trainer, Progress())
        ends.append(everything(trainer))
    assert not same_bits(*ends)
