"""The rows of Table 1: their operations and their paths, against forms derived by hand."""

import pytest
import torch

from tools.pages import ROOT, section
from transduce.lab.rivals import RIVALS, path_length, reach, sized, subject
from transduce.lab.trace import count, unfused

pytestmark = pytest.mark.unit

N, D, W = 20, 128, 5


def padded(n: int, r: int) -> int:
    """Blocks of r."""
    return -(-n // r) * r


# Two operations for each multiplication, n = N, d = D, k or r = W; causal layers compute the scores that they mask.
FORWARD = {
    "self-attention (mixing)": 2 * N * N * D * 2,
    "self-attention (layer)": 2 * (4 * N * D * D + 2 * N * N * D),
    "LSTM": 2 * N * 8 * D * D,
    "GRU": 2 * N * 6 * D * D,
    "convolution": 2 * W * N * D * D,
    "dilated convolution": 2 * min(W, (N - 1) // W + 1) * N * D * D,  # positions W apart that a sequence has
    "separable convolution": 2 * (W * N * D + N * D * D),
    "restricted (mixing)": 2 * padded(N, W) * (2 * W - 1) * D * 2,
    "restricted (layer)": 2 * (4 * N * D * D + 2 * padded(N, W) * (2 * W - 1) * D),
}


@pytest.mark.parametrize("name", RIVALS)
def test_operations_are_those_of_the_closed_form(name: str) -> None:
    one = subject(RIVALS[name], batch=1, n=N, d=D, w=W)
    with unfused():
        ahead, both = count(one.forward, one.x)
    assert ahead.flops == FORWARD[name]
    # every product has two gradients, but those of the first state of a recurrent layer, which is no input
    unneeded = {"LSTM": 2 * 4 * D * D, "GRU": 2 * 3 * D * D}.get(name, 0)
    assert both.flops == 3 * FORWARD[name] - unneeded


@pytest.mark.parametrize("name", RIVALS)
def test_operations_in_sequence_grow_with_recurrence_only(name: str) -> None:
    found = []
    for n in (16, 17, 40):
        one = subject(RIVALS[name], batch=1, n=n, d=8, w=4)
        with unfused():
            found.append(count(one.forward, one.x)[0].chain)
    if name == "LSTM":  # product, sum, sigmoid, times, plus, tanh, times; the input's product and the last
        assert found == [1 + 7 * n for n in (16, 17, 40)]
    elif name == "GRU":
        assert found[1] - found[0] > 0
        assert found[2] - found[1] == 23 * (found[1] - found[0])
    else:
        assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize(("d", "heads"), [(8, "one"), (128, "several")])
def test_operations_in_sequence_are_those_of_the_page(name: str, d: int, heads: str) -> None:
    """`7; 8 with several heads` and `1 + 7 n`, forward and with backward."""
    rows = section((ROOT / "docs/lab/table1.md").read_text(encoding="utf-8"), "Operations in sequence")
    row = next(line for line in rows.splitlines() if line.startswith(f"| {name.replace('dilated ', '')}"))
    shown = [
        cell.replace(" with several heads", "").split("; ")[0 if heads == "one" else -1]
        for cell in row.split(" | ")[1:]
    ]
    for n in (16, 40):
        one = subject(RIVALS[name], batch=1, n=n, d=d, w=4)
        with unfused():
            found = [counts.chain for counts in count(one.forward, one.x)]
        for chain, said in zip(found, shown, strict=True):
            constant, _, slope = said.strip(" |").partition(" + ")
            assert chain == int(constant) + n * int(slope.removesuffix(" n") or 0)


# the field of the last of 17 positions, by hand: how far back after each layer, k or r = 3 (a cell of recurrence)
FIELDS = {
    "self-attention (layer)": [16],
    "LSTM": list(range(17)),
    "GRU": list(range(17)),
    "convolution": [2, 4, 6, 8, 10, 12, 14, 16],
    "dilated convolution": [2, 8, 16],  # 2, 2 + 6, 2 + 6 + 18
    "separable convolution": [2, 4, 6, 8, 10, 12, 14, 16],
    "restricted (layer)": [2, 4, 6, 8, 10, 12, 14, 16],
}


@pytest.mark.parametrize("name", FIELDS)
def test_influence_reaches_as_far_as_the_field(name: str) -> None:
    assert reach(RIVALS[name], 17, 3) == FIELDS[name]
    assert path_length(sized(RIVALS[name].layer, 3), 17) == len(FIELDS[name])


@pytest.mark.parametrize(("n", "layers"), [(2, 1), (3, 1), (4, 2), (9, 2), (10, 3), (27, 3), (28, 4)])
def test_dilation_multiplies(n: int, layers: int) -> None:
    dilated = RIVALS["dilated convolution"]
    assert path_length(sized(dilated.layer, 3), n) == layers == len(reach(dilated, n, 3))


def test_a_batch_is_of_sequences() -> None:
    torch.manual_seed(0)
    for rival in RIVALS.values():
        one = subject(rival, batch=3, n=8, d=16, w=4)
        assert one.forward(one.x).numel() == 3 * 8 * 16
