"""Where a plain Transformer breaks: all positions become alike, and then nothing below can change what comes out.

Twelve encoder and twelve decoder layers without residual connections, and the same with one around a single kind of
sub-layer of the decoder. Nothing is trained: after one forward and one backward pass, how different are the positions
of a sentence behind every decoder layer, and how large is the gradient of every decoder layer?
"""

import torch
from torch import Tensor

from transduce.nn import PostNorm, Transformer, TransformerConfig, build, label_smoothed_nll

DEPTH, D_MODEL, PIECES, PAD = 12, 64, 2000, 0
WHERE = {
    "nowhere": None,
    "self-attention": "around_mixer",
    "cross-attention": "around_cross_attention",
    "feed-forward": "around_feed_forward",
}


def plain(residual_around: str | None) -> Transformer:
    """A model without residual connections, or with those around one sub-layer of every decoder layer."""
    torch.manual_seed(1)
    config = TransformerConfig(
        n_layers=DEPTH, d_model=D_MODEL, d_ff=128, n_heads=4, d_k=16, d_v=16, p_drop=0.0, residual=False
    )
    model = build(config, PIECES, PIECES, PAD)
    for layer in model.decoder.layers if residual_around else ():
        setattr(layer, residual_around, PostNorm(D_MODEL, 0.0))
    return model


def spread(y: Tensor) -> float:
    """How far positions are from the mean of their sentence, by how far they are from 0."""
    y = y.detach()
    return float((y - y.mean(1, keepdim=True)).norm() / y.norm())


def look(model: Transformer) -> tuple[list[float], list[float], list[float]]:
    """Behind every encoder layer and every decoder layer the spread; and the norm of every decoder layer's gradient."""
    spreads: dict[str, list[float]] = {"encoder": [], "decoder": []}
    for side, found in spreads.items():
        for layer in getattr(model, side).layers:
            layer.register_forward_hook(lambda module, inputs, y, found=found: found.append(spread(y)))
    ids = torch.randint(PAD + 1, PIECES, (32, 20))
    loss, n = label_smoothed_nll(model(ids, ids), model.output_weight, ids, 0.0, PAD)
    (loss / n).backward()
    norms = [float(torch.nn.utils.get_total_norm([p.grad for p in m.parameters()])) for m in model.decoder.layers]
    return spreads["encoder"], spreads["decoder"], norms


def main() -> dict[str, tuple[list[float], list[float], list[float]]]:
    """Print the table; what `look` says of each model."""
    found = {}
    shown = (1, 4, 8, 11, 12)
    print(f"{'residual around':<17}{'':<10}" + "".join(f"{f'layer {i}':>10}" for i in shown))
    for name, around in WHERE.items():
        found[name] = encoder, decoder, norms = look(plain(around))
        if name == "nowhere":
            print(f"{'(the encoder)':<17}{'spread':<10}" + "".join(f"{encoder[i - 1]:>10.0e}" for i in shown))
        for what, values in (("spread", decoder), ("gradient", norms)):
            print(f"{name:<17}{what:<10}" + "".join(f"{values[i - 1]:>10.0e}" for i in shown))
    return found


if __name__ == "__main__":
    main()
