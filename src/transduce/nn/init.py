"""Initial weights."""

from torch import nn


def initialise(model: nn.Module) -> None:
    """Glorot-uniform matrices, zero biases, embeddings N(0, 1/d_model), from torch's global generator.

    Differs: the paper does not say. These are tensor2tensor's choices; 1/d_model makes embeddings times
    sqrt(d_model) unit variance, and logits of a tied output layer near unit variance.
    """
    for module in model.modules():
        match module:
            case nn.Linear():
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            case nn.Embedding():
                nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
            case _:
                pass
    for name, parameter in model.named_parameters():
        if name.endswith("positions.weight"):
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
