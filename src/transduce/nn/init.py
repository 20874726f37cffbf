"""Initial weights."""

from torch import nn

from transduce.nn.positions import LearnedPositions


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
    for module in model.modules():
        if isinstance(module, LearnedPositions):
            nn.init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)


def _glorot_uniform(convolution: nn.Conv1d) -> None:
    """As `xavier_uniform_`, which takes the filters of all groups for what one number goes into."""
    inputs, kernel = convolution.weight.shape[1:]
    outputs = convolution.out_channels // convolution.groups
    bound = 3**0.5 * (2 / ((inputs + outputs) * kernel)) ** 0.5
    nn.init.uniform_(convolution.weight, -bound, bound)


def _initialise_cells(cells: nn.LSTM | nn.GRU) -> None:
    gates = 4 if isinstance(cells, nn.LSTM) else 3
    for name, parameter in cells.named_parameters():
        if parameter.dim() == 1:
            nn.init.zeros_(parameter)
            if isinstance(cells, nn.LSTM) and name.startswith("bias_ih"):  # input, forget, cell, output
                nn.init.ones_(parameter.chunk(gates)[1])
        else:
            for matrix in parameter.chunk(1 if name.startswith("weight_hr") else gates):  # hr: an LSTM's projection
                nn.init.xavier_uniform_(matrix)
