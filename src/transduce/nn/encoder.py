"""The encoder stack, section 3.1."""

from collections.abc import Sequence
from typing import final

from torch import nn

from transduce.nn.feed_forward import FeedForward
from transduce.nn.mixer import Mixer
from transduce.nn.sublayer import Connection
from transduce.shapes import Bool, Float, Tensor


@final
class EncoderLayer(nn.Module):
    """A mixer (the paper's is self-attention), then the feed-forward network, each inside a connection."""

    def __init__(
        self,
        mixer: Mixer,
        feed_forward: FeedForward,
        connections: tuple[Connection, Connection],
    ) -> None:
        super().__init__()
        self.mixer = mixer
        self.feed_forward = feed_forward
        self.around_mixer, self.around_feed_forward = connections

    def forward(self, x: Float[Tensor, "B S D"], real: Bool[Tensor, "B S"] | None = None) -> Float[Tensor, "B S D"]:
        """One layer over whole sequences."""
        x = self.around_mixer(x, lambda y: self.mixer(y, real))
        return self.around_feed_forward(x, self.feed_forward)  # type: ignore[no-any-return]


@final
class Encoder(nn.Module):
    """N layers; `norm` is the last LayerNorm of a pre-norm stack, the identity after post-norm layers."""

    def __init__(self, layers: Sequence[EncoderLayer], norm: nn.LayerNorm | nn.Identity) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = norm

    def forward(self, x: Float[Tensor, "B S D"], real: Bool[Tensor, "B S"] | None = None) -> Float[Tensor, "B S D"]:
        """Embedded source to memory. `real` is False at padding, which no real position sees."""
        for layer in self.layers:
            x = layer(x, real)
        return self.norm(x)  # type: ignore[no-any-return]
