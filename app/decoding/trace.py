"""How one token came about: what every context of the arm would have said, and how far the principle moved the arm.

Tensors in, plain numbers out; it knows no texts and no page.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

TOP = 5


@dataclass(frozen=True)
class TokenTrace:
    """One token of one arm.

    chosen: the most likely tokens of the arm itself with their probabilities, after nucleus and temperature.
    contexts: the same for every context it reads, of the bare model: first the one without a principle where the arm reads it.
    kl: `KL(arm || prompted)` in nats, 0 for an arm that reads one context; with several principles the last context stands for
        prompted, and for an arm that is guided by an adapter what the adapter says.
    shift: `log p_arm(token) - log p_base(token)` in nats, 0 for an arm that reads one context.
    """

    chosen: list[tuple[int, float]]
    contexts: list[list[tuple[int, float]]]
    kl: float
    shift: float


def trace(logits: Tensor, log_probs: Tensor, token: int) -> TokenTrace:
    """The trace of a token.

    Args:
        logits: of the arm's contexts, shape (contexts, vocabulary).
        log_probs: the arm's, shape (vocabulary,); -inf outside its nucleus.
        token: what was chosen.
    """
    bare = logits.log_softmax(-1)
    values, tokens = torch.cat([log_probs[None], bare]).topk(min(TOP, logits.shape[-1]), dim=-1)
    numbers = torch.zeros(2, device=logits.device)
    if len(logits) > 1:
        kept = log_probs.isfinite()
        inside = log_probs[kept]
        numbers = torch.stack([(inside.exp() * (inside - bare[-1][kept])).sum(), log_probs[token] - bare[0, token]])
    kl, shift = numbers.tolist()
    rows = [
        [(t, p) for t, p in zip(ids, probabilities, strict=True) if p > 0]
        for ids, probabilities in zip(tokens.tolist(), values.exp().tolist(), strict=True)
    ]
    return TokenTrace(rows[0], rows[1:], kl, shift)
