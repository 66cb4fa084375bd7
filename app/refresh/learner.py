"""One gradient step at a time on batches of preference pairs and rated answers: the adapter, its reference, optimiser and schedule.

It knows neither where the pairs come from nor in which order: the trainer hands it those of a file, the online loop fresh ones.
"""

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from app.model import LanguageModel
from app.pretrained import multiplies_bf16
from app.refresh import processes
from app.refresh.answers import EncodedPair, logps, micro_batches
from app.refresh.references import Reference
from app.refresh.refresh_settings import RefreshSettings
from app.refresh.row_losses import Rows, likelihood_weights, row_losses


@dataclass(frozen=True)
class Step:
    """What one optimiser step did: `loss` is the mean of the objective's over its rows, `accuracy` the share of its pairs with chosen
    above rejected, ties half, and `margin` the mean of `beta d`, `d` of summed log-probabilities whatever the objective; a step
    without a pair has 0.5 and 0. `shares`: how many of its rows each process computed."""

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

    Between two steps the model may be used with any other adapter. At the end, or where one stops early, `close` it; whoever does
    not want the adapter should `drop_adapter`.

    Args:
        model: gets the adapter; its own weights stay as they are.
        settings: how to learn.
        adapter: the new adapter's name.
        steps: how many are meant to come, for the `schedule` of the learning rate and the renewals of the reference.
        start: the folder of a version to begin as; None begins as the base.

    Raises:
        InputError: the version to begin as has a larger rank than the settings.
    """

    def __init__(
        self, model: LanguageModel, settings: RefreshSettings, adapter: str, steps: int, start: Path | None = None
    ):
        self._model, self._settings, self._adapter = model, settings, adapter
        self._steps, self._done = steps, 0
        self._bf16 = settings.precision == "bf16" or (
            settings.precision == "auto" and multiplies_bf16(model.device.type)
        )
        self._parameters = model.new_adapter(adapter, settings.rank, settings.seed)
        if start is not None:
            model.begin_as(adapter, start)
        self.reference_policy = Reference(model, settings, adapter, self._parameters, steps)
        self._optimizer = torch.optim.AdamW(self._parameters, lr=settings.learning_rate, weight_decay=0.0, fused=True)
        self._scheduler = torch.optim.lr_scheduler.LambdaLR(self._optimizer, partial(schedule, steps=steps))

    def logps(self, batch: list[EncodedPair], adapter: str | None) -> Generator[None, None, Tensor]:
        """Summed log-probabilities under an adapter, None is the base, shape (2, pairs), in the precision of `step`; gives way
        between its parts."""
        found = torch.zeros(2, len(batch), device=self._model.device)
        for indices in self._my_parts(batch):
            with torch.no_grad(), self._autocast():
                found[:, indices] = torch.stack(logps(self._model, [batch[i] for i in indices], adapter))
            yield None
        return processes.summed(found)

    def reference(self, batch: list[EncodedPair]) -> Tensor:
        """Summed log-probabilities under the reference as it is now, shape (2, pairs), as `step` wants them."""
        return _finished(self.logps(batch, self.reference_policy.adapter))

    def step(self, batch: list[EncodedPair], reference: Tensor) -> Step:
        """One optimiser step on the mean loss of a batch. Of several processes each takes the same batch and computes its share.

        Args:
            batch: at least one row.
            reference: summed log-probabilities under the reference, shape (2, pairs): of the chosen answers, of the rejected ones.

        Returns:
            What the step found, measured before the adapter moved.
        """
        reference = reference.to(self._model.device)
        rows = Rows.of(batch, self._model.device)
        likelihoods = likelihood_weights(rows, self._settings)
        # Sums of the loss, of the pairs won and of the margins; then how many rows each process computed.
        totals = torch.zeros(3 + processes.count(), dtype=torch.float64)
        for indices in self._my_parts(batch):
            part = [batch[i] for i in indices]
            losses, gaps = self._backward(
                part, reference[:, indices], rows[indices], likelihoods[:, indices], len(batch)
            )
            totals[:3] += torch.tensor([losses.sum(), count_above_zero(gaps), gaps.sum()])
            totals[3 + processes.index()] += len(indices)
        processes.sum_gradients(self._parameters)
        totals = processes.summed(totals)
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self._scheduler.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._done += 1
        self.reference_policy.after(self._done)
        loss, won, margin = totals[:3].tolist()
        pairs = int(rows.paired.sum())
        accuracy, margin = (won / pairs, margin / pairs) if pairs else (0.5, 0.0)
        shares = tuple(int(n) for n in totals[3:])
        return Step(self._done, self._steps, loss / len(batch), accuracy, margin, shares)

    def close(self) -> None:
        """Forgets the reference's adapter, if it has one of its own; the policy's stays."""
        self.reference_policy.close()

    def _backward(
        self, pairs: list[EncodedPair], reference: Tensor, rows: Rows, likelihoods: Tensor, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        # Adds these rows' part of the batch's mean to the gradients; returns their losses and the pairs' margins.
        settings = self._settings
        with torch.enable_grad():
            with self._autocast():
                policy = torch.stack(logps(self._model, pairs, self._adapter))
            losses = row_losses(policy, reference, rows, likelihoods, settings)
            fluency = settings.sft_weight * policy[0] / rows.tokens[0].clamp(min=1)
            ((losses - fluency).sum() / batch_size).backward()
        chosen, rejected = settings.beta * (policy.detach() - reference)
        return losses.detach(), (chosen - rejected)[rows.paired]

    def _my_parts(self, batch: list[EncodedPair]) -> list[list[int]]:
        mine = processes.share(range(len(batch)))
        return [[mine[i] for i in part] for part in micro_batches([batch[i] for i in mine])]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._model.device.type, torch.bfloat16, enabled=self._bf16)


def count_above_zero(gaps: Tensor) -> float:
    """How many pairs have `d > 0`, ties as half, of gaps of shape (pairs,), which may be none."""
    return float((gaps > 0).sum() + 0.5 * (gaps == 0).sum())


def share_above_zero(gaps: Tensor) -> float:
    """The share of pairs with `d > 0`, ties as half, of gaps of shape (pairs,): an untrained adapter scores 0.5."""
    return count_above_zero(gaps) / len(gaps)


def _finished(work: Generator[None, None, Tensor]) -> Tensor:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
