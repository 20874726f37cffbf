"""Teacher-forced scores: the probability that a model gives to an output somebody else wrote."""

import torch

from transduce.data.collate import Batch
from transduce.decoding.search import running_sum_dtype
from transduce.decoding.vocabulary import log_normaliser
from transduce.nn import Transformer
from transduce.text.pieces import IDS

_POSITIONS = 256  # whose logits are in memory at once


@torch.no_grad()
def score_pairs(model: Transformer, batch: Batch) -> list[float]:
    """Log P(target | source) of every pair: the sum over the target's pieces and its end symbol, in float32.

    No length penalty and no label smoothing. The model is used as it is: call `model.eval()` first, or dropout will
    make the scores random.
    """
    states = model(batch.source, batch.target_in)  # B T D
    real = batch.target_out != IDS.pad
    states, targets = states[real], batch.target_out[real]  # B T D -> P D: padding is not scored
    weight = model.output_weight
    token_scores = states.new_zeros(real.shape, dtype=running_sum_dtype(states.device))
    token_scores[real] = torch.cat(
        [
            _log_probs(part @ weight.T, wanted)
            for part, wanted in zip(torch.split(states, _POSITIONS), torch.split(targets, _POSITIONS), strict=True)
        ]
    ).to(token_scores.dtype)
    return token_scores.sum(-1).tolist()  # type: ignore[no-any-return]


def _log_probs(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    logits = logits.float()
    return logits.gather(1, targets[:, None]).squeeze(1) - log_normaliser(logits)
