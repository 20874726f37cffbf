"""Self-attention as a channel between agents that must share what they see.

Eight agents. Each has a name tag and a number, and sees the tag of another agent, whose number it has to say. Tags
change hands every time, so *who* knows the answer has to be found by *what* it says. Three channels of the same size:
attention (each agent listens to whom it needs), the mean of all messages (everybody hears the same), and none.
"""

import torch
from torch import Tensor, nn

from transduce.nn import Encoder, EncoderLayer, FeedForward, MultiHeadAttention, PostNorm, SelfAttention, initialise

AGENTS, TAGS, NUMBERS = 8, 16, 16
WIDTH, HEADS, LAYERS = 32, 4, 2
STEPS, BATCH, SEEDS = 200, 64, (1, 2)
RATE = 0.004  # of 0.001, 0.002 and 0.004 the best for each of the three channels


class Mean(nn.Module):
    """What all agents say, averaged. Messages are twice as wide as a state, for as many weights as attention has."""

    def __init__(self) -> None:
        super().__init__()
        self.say, self.hear = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """B agents D -> B agents D, the same for every agent."""
        return self.hear(self.say(x).mean(1, keepdim=True)).expand_as(x)


class Silence(Mean):
    """The same weights, but each agent hears only itself."""

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """B agents D -> B agents D."""
        return self.hear(self.say(x))


CHANNELS = {
    "attention": lambda: SelfAttention(MultiHeadAttention(WIDTH, HEADS), causal=False),
    "mean": Mean,
    "none": Silence,
}


class Team(nn.Module):
    """All agents have the same weights: look, communicate, think (twice), and say a number."""

    def __init__(self, channel: str) -> None:
        super().__init__()
        self.look = nn.ModuleList(nn.Embedding(n, WIDTH) for n in (TAGS, NUMBERS, TAGS))
        layers = [
            EncoderLayer(
                CHANNELS[channel](), FeedForward(WIDTH, 2 * WIDTH), (PostNorm(WIDTH, 0.0), PostNorm(WIDTH, 0.0))
            )
            for _ in range(LAYERS)
        ]
        self.talk = Encoder(layers, nn.Identity())  # no positions: agents have no order
        self.answer = nn.Linear(WIDTH, NUMBERS)
        initialise(self)

    def forward(self, seen: Tensor) -> Tensor:
        """What the agents saw, B agents 3, to logits, B agents NUMBERS."""
        x = sum(table(seen[..., i]) for i, table in enumerate(self.look))
        return self.answer(self.talk(x * WIDTH**0.5))


def scenes(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What n teams see, (tag, number, tag asked for), and what they ought to answer."""
    tags = torch.rand(n, TAGS, generator=generator).argsort(-1)[:, :AGENTS]
    numbers = torch.randint(NUMBERS, (n, AGENTS), generator=generator)
    other = (torch.arange(AGENTS) + torch.randint(1, AGENTS, (n, AGENTS), generator=generator)) % AGENTS
    return torch.stack((tags, numbers, tags.gather(1, other)), dim=-1), numbers.gather(1, other)


def error(channel: str, seed: int) -> float:
    """The share of wrong answers of a trained team in 500 new scenes."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    team = Team(channel)
    optimizer = torch.optim.Adam(team.parameters(), lr=RATE)
    for step in range(STEPS):
        seen, right = scenes(BATCH, generator)
        loss = nn.functional.cross_entropy(team(seen).flatten(0, 1), right.flatten())
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 50)
        optimizer.step()
    with torch.no_grad():
        seen, right = scenes(500, generator)
        return float((team(seen).argmax(-1) != right).float().mean())


def main() -> dict[str, float]:
    """Print the table; the error of each channel."""
    found = {}
    print(f"{'channel':<12}{'weights':>9}{'wrong answers':>16}")
    for channel in CHANNELS:
        found[channel] = sum(error(channel, seed) for seed in SEEDS) / len(SEEDS)
        weights = sum(p.numel() for p in Team(channel).parameters())
        print(f"{channel:<12}{weights:>9,}{found[channel]:>15.1%}")
    print(f"{'guessing':<12}{'':>9}{1 - 1 / NUMBERS:>15.1%}")
    return found


if __name__ == "__main__":
    main()
