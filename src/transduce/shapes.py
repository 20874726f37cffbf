"""The legend of every tensor annotation in this package.

B batch (sentences), S source positions, T target positions (or any one sequence), L key positions; D d_model,
H n_heads, K d_k, Kv d_v, HK all heads side by side, F d_ff, V vocabulary; W beam width, N = B * W rows being decoded,
P and Q prefixes or outputs of a sentence, M rows or sentences that are chosen, X ids that are never produced,
G groups of neighbouring pieces; E outputs of a linear map; R and C rows and columns of any other matrix (C:
candidates, too), I layers. `BW` is one axis of B times W.

Annotations are jaxtyping strings such as `Float[Tensor, "B T D"]`; tests check them at run time, nothing else does.
Files that use them must not say `from __future__ import annotations`.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Bool", "Float", "Int", "Tensor"]
