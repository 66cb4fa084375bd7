"""The losses of a refresh as pure functions of log-probabilities. Tensors in, tensors out: no model, no optimiser."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, relu


def dpo_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    beta: float,
    label_smoothing: float | Tensor = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Direct Preference Optimization, arXiv 2305.18290, equation 7; label smoothing e gives
    `-(1 - e) log sigmoid(beta d) - e log sigmoid(-beta d)` with `d` the margin of the log-ratios.

    Args:
        policy_chosen_logps, policy_rejected_logps: summed log-probabilities of the answers under the policy, shape (pairs,).
        ref_chosen_logps, ref_rejected_logps: the same under the reference, shape (pairs,).
        beta: how dear it is to leave the reference.
        label_smoothing: the share of labels assumed wrong, in [0, 0.5); or of each pair the chance, shape (pairs,).

    Returns:
        losses, chosen_rewards, rejected_rewards, each of shape (pairs,); the rewards are detached.
    """
    chosen_ratios, rejected_ratios = policy_chosen_logps - ref_chosen_logps, policy_rejected_logps - ref_rejected_logps
    losses = _smoothed(lambda d: -logsigmoid(d), beta * (chosen_ratios - rejected_ratios), label_smoothing)
    return losses, beta * chosen_ratios.detach(), beta * rejected_ratios.detach()


def ipo_mean_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    beta: float,
    label_smoothing: float | Tensor = 0.0,
    *,
    chosen_tokens: Tensor,
    rejected_tokens: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Identity Preference Optimization, arXiv 2310.12036, equation 17 with its tau as beta, on log-ratios that are the mean of an
    answer's tokens, as TRL's "ipo" has them: `(d - 1 / (2 beta))^2` with `d = a / chosen_tokens - b / rejected_tokens`. See
    `ipo_sum_loss` for log-ratios of whole answers.

    Label smoothing e gives `(1 - e) (d - 1 / (2 beta))^2 + e (-d - 1 / (2 beta))^2`, which is least at `(1 - 2e) / (2 beta)`.

    Args:
        policy_chosen_logps, policy_rejected_logps: summed log-probabilities of the answers under the policy, shape (pairs,).
        ref_chosen_logps, ref_rejected_logps: the same under the reference, shape (pairs,).
        beta: how dear it is to leave the reference; the loss wants `1 / (2 beta)` nats a token between the answers and no more.
        label_smoothing: the share of labels assumed wrong, in [0, 0.5); or of each pair the chance, shape (pairs,).
        chosen_tokens, rejected_tokens: how many tokens each sum is of, at least 1, shape (pairs,).

    Returns:
        losses, chosen_rewards, rejected_rewards, each of shape (pairs,); the rewards are of the sums, as DPO's, and detached.
    """
    chosen_ratios, rejected_ratios = policy_chosen_logps - ref_chosen_logps, policy_rejected_logps - ref_rejected_logps
    margins, target = chosen_ratios / chosen_tokens - rejected_ratios / rejected_tokens, 1 / (2 * beta)
    losses = _smoothed(lambda d: (d - target) ** 2, margins, label_smoothing)
    return losses, beta * chosen_ratios.detach(), beta * rejected_ratios.detach()


def ipo_sum_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    beta: float,
    label_smoothing: float | Tensor = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Identity Preference Optimization, arXiv 2310.12036, on log-ratios of whole answers, as OAIF (2402.04792) and TRL's online
    trainer have it: `(d - 1 / (2 beta))^2` with `d` the margin of the summed log-ratios. The same beta asks for far less of each
    token than `ipo_mean_loss` does.

    Arguments and returns as `dpo_loss`; label smoothing as `ipo_mean_loss`, which this is for answers of one token.
    """
    return ipo_mean_loss(
        policy_chosen_logps, policy_rejected_logps, ref_chosen_logps, ref_rejected_logps, beta, label_smoothing,
        chosen_tokens=torch.ones_like(policy_chosen_logps), rejected_tokens=torch.ones_like(policy_rejected_logps),
    )  # fmt: skip


def slic_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    beta: float,
    label_smoothing: float | Tensor = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """The hinge of SLiC-HF, arXiv 2305.10425, on beta-scaled log-ratios, as TRL's "hinge" and RSO (2309.06657) have it:
    `max(0, 1 - beta d)` with `d` the margin of the log-ratios. The paper's own hinge knows no reference, and a likelihood term stands
    beside it (recalled); that term is the refresh's `sft_weight`. A pair beyond the margin, `d > 1 / beta`, pulls no more.

    Label smoothing e gives `(1 - e) max(0, 1 - beta d) + e max(0, 1 + beta d)`.

    Args:
        policy_chosen_logps, policy_rejected_logps: summed log-probabilities of the answers under the policy, shape (pairs,).
        ref_chosen_logps, ref_rejected_logps: the same under the reference, shape (pairs,).
        beta: how dear it is to leave the reference.
        label_smoothing: the share of labels assumed wrong, in [0, 0.5); or of each pair the chance, shape (pairs,).

    Returns:
        losses, chosen_rewards, rejected_rewards, each of shape (pairs,); the rewards are detached.
    """
    chosen_ratios, rejected_ratios = policy_chosen_logps - ref_chosen_logps, policy_rejected_logps - ref_rejected_logps
    losses = _smoothed(lambda d: relu(1 - d), beta * (chosen_ratios - rejected_ratios), label_smoothing)
    return losses, beta * chosen_ratios.detach(), beta * rejected_ratios.detach()


def _smoothed(loss: Callable[[Tensor], Tensor], margins: Tensor, label_smoothing: float | Tensor) -> Tensor:
    return (1 - label_smoothing) * loss(margins) + label_smoothing * loss(-margins)


PAIR_LOSSES = {"dpo": dpo_loss, "ipo": ipo_mean_loss, "ipo_sum": ipo_sum_loss, "slic": slic_loss}


def answer_logps(logits: Tensor, targets: Tensor, lengths: list[int]) -> Tensor:
    """Summed log-probability of each answer.

    Args:
        logits: from which each token of the answers is predicted, one answer after another, shape (answer tokens, vocabulary).
        targets: those tokens, shape (answer tokens,).
        lengths: how many of them each answer has.

    Returns:
        Shape (answers,), fp32.
    """
    logps = -cross_entropy(logits.float(), targets, reduction="none")
    return torch.stack([answer.sum() for answer in logps.split(lengths)])
