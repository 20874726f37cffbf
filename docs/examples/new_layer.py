"""A layer type from outside the package: a moving average in the place of self-attention.

Each channel remembers its past with a fading that it learns: s_t = a s_{t-1} + (1 - a) v_t. All that the package asks
of a layer type: `forward` for whole sequences, `start` and `step` for one position at a time, a state with `select`.
A Transformer is put together from it and public parts, learns to copy, and decodes with the package's own search.
"""

import random
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transduce.data.collate import collate
from transduce.decoding import greedy
from transduce.nn import (
    CausalMixer,
    Decoder,
    DecoderLayer,
    Embedding,
    Encoder,
    EncoderLayer,
    FeedForward,
    MultiHeadAttention,
    PostNorm,
    SelfAttention,
    SinusoidalPositions,
    Transformer,
    initialise,
    label_smoothed_nll,
)
from transduce.text import IDS

WIDTH, HEADS, SYMBOLS, LONGEST = 32, 4, 8, 6
STEPS, BATCH, SEEDS = 250, 64, (1, 2)


@dataclass(frozen=True)
class Average:
    """What the layer remembers of a sequence so far: one vector, however long it is."""

    s: Tensor

    def select(self, rows: Tensor) -> "Average":
        """The state whose row i is this one's row rows[i]: a search keeps some rows and drops others."""
        return Average(self.s.index_select(0, rows))


class MovingAverage(nn.Module):
    """Causal, so it can stand in a decoder; and what comes after a position, padding too, does not change it."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.w_v, self.w_o = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.fading = nn.Parameter(torch.linspace(-3.0, 3.0, d_model))  # a = sigmoid(fading): from 0.05 to 0.95

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """Whole sequences at once: B T D -> B T D."""
        a, t = self.fading.sigmoid(), torch.arange(x.shape[1])
        apart = (t[:, None] - t).clamp_min(0)[..., None]  # T T 1
        weights = ((1 - a) * a**apart).masked_fill((t[:, None] < t)[..., None], 0.0)
        return self.w_o(torch.einsum("tsd,bsd->btd", weights, self.w_v(x)))

    def start(self, n: int) -> Average:
        """The state of n rows before any position."""
        return Average(self.fading.new_zeros(n, len(self.fading)))

    def step(self, x: Tensor, state: Average) -> tuple[Tensor, Average]:
        """One position of every row: N D -> N D, and the state that includes it."""
        a = self.fading.sigmoid()
        s = a * state.s + (1 - a) * self.w_v(x)
        return self.w_o(s), Average(s)


def mixer(name: str, causal: bool) -> CausalMixer:
    """What stands in the place of self-attention."""
    return MovingAverage(WIDTH) if name == "moving average" else SelfAttention(MultiHeadAttention(WIDTH, HEADS), causal)


def transformer(name: str) -> Transformer:
    """What `transduce.nn.build` makes, with a layer that it has never heard of."""
    table = nn.Embedding(4 + SYMBOLS, WIDTH)  # after the four special ids
    embedding = Embedding(table, SinusoidalPositions(WIDTH), 0.0)
    around = [PostNorm(WIDTH, 0.0) for _ in range(5)]
    encoder = EncoderLayer(mixer(name, causal=False), FeedForward(WIDTH, 2 * WIDTH), (around[0], around[1]))
    cross, feed_forward = MultiHeadAttention(WIDTH, HEADS), FeedForward(WIDTH, 2 * WIDTH)
    decoder = DecoderLayer(mixer(name, causal=True), cross, feed_forward, (around[2], around[3], around[4]))
    model = Transformer(
        embedding, Encoder([encoder], nn.Identity()), embedding, Decoder([decoder], nn.Identity()), pad=IDS.pad
    )
    initialise(model)
    return model


def rows(n: int, choose: random.Random) -> list[list[int]]:
    """Random rows of ids, of 1 to LONGEST symbols."""
    return [[choose.randrange(4, 4 + SYMBOLS) for _ in range(choose.randint(1, LONGEST))] for _ in range(n)]


def copied(name: str, seed: int) -> float:
    """The share of new rows that a trained model copies without a mistake."""
    torch.manual_seed(seed)
    choose = random.Random(seed)
    model = transformer(name)
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(STEPS):
        batch = collate([(row, row) for row in rows(BATCH, choose)])
        states = model(batch.source, batch.target_in)
        nll, n = label_smoothed_nll(states, model.output_weight, batch.target_out, 0.0, IDS.pad)
        optimizer.zero_grad()
        (nll / n).backward()
        for group in optimizer.param_groups:
            group["lr"] = 0.005 * min((step + 1) / 50, 1 - step / STEPS)
        optimizer.step()
    new = rows(300, choose)
    with torch.no_grad():
        state = model.eval().start(collate([(row, row) for row in new]).source)
        found = greedy(model.step, state, [LONGEST + 2] * len(new), IDS)
    return sum(list(output.ids) == row for output, row in zip(found, new, strict=True)) / len(new)


def main() -> dict[str, float]:
    """Print the table; the share of rows copied, of each layer type."""
    found = {}
    print(f"{'layer type':<20}{'weights':>9}{'copied':>10}")
    for name in ("moving average", "self-attention"):
        found[name] = sum(copied(name, seed) for seed in SEEDS) / len(SEEDS)
        weights = sum(p.numel() for p in transformer(name).parameters())
        print(f"{name:<20}{weights:>9,}{found[name]:>10.1%}")
    return found


if __name__ == "__main__":
    main()
