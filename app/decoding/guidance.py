"""One model's next token guided by another's: personalised alignment at decode time. Tensors in, tensors out; no model, no state."""

import torch
from torch import Tensor


def guided_logits(original: Tensor, personal: Tensor, weight: float, top_k: int) -> Tensor:
    """Over the `top_k` likeliest tokens of the original, `l_0 + weight (log softmax_k(l_1) - log softmax_k(l_0))`.

    Weight 0 is the original and weight 1 the personal model, both among these tokens only.

    Source: PAD, arXiv 2410.04070, where the personal model is one trained with a personalised reward; here it is the refreshed
    adapter.

    Args:
        original, personal: logits of two models after the same text, shape (..., vocabulary).
        weight: of the personal model's say; the authors use 0.5 to 1.5.
        top_k: how many tokens there are to choose from, at least 1; no more than the vocabulary are used.

    Returns:
        Logits, -inf for every other token, shape (..., vocabulary).
    """
    values, tokens = original.topk(min(top_k, original.shape[-1]), dim=-1)
    advantage = personal.gather(-1, tokens).log_softmax(-1) - values.log_softmax(-1)
    return torch.full_like(original, -torch.inf).scatter(-1, tokens, values + weight * advantage)
