"""The losses of a refresh as pure functions of log-probabilities. Tensors in, tensors out: no model, no optimiser."""

from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid


def dpo_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    beta: float,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Direct Preference Optimization, arXiv 2305.18290, equation 7; label smoothing e gives
    `-(1 - e) log sigmoid(beta d) - e log sigmoid(-beta d)` with `d` the margin of the log-ratios.

    Args:
        policy_chosen_logps, policy_rejected_logps: summed log-probabilities of the answers under the policy, shape (pairs,).
        ref_chosen_logps, ref_rejected_logps: the same under the reference, shape (pairs,).
        beta: how dear it is to leave the reference.
        label_smoothing: the share of labels assumed wrong, in [0, 0.5).

    Returns:
        losses, chosen_rewards, rejected_rewards, each of shape (pairs,); the rewards are detached.
    """
    chosen_ratios = policy_chosen_logps - ref_chosen_logps
    rejected_ratios = policy_rejected_logps - ref_rejected_logps
    margins = beta * (chosen_ratios - rejected_ratios)
    losses = -(1 - label_smoothing) * logsigmoid(margins) - label_smoothing * logsigmoid(-margins)
    return losses, beta * chosen_ratios.detach(), beta * rejected_ratios.detach()


def answer_logps(logits: Tensor, input_ids: Tensor, answer_mask: Tensor) -> Tensor:
    """Summed log-probability of each row's answer.

    Args:
        logits: shape (rows, tokens, vocabulary).
        input_ids: shape (rows, tokens).
        answer_mask: 1 where a token belongs to the answer, shape (rows, tokens); the first token never does.

    Returns:
        Shape (rows,), fp32.
    """
    targets = input_ids[:, 1:]
    losses = cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets.flatten(), reduction="none").view_as(targets)
    return -(losses * answer_mask[:, 1:]).sum(-1)
