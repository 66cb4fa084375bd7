"""One gradient step at a time on batches of preference pairs: the adapter, its optimiser and its schedule.

It knows neither where the pairs come from nor in which order: the trainer hands it those of a file, the online loop fresh ones.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from app.model import LanguageModel
from app.refresh import processes
from app.refresh.answers import EncodedPair, logps, micro_batches
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
    precision: in which the model computes while it learns; the adapter itself is kept in fp32. "fp32" is exact, "bf16" is autocast,
        "auto" is bf16 where the processor or the GPU multiplies it natively.
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
    precision: Literal["fp32", "bf16", "auto"] = "fp32"


@dataclass(frozen=True)
class Step:
    """What one optimiser step did: `loss` is the mean of the objective's over its pairs, `accuracy` the share with chosen above
    rejected, ties half, and `margin` the mean of `beta d`, `d` of summed log-probabilities whatever the objective. `shares`: how
    many of its pairs each process computed."""

    step: int
    steps: int
    loss: float
    accuracy: float
    margin: float
    shares: tuple[int, ...] = ()


def schedule(step: int, steps: int) -> float:
    """The share of the learning rate at a step, from 0: up over the first tenth, then straight down towards zero."""
    warmup = max(1, steps // 10)
    return min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))


class Learner:
    """Adds a fresh adapter to a model and moves it, a step for every batch.

    Between two steps the model may be used with any other adapter. Whoever stops early should `drop_adapter`.

    Args:
        model: gets the adapter; its own weights stay as they are.
        settings: how to learn.
        adapter: the new adapter's name.
        steps: how many are meant to come, for the `schedule` of the learning rate.
    """

    def __init__(self, model: LanguageModel, settings: RefreshSettings, adapter: str, steps: int):
        self._model, self._settings, self._adapter = model, settings, adapter
        self._steps, self._done = steps, 0
        self._bf16 = settings.precision == "bf16" or (settings.precision == "auto" and _has_bf16(model.device))
        self._parameters = model.new_adapter(adapter, settings.rank, settings.seed)
        self._optimizer = torch.optim.AdamW(self._parameters, lr=settings.learning_rate, weight_decay=0.0)
        self._scheduler = torch.optim.lr_scheduler.LambdaLR(self._optimizer, partial(schedule, steps=steps))

    def reference(self, batch: list[EncodedPair]) -> Tensor:
        """Summed log-probabilities under the base, the adapter off, shape (2, pairs), as `step` wants them: in its precision."""
        found = torch.zeros(2, len(batch), device=self._model.device)
        for indices in self._my_parts(batch):
            with torch.no_grad(), self._autocast():
                found[:, indices] = torch.stack(logps(self._model, [batch[i] for i in indices], None))
        return processes.summed(found)

    def step(self, batch: list[EncodedPair], reference: Tensor) -> Step:
        """One optimiser step on the mean loss of a batch. Of several processes each takes the same batch and computes its share.

        Args:
            batch: at least one pair.
            reference: summed log-probabilities under the reference, shape (2, pairs): of the chosen answers, of the rejected ones.

        Returns:
            What the step found, measured before the adapter moved.
        """
        reference = reference.to(self._model.device)
        # Sums of the loss, of the pairs won and of the margins; then how many pairs each process computed.
        totals = torch.zeros(3 + processes.count(), dtype=torch.float64)
        for indices in self._my_parts(batch):
            losses, gaps = self._backward([batch[i] for i in indices], reference[:, indices], len(batch))
            totals[:3] += torch.tensor([losses.sum(), share_above_zero(gaps) * len(gaps), gaps.sum()])
            totals[3 + processes.index()] += len(indices)
        processes.sum_gradients(self._parameters)
        totals = processes.summed(totals)
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self._scheduler.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._done += 1
        loss, accuracy, margin = (totals[:3] / len(batch)).tolist()
        return Step(self._done, self._steps, loss, accuracy, margin, tuple(int(n) for n in totals[3:]))

    def _backward(self, pairs: list[EncodedPair], reference: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
        # Adds these pairs' part of the batch's mean to the gradients; returns their losses and margins, each of shape (pairs,).
        settings = self._settings
        with torch.enable_grad():
            with self._autocast():
                chosen, rejected = logps(self._model, pairs, self._adapter)
            lengths = {
                "chosen_tokens": torch.tensor([len(pair.chosen) for pair in pairs], device=chosen.device),
                "rejected_tokens": torch.tensor([len(pair.rejected) for pair in pairs], device=chosen.device),
            }
            losses, chosen_rewards, rejected_rewards = OBJECTIVES[settings.objective](
                chosen, rejected, *reference, settings.beta, settings.label_smoothing,
                **(lengths if settings.objective == "ipo" else {}),
            )  # fmt: skip
            ((losses - settings.sft_weight * chosen / lengths["chosen_tokens"]).sum() / batch_size).backward()
        return losses.detach(), chosen_rewards - rejected_rewards

    def _my_parts(self, batch: list[EncodedPair]) -> list[list[int]]:
        mine = processes.share(range(len(batch)))
        return [[mine[i] for i in part] for part in micro_batches([batch[i] for i in mine])]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._model.device.type, torch.bfloat16, enabled=self._bf16)


def share_above_zero(gaps: Tensor) -> float:
    """The share of pairs with `d > 0`, ties as half: an untrained adapter scores 0.5."""
    return float((gaps > 0).float().mean() + 0.5 * (gaps == 0).float().mean())


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
