"""The loss of every row of a batch, put together from the parts that an objective names. It knows tensors; no model, no texts.

A row holds a chosen and a rejected answer to one prompt, or one of the two alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.refresh.answers import EncodedPair
from app.refresh.likelihoods import advantage, disliked_loss, exponential, filtered
from app.refresh.methods import OBJECTIVES
from app.refresh.objectives import PAIR_LOSSES
from app.refresh.refresh_settings import RefreshSettings


@dataclass(frozen=True)
class Rows:
    """What is known of rows beside log-probabilities. Those of shape (2, rows) hold the chosen answers, then the rejected ones.

    tokens: of each answer, shape (2, rows); 0 where there is none.
    rewards: of each answer, shape (2, rows).
    doubt: the chance that the choice is mistaken, shape (rows,).
    weight: how much the choice counts, shape (rows,).
    demonstration: whether the chosen answer was written by a person, shape (rows,).
    """

    tokens: Tensor
    rewards: Tensor
    doubt: Tensor
    weight: Tensor
    demonstration: Tensor

    @classmethod
    def of(cls, pairs: list[EncodedPair], device: torch.device) -> "Rows":
        """The rows of encoded pairs."""
        columns = (
            [[len(p.chosen) for p in pairs], [len(p.rejected) for p in pairs]],
            [[p.rewards[0] for p in pairs], [p.rewards[1] for p in pairs]],
            [p.doubt for p in pairs],
            [p.weight for p in pairs],
            [p.demonstration for p in pairs],
        )
        return cls(*(torch.tensor(column, device=device) for column in columns))

    def __getitem__(self, indices: Sequence[int]) -> "Rows":
        columns = (self.tokens, self.rewards, self.doubt, self.weight, self.demonstration)
        return Rows(*(column[..., indices] for column in columns))

    @property
    def present(self) -> Tensor:
        """Which answers there are, shape (2, rows)."""
        return self.tokens > 0

    @property
    def paired(self) -> Tensor:
        """Which rows hold both answers, shape (rows,)."""
        return self.present.all(0)


def likelihood_weights(rows: Rows, settings: RefreshSettings) -> Tensor:
    """How much each answer's log-likelihood counts in the objective, shape (2, rows). Of a whole batch: a part has another mean."""
    kind, present = OBJECTIVES[settings.objective].likelihood, rows.present.to(rows.rewards.dtype)
    chosen_only = torch.tensor([[1.0], [0.0]], device=present.device)
    if kind == "liked":
        return present * chosen_only
    if kind == "demonstrations":
        return settings.demonstration_weight * present * chosen_only * rows.demonstration
    if kind == "advantage":
        return settings.reward_weight * advantage(rows.rewards, present, settings.reward_temperature)
    if kind == "filtered":
        return present * filtered(rows.rewards, settings.reward_threshold)
    if kind == "exponential":
        return present * exponential(rows.rewards, settings.reward_temperature)
    return present if kind == "every" else torch.zeros_like(present)


def row_losses(policy: Tensor, reference: Tensor, rows: Rows, likelihoods: Tensor, settings: RefreshSettings) -> Tensor:
    """The objective's loss of every row, shape (rows,).

    Args:
        policy, reference: summed log-probabilities of the answers, shape (2, rows), 0 where there is none.
        rows: what else is known of them.
        likelihoods: what `likelihood_weights` says of them.
        settings: the objective and its numbers.
    """
    objective = OBJECTIVES[settings.objective]
    losses = -(likelihoods * policy).sum(0)
    if objective.pushes_down:
        losses = losses + rows.present[1] * disliked_loss(policy[1], reference[1], settings.beta)
    if objective.pair:
        # A label is wrong if either it was mistaken or the row's own doubt is right, and not both.
        smoothing = settings.label_smoothing + (1 - 2 * settings.label_smoothing) * rows.doubt
        lengths = {"chosen_tokens": rows.tokens[0].clamp(min=1), "rejected_tokens": rows.tokens[1].clamp(min=1)}
        pair_losses, *_ = PAIR_LOSSES[objective.pair](
            *policy, *reference, settings.beta, smoothing, **(lengths if objective.pair == "ipo" else {})
        )
        losses = losses + rows.weight * rows.paired * pair_losses
    return losses
