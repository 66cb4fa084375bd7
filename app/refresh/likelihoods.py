"""How much an answer's own log-likelihood counts, from its reward alone. Tensors in, tensors out: no model, no optimiser.

What these weigh is the term `-w(y) log p(y)` of an objective. No gradient flows through a weight.
"""

from torch import Tensor
from torch.nn.functional import logsigmoid

LARGEST_EXPONENT = 5.0


def filtered(rewards: Tensor, threshold: float) -> Tensor:
    """Filtering alignment (FA, arXiv 2308.12050): 1 where the reward is above the threshold tau, else 0; any shape.
    The formula is recalled."""
    return (rewards > threshold).to(rewards.dtype)


def exponential(rewards: Tensor, temperature: float) -> Tensor:
    """Reward-weighted regression (RWR, as in arXiv 2308.12050): `exp(r / beta)` with its beta as temperature; any shape.
    The formula is recalled."""
    return (rewards / temperature).exp()


def advantage(rewards: Tensor, present: Tensor, temperature: float) -> Tensor:
    """The weights `exp(A / alpha)` of hybrid preference optimisation (HPO, arXiv 2405.17956), alpha as temperature.

    The formula is recalled. There the advantage A is learnt; here it is the auxiliary reward less the batch's mean, so that
    a mean answer weighs 1 and no second network is needed. No exponent is above `LARGEST_EXPONENT`: one answer far from all others
    would otherwise be all that a batch learns, or more than a number can hold.

    Args:
        rewards: auxiliary rewards, any shape.
        present: which of them are of an answer, same shape; the others weigh 0 and are no part of the mean.
    """
    mean = (rewards * present).sum() / present.sum().clamp(min=1)
    return ((rewards - mean) / temperature).clamp(max=LARGEST_EXPONENT).exp() * present


def disliked_loss(policy_logps: Tensor, ref_logps: Tensor, beta: float) -> Tensor:
    """The point-wise loss of an answer that was disliked by itself in ULMA (arXiv 2312.02554), shape (answers,):
    `-log(1 - sigmoid(beta (log p - log p_ref)))`. A liked one costs `-log p`. The formula is recalled.

    Args:
        policy_logps, ref_logps: summed log-probabilities under policy and reference, shape (answers,).
        beta: how dear it is to leave the reference.
    """
    return -logsigmoid(-beta * (policy_logps - ref_logps))
