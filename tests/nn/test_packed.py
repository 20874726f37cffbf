import pytest
import torch
from torch.nn.functional import linear

from transduce.nn.packed import Format, pack

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("form", "tolerance"), [("fp32", 1e-5), ("bf16", 0.02), ("int8", 0.02)])
def test_a_packed_product_is_the_product(form: Format, tolerance: float, bias: bool, relu: bool) -> None:
    weight, b = torch.randn(48, 32), torch.randn(48) if bias else None
    packed = pack(weight, b, form, relu)
    for rows in (1, 3, 40):
        x = torch.randn(rows, 32)
        expected = linear(x, weight, b)
        expected = expected.relu() if relu else expected
        found = packed(x.bfloat16() if form == "bf16" else x)
        assert found.dtype == (torch.bfloat16 if form == "bf16" else torch.float32)
        assert (found.float() - expected).norm() <= tolerance * expected.norm()


def test_without_the_packing_operations_the_product_is_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    weight, b, x = torch.randn(8, 4), torch.randn(8), torch.randn(5, 4)
    assert torch.equal(pack(weight, b, "fp32")(x), linear(x, weight, b))
    assert torch.equal(pack(weight, b, "fp32", relu=True)(x), linear(x, weight, b).relu())
