"""One gradient step at a time on batches of preference pairs: the adapter, its optimiser and its schedule.

It knows neither where the pairs come from nor in which order: the trainer hands it those of a file, the online loop fresh ones.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from app.model import LanguageModel
from app.refresh.answers import EncodedPair, logps
from app.refresh.objectives import OBJECTIVES


class RefreshSettings(BaseModel):
    """How a refresh learns.

    objective: "dpo", "ipo" (of per-token means) or "slic"; the formulas are in `app.refresh.objectives`.
    beta: how dear it is to leave the base model. With "ipo" it is a scale of its own: the target is 1 / (2 beta) nats a token.
    label_smoothing: the share of choices assumed mistaken.
    sft_weight: how much the mean log-likelihood of the chosen answer's tokens counts beside the objective (as in arXiv 2404.19733
        and TRL's loss_type ["sigmoid", "sft"]); 0 is the objective alone. DPO alone may push both answers down, and a small model
        then stammers.
    epochs: how often every training pair is seen; None sees few pairs more often, until the trainer's `USUAL_STEPS` are done.
    learning_rate: of AdamW, after a short warm-up, falling linearly to zero. The default was measured on the starter
        (`tests/benchmarks/learning.py`); models of hundreds of millions of parameters want a tenth of it or less.
    rank: of the LoRA, on all linear layers.
    pairs_per_step: the batch.
    seed: of the adapter's start, of the order and of the held-out split.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: Literal["dpo", "ipo", "slic"] = "dpo"
    beta: float = Field(0.1, gt=0, le=10, allow_inf_nan=False)
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, allow_inf_nan=False)
    sft_weight: float = Field(1.0, ge=0, le=100, allow_inf_nan=False)
    epochs: int | None = Field(None, ge=1, le=100)
    learning_rate: float = Field(1.5e-3, gt=0, le=0.1, allow_inf_nan=False)
    rank: int = Field(8, ge=1, le=256)
    pairs_per_step: int = Field(4, ge=1, le=256)
    seed: int = Field(0, ge=0, lt=2**32)


@dataclass(frozen=True)
class Step:
    """What one optimiser step did: `loss` is the mean of the objective's over its pairs, `accuracy` the share with chosen above
    rejected, ties half, and `margin` the mean of `beta d`, `d` of summed log-probabilities whatever the objective."""

    step: int
    steps: int
    loss: float
    accuracy: float
    margin: float


class Learner:
    """Adds a fresh adapter to a model and moves it, a step for every batch.

    Between two steps the model may be used with any other adapter. Whoever stops early should `drop_adapter`.

    Args:
        model: gets the adapter; its own weights stay as they are.
        settings: how to learn.
        adapter: the new adapter's name.
        steps: how many are meant to come: the learning rate warms up over the first tenth and falls to zero over the rest.
    """

    def __init__(self, model: LanguageModel, settings: RefreshSettings, adapter: str, steps: int):
        self._model, self._settings, self._adapter = model, settings, adapter
        self._steps, self._done = steps, 0
        self._parameters = model.new_adapter(adapter, settings.rank, settings.seed)
        self._optimizer = torch.optim.AdamW(self._parameters, lr=settings.learning_rate, weight_decay=0.0)
        warmup = max(1, steps // 10)
        self._scheduler = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))
        )

    def step(self, batch: list[EncodedPair], reference: Tensor) -> Step:
        """One optimiser step on the mean loss of a batch.

        Args:
            batch: at least one pair.
            reference: summed log-probabilities under the reference, shape (2, pairs): of the chosen answers, of the rejected ones.

        Returns:
            What the step found, measured before the adapter moved.
        """
        settings, reference = self._settings, reference.to(self._model.device)
        with torch.enable_grad():
            chosen, rejected = logps(self._model, batch, self._adapter)
            lengths = {
                "chosen_tokens": torch.tensor([len(pair.chosen) for pair in batch], device=chosen.device),
                "rejected_tokens": torch.tensor([len(pair.rejected) for pair in batch], device=chosen.device),
            }
            losses, chosen_rewards, rejected_rewards = OBJECTIVES[settings.objective](
                chosen, rejected, *reference, settings.beta, settings.label_smoothing,
                **(lengths if settings.objective == "ipo" else {}),
            )  # fmt: skip
            (losses - settings.sft_weight * chosen / lengths["chosen_tokens"]).mean().backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self._scheduler.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._done += 1
        gaps = chosen_rewards - rejected_rewards
        return Step(self._done, self._steps, losses.mean().item(), share_above_zero(gaps), gaps.mean().item())


def share_above_zero(gaps: Tensor) -> float:
    """The share of pairs with `d > 0`, ties as half: an untrained adapter scores 0.5."""
    return float((gaps > 0).float().mean() + 0.5 * (gaps == 0).float().mean())
