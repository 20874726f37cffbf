"""The legend of every tensor annotation in this package.

B batch (sentences), S source positions, T target positions (or any one sequence), D d_model, H n_heads, K d_k,
F d_ff, V vocabulary, W beam width, N = B * W rows being decoded, L key positions,
R and C rows and columns of any matrix.

Annotations are jaxtyping strings such as `Float[Tensor, "B T D"]`; tests check them at run time, nothing else does.
Files that use them must not say `from __future__ import annotations`.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Bool", "Float", "Int", "Tensor"]
