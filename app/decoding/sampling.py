"""From log-probabilities to one token. Knows nothing of where the probabilities come from."""

import torch
from torch import Tensor


def choose(log_probs: Tensor, temperature: float, generator: torch.Generator) -> int:
    """The next token: the most likely at temperature 0, otherwise a draw.

    The draw inverts the cumulative distribution at one uniform number, so that two arms whose distributions agree and whose
    generators hold the same seed choose the same token.

    Args:
        log_probs: shape (vocabulary,), temperature already applied.
        temperature: only asked whether it is 0.
        generator: the arm's own, on the CPU, seeded with the round's seed.
    """
    if temperature == 0:
        return int(log_probs.argmax())
    cumulative = log_probs.exp().double().cumsum(-1)
    point = torch.rand(1, generator=generator, dtype=torch.float64).to(log_probs.device) * cumulative[-1]
    token = int(torch.searchsorted(cumulative, point, right=True))
    # The product may round up to the total itself, behind which there is no token.
    return token if token < len(log_probs) else int(log_probs.argmax())
