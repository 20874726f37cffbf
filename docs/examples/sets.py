"""Self-attention on sets: without positions, order does not matter.

First, nothing is trained: shuffle a set and then encode it, or encode and then shuffle. The same? Then, why one wants
that. For each number of a set, say what share of the others is smaller. The training sets happen to be sorted, as logs
often are. A model that is told positions learns that the position *is* the answer; one that is not has to compare.
"""

import torch
from torch import Tensor, nn

from transduce.nn import (
    Encoder,
    EncoderLayer,
    FeedForward,
    MultiHeadAttention,
    PostNorm,
    SelfAttention,
    initialise,
    sinusoids,
)

WIDTH, HEADS, LAYERS = 32, 4, 2
STEPS, BATCH, LARGEST, SEEDS = 200, 64, 10, (1, 2)


class OfSets(nn.Module):
    """A number for each number of a set, by an encoder; with `positions`, of a sequence."""

    def __init__(self, positions: bool) -> None:
        super().__init__()
        self.positions = positions
        self.into = nn.Sequential(nn.Linear(1, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        layers = [
            EncoderLayer(
                SelfAttention(MultiHeadAttention(WIDTH, HEADS), causal=False),
                FeedForward(WIDTH, 2 * WIDTH),
                (PostNorm(WIDTH, 0.0), PostNorm(WIDTH, 0.0)),
            )
            for _ in range(LAYERS)
        ]
        self.encoder = Encoder(layers, nn.Identity())
        self.out = nn.Linear(WIDTH, 1)
        initialise(self)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """B n to B n. Sets of different sizes are padded at the right; `real` is False there."""
        states = self.into(x[..., None])
        if self.positions:
            states = states + sinusoids(x.shape[1], WIDTH)
        return self.out(self.encoder(states, real))[..., 0]


def sets(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """n sorted sets of 4 to LARGEST numbers, and where they are real."""
    sizes = torch.randint(4, LARGEST + 1, (n, 1), generator=generator)
    real = torch.arange(LARGEST) < sizes
    x = torch.rand(n, LARGEST, generator=generator).masked_fill(~real, torch.inf).sort(-1).values
    return x.masked_fill(~real, 0.0), real


def share_below(x: Tensor, real: Tensor) -> Tensor:
    """For each number the share of the others that are smaller."""
    below = (x[:, None] < x[..., None]) & real[:, None]
    return below.sum(-1) / (real.sum(-1, keepdim=True) - 1)


def shuffled(x: Tensor, real: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The same sets in another order, padding still at the right; and the order."""
    order = torch.rand(x.shape, generator=generator).masked_fill(~real, 2.0).argsort(-1)
    return x.gather(1, order), order


def order_matters(positions: bool) -> float:
    """The largest difference between encoding what was shuffled and shuffling what was encoded; untrained."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = OfSets(positions)
    x, real = sets(100, generator)
    other, order = shuffled(x, real, generator)
    with torch.no_grad():
        return float((model(other, real) - model(x, real).gather(1, order))[real].abs().max())


def errors(positions: bool, seed: int) -> tuple[float, float]:
    """Mean absolute error on new sets, sorted as in training, and shuffled."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = OfSets(positions)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(STEPS):
        x, real = sets(BATCH, generator)
        loss = (model(x, real) - share_below(x, real))[real].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, real = sets(500, generator)
    other, _ = shuffled(x, real, generator)
    with torch.no_grad():
        as_sorted, as_shuffled = (float((model(y, real) - share_below(y, real))[real].abs().mean()) for y in (x, other))
    return as_sorted, as_shuffled


def main() -> dict[str, tuple[float, float, float]]:
    """Print the table; of each model how much order matters, its error on sorted and on shuffled sets."""
    found = {}
    print(f"{'model':<20}{'order changes':>15}{'error, sorted':>15}{'error, shuffled':>17}")
    for name, positions in (("without positions", False), ("with positions", True)):
        runs = [errors(positions, seed) for seed in SEEDS]
        as_sorted, as_shuffled = (sum(values) / len(SEEDS) for values in zip(*runs, strict=True))
        found[name] = order_matters(positions), as_sorted, as_shuffled
        print(f"{name:<20}{found[name][0]:>15.0e}{as_sorted:>15.3f}{as_shuffled:>17.3f}")
    return found


if __name__ == "__main__":
    main()
