"""Linear alignment as pure functions of logits, all in logs. Tensors in, tensors out: no model, no loop, no state.

Source: Linear Alignment, arXiv 2401.11458, and `contra_generate` in the authors' `model.py` (not their `demo.py`, whose mask does
nothing under argmax). Without the mask the rule is classifier-free guidance with scale `1 + ratio`.
"""

import torch
from torch import Tensor

TOP_K_FIRST = 256
BISECTIONS = 24


def mix_logits(base: Tensor, principles: Tensor, weights: Tensor, ratios: Tensor) -> Tensor:
    """Several principles at once: `l_0 + sum_i (1 + r_i) w_i (l_i - l_0)`. One principle with weight 1 is linear alignment,
    `l_p + r (l_p - l_0)`; ratios of 0 give the prompted mix, and for one principle a ratio of -1 gives the base.

    Args:
        base: logits without any principle, shape (..., vocabulary).
        principles: logits with each principle, shape (..., principles, vocabulary).
        weights: shape (principles,); negative means "avoid".
        ratios: the step size r_i of each principle, shape (principles,) or (..., principles).

    Returns:
        The mixed logits, shape (..., vocabulary).
    """
    step = ((1 + ratios) * weights).unsqueeze(-1)
    return base + (step * (principles - base.unsqueeze(-2))).sum(-2)


def within_kl_budget(anchor: Tensor, target: Tensor, budget: float) -> Tensor:
    """Shortens the step from `anchor` to `target` so that `KL(softmax(result) || softmax(anchor)) <= budget`.

    The KL grows with the length of the step, so the largest share that fits is found by bisection. Ours, not the paper's: its
    closed form is the largest step within a divergence bound, which the released code folds into the ratio.

    Args:
        anchor: logits at every ratio 0 (the prompted distribution), shape (..., vocabulary).
        target: logits at the full ratio, shape (..., vocabulary).
        budget: in nats per token; infinity leaves `target` as it is.

    Returns:
        Logits on the segment between the two, shape (..., vocabulary).
    """
    reference = anchor.log_softmax(-1)

    def divergence(share: Tensor) -> Tensor:
        log_probs = torch.lerp(anchor, target, share).log_softmax(-1)
        return (log_probs.exp() * (log_probs - reference)).sum(-1, keepdim=True)

    high = torch.ones_like(anchor[..., :1])
    fits = divergence(high) <= budget
    if bool(fits.all()):
        return target
    low = torch.zeros_like(high)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        inside = divergence(middle) <= budget
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return torch.lerp(anchor, target, torch.where(fits, torch.ones_like(low), low))


def nucleus(logits: Tensor, top_p: float, temperature: float) -> Tensor:
    """The smallest set of most likely tokens whose probability reaches `top_p`; never empty.

    Args:
        logits: shape (..., vocabulary).
        top_p: in (0, 1]; 1 keeps every token.
        temperature: of the softmax; 0 (greedy) counts as 1.

    Returns:
        A mask, True where a token is kept, shape (..., vocabulary).
    """
    if top_p >= 1:
        return torch.ones_like(logits, dtype=torch.bool)
    probabilities = (logits / (temperature or 1.0)).softmax(-1)
    # A full sort of a large vocabulary costs more than the model's own step, and the nucleus is nearly always short.
    kept = min(TOP_K_FIRST, logits.shape[-1])
    values, tokens = probabilities.topk(kept, dim=-1)
    if kept < logits.shape[-1] and bool((values.sum(-1) < top_p).any()):
        values, tokens = probabilities.sort(dim=-1, descending=True)
    before = values.cumsum(-1) - values
    return torch.zeros_like(logits, dtype=torch.bool).scatter(-1, tokens, before < top_p)


def plain_log_probs(logits: Tensor, top_p: float, temperature: float) -> Tensor:
    """Log-probabilities of the next token for an arm that reads one context, nucleus applied; shape as `logits`."""
    return masked_log_probs(logits, nucleus(logits, top_p, temperature), temperature)


def aligned_log_probs(
    base: Tensor,
    principles: Tensor,
    weights: Tensor,
    ratio: float,
    top_p: float,
    temperature: float,
    kl_budget: float | None = None,
) -> Tensor:
    """Log-probabilities of the next token by linear alignment. The nucleus is that of the *prompted* mix, not of the result.

    Args:
        base, principles, weights: as in `mix_logits`.
        ratio: the step size, the same for every principle.
        top_p, temperature: as in `nucleus`; also the temperature of the result.
        kl_budget: see `within_kl_budget`; None for the plain ratio.

    Returns:
        Shape (..., vocabulary), -inf outside the nucleus.
    """
    zeros = torch.zeros_like(weights)
    prompted = mix_logits(base, principles, weights, zeros)
    aligned = mix_logits(base, principles, weights, zeros + ratio)
    if kl_budget is not None:
        aligned = within_kl_budget(prompted, aligned, kl_budget)
    return masked_log_probs(aligned, nucleus(prompted, top_p, temperature), temperature)


def masked_log_probs(logits: Tensor, support: Tensor, temperature: float) -> Tensor:
    """`log softmax(logits / temperature)` over `support`, -inf outside it; temperature 0 counts as 1. Shapes (..., vocabulary)."""
    return (logits / (temperature or 1.0)).masked_fill(~support, -torch.inf).log_softmax(-1)
