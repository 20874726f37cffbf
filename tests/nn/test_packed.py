import pytest
import torch
from torch.nn.functional import linear

from transduce.nn.packed import Format, pack

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("form", "tolerance"), [("fp32", 1e-5), ("bf16", 0.02), ("int8", 0.02)])
@pytest.mark.parametrize(("outputs", "inputs"), [(48, 32), (300, 280), (300, 250)])
def test_a_packed_product_is_the_product(
    form: Format, tolerance: float, bias: bool, relu: bool, outputs: int, inputs: int
) -> None:
    weight, b = torch.randn(outputs, inputs), torch.randn(outputs) if bias else None
    packed = pack(weight, b, form, relu)
    for rows in (1, 3, 40):
        x = torch.randn(rows, inputs)
        expected = linear(x, weight, b)
        expected = expected.relu() if relu else expected
        found = packed(x.bfloat16() if form == "bf16" else x)
        assert found.dtype == (torch.bfloat16 if form == "bf16" else torch.float32)
        assert (found.float() - expected).norm() <= tolerance * expected.norm()


def test_without_the_packing_operations_the_product_is_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    weight, b, x = torch.randn(300, 260), torch.randn(300), torch.randn(5, 260)
    assert torch.equal(pack(weight, b, "fp32")(x), linear(x, weight, b))
    assert torch.equal(pack(weight, b, "fp32", relu=True)(x), linear(x, weight, b).relu())


def test_a_small_weight_is_not_rounded_to_eight_bits() -> None:
    weight, x = torch.randn(64, 32), torch.randn(3, 32)
    torch.testing.assert_close(pack(weight, None, "int8")(x), linear(x, weight))
