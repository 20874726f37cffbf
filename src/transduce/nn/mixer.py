"""What a layer type is: something that lets the positions of a sequence see each other (section 4 compares them).

Self-attention is the paper's; recurrence, convolution and restricted self-attention are its rivals in Table 1. A layer
of any type takes the same place in the encoder and the decoder, trains, and decodes.
"""

from typing import Any, Protocol, Self, runtime_checkable

from transduce.shapes import Bool, Float, Int, Tensor


@runtime_checkable  # so that tests can check annotations at run time
class MixerState(Protocol):
    """What a decoding layer remembers of the positions so far: a value, never changed."""

    def select(self, rows: Int[Tensor, " M"]) -> Self:
        """The state whose row i is this one's row rows[i]."""
        ...


@runtime_checkable
class Mixer(Protocol):
    """A layer type over whole sequences."""

    def __call__(self, x: Float[Tensor, "B T D"], real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T D"]:
        """Outputs for every position. `real` is False at padding, which stands at the right; None: there is none."""
        ...


@runtime_checkable
class CausalMixer(Mixer, Protocol):
    """A layer type of which output t depends on inputs up to t: whole sequences, and one position at a time."""

    def start(self, n: int) -> MixerState:
        """The state of `n` rows before any position."""
        ...

    def step(self, x: Float[Tensor, "N D"], state: Any) -> tuple[Float[Tensor, "N D"], MixerState]:
        """The next position's output, and the state that includes it."""
        ...
