"""Matrices laid out once for the processor's units: what inference multiplies with.

A plain product lays its weight out anew at every call, which is most of its time when few rows are multiplied. The
operations used here are those that PyTorch's own compiler uses for frozen weights; where a build of PyTorch lacks them,
float formats fall back to the plain product.

Each call of them costs 35 microseconds before it multiplies anything, which for a narrow matrix is most of its time. So
these go through the plain product, with the weight transposed once: then it is not laid out anew either.
"""

import warnings
from collections.abc import Callable
from typing import Literal

import torch
from torch.nn.functional import linear

from transduce.shapes import Float, Tensor

Format = Literal["fp32", "bf16", "int8"]
Product = Callable[[Tensor], Tensor]
"""x -> x W^T + b, or max(0, x W^T + b), for rows x."""

_NARROW = 256  # the smaller side of a float32 matrix that is multiplied plainly
_TINY = 2**16  # elements of a matrix that is not worth 8 bits


def pack(weight: Float[Tensor, "E D"], bias: Float[Tensor, " E"] | None, form: Format, relu: bool = False) -> Product:
    """The product with a weight as `nn.Linear` holds it, followed by a ReLU if asked for.

    `fp32` takes and gives float32, `bf16` bfloat16. `int8` takes and gives float32: weights are rounded to 8 bits with
    a scale for each output, inputs with one scale for all rows of a call, so a row's output depends a little on the
    others. A weight of at most 256 x 256 stays in float32, which is faster then. Nothing of weight and bias is shared.
    """
    weight, bias = weight.detach().clone(), None if bias is None else bias.detach().clone()
    match form:
        case "int8" if weight.numel() <= _TINY:
            return _transposed(weight.float(), bias, relu)
        case "fp32" if min(weight.shape) <= _NARROW:
            return _transposed(weight.float(), bias, relu)
        case "fp32":
            return _pack_float(weight.float(), None if bias is None else bias.float(), relu)
        case "bf16":
            return _pack_float(weight.bfloat16(), None if bias is None else bias.bfloat16(), relu)
        case "int8":
            return _pack_int8(weight.float(), bias, relu)


def _transposed(weight: Tensor, bias: Tensor | None, relu: bool) -> Product:
    columns = weight.t().contiguous()  # E D -> D E
    if bias is None:  # adding zeros would write every product twice
        return lambda x: (x @ columns).relu_() if relu else x @ columns
    added = bias.float()
    return lambda x: torch.addmm(added, x, columns).relu_() if relu else torch.addmm(added, x, columns)


def _pack_float(weight: Tensor, bias: Tensor | None, relu: bool) -> Product:
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):  # type: ignore[no-untyped-call]
        return lambda x: linear(x, weight, bias).relu_() if relu else linear(x, weight, bias)
    product = torch.ops.mkldnn._linear_pointwise.default
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, None)
    after = "relu" if relu else "none"
    return lambda x: product(x, packed, bias, after, [], "")


def has_int8() -> bool:
    """Whether PyTorch multiplies 8-bit matrices fast here: on x86, by FBGEMM. `pack` asks nobody."""
    return torch.backends.quantized.engine in ("x86", "fbgemm", "onednn")


def _pack_int8(weight: Tensor, bias: Tensor | None, relu: bool) -> Product:
    scales = weight.abs().amax(1).clamp_min(1e-12).double() / 127
    zeros = torch.zeros(len(weight), dtype=torch.long)
    with warnings.catch_warnings():  # PyTorch means to replace this kind of tensor, and has no product as fast yet
        warnings.filterwarnings("ignore", ".*quantize_per_channel", UserWarning)
        quantised = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        packed = torch.ops.quantized.linear_prepack(quantised, None if bias is None else bias.float())
    product = torch.ops.quantized.linear_relu_dynamic if relu else torch.ops.quantized.linear_dynamic
    # Without VNNI two 8-bit products are added in 16 bits and could overflow: inputs then take 7 bits.
    seven_bits = not torch.cpu.get_capabilities().get("avx512_vnni", False)
    return lambda x: product(x, packed, seven_bits)
