"""Initial weights."""

from torch import nn


def initialise(model: nn.Module) -> None:
    """Glorot-uniform matrices, zero biases, embeddings N(0, 1/d_model), from torch's global generator.

    Differs: the paper does not say. These are tensor2tensor's choices; 1/d_model makes embeddings times
    sqrt(d_model) unit variance, and logits of a tied output layer near unit variance. Recurrent layers: every gate's
    matrices Glorot-uniform, and an LSTM's forget gates open (bias 1; Jozefowicz et al., 2015).
    """
    for module in model.modules():
        match module:
            case nn.Linear():
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            case nn.Conv1d():
                _glorot_uniform(module)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            case nn.LSTM() | nn.GRU():
                _initialise_cells(module)
            case nn.Embedding():
                nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
            case _:
                pass
    for name, parameter in model.named_parameters():
        if name.endswith("positions.weight"):
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)


def _glorot_uniform(convolution: nn.Conv1d) -> None:
    """As `xavier_uniform_`, which takes the filters of all groups for what one number goes into."""
    inputs, kernel = convolution.weight.shape[1:]
    outputs = convolution.out_channels // convolution.groups
    bound = 3**0.5 * (2 / ((inputs + outputs) * kernel)) ** 0.5
    nn.init.uniform_(convolution.weight, -bound, bound)


def _initialise_cells(cells: nn.LSTM | nn.GRU) -> None:
    w_ih, w_hh, b_ih, b_hh = cells.all_weights[0]
    gates = 4 if isinstance(cells, nn.LSTM) else 3
    for matrix in (*w_ih.chunk(gates), *w_hh.chunk(gates)):
        nn.init.xavier_uniform_(matrix)
    nn.init.zeros_(b_ih)
    nn.init.zeros_(b_hh)
    if isinstance(cells, nn.LSTM):  # input, forget, cell, output
        nn.init.ones_(b_ih.chunk(gates)[1])
