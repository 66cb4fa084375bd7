"""Trains a LoRA adapter on preference pairs, one step at a time, so that whoever owns the model can do other things between.

The reference is the base with the adapter off, computed once before the first step. It knows `app.model`'s adapters and pure
objectives; it knows no database, no versions and no page.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from app.errors import InputError
from app.model import LanguageModel
from app.prompts import with_system
from app.refresh.objectives import OBJECTIVES, answer_logps
from app.refresh.pairs import Pair

USUAL_STEPS, FEWEST_EPOCHS = 32, 2


class RefreshSettings(BaseModel):
    """How a refresh learns.

    objective: "dpo", "ipo" (of per-token means) or "slic"; the formulas are in `app.refresh.objectives`.
    beta: how dear it is to leave the base model. With "ipo" it is a scale of its own: the target is 1 / (2 beta) nats a token.
    label_smoothing: the share of choices assumed mistaken.
    sft_weight: how much the mean log-likelihood of the chosen answer's tokens counts beside the objective (as in arXiv 2404.19733
        and TRL's loss_type ["sigmoid", "sft"]); 0 is the objective alone. DPO alone may push both answers down, and a small model
        then stammers.
    epochs: how often every training pair is seen; None sees few pairs more often, until `USUAL_STEPS` steps are done.
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


@dataclass(frozen=True)
class EncodedPair:
    """Token ids of the prompt's chat and of both answers with the token that ends them."""

    context: list[int]
    chosen: list[int]
    rejected: list[int]


def encode(model: LanguageModel, pairs: list[Pair]) -> list[EncodedPair]:
    """Token ids of pairs, on prompts without a principle; a system message of the pair's own is kept in place of ours.

    Raises:
        InputError: a pair is longer than the model can read.
    """
    encoded = []
    for number, pair in enumerate(pairs, start=1):
        try:
            context = model.chat_ids(with_system(pair.messages))
        except InputError as error:
            raise InputError(f"pair {number}: {error}") from error
        item = EncodedPair(context, model.answer_ids(pair.chosen), model.answer_ids(pair.rejected))
        longest = len(item.context) + max(len(item.chosen), len(item.rejected))
        if longest > model.context_length:
            raise InputError(
                f"pair {number} is {longest} tokens long; this model reads {model.context_length}: leave it out or shorten it"
            )
        encoded.append(item)
    return encoded


def logps(model: LanguageModel, pairs: list[EncodedPair], adapter: str | None) -> tuple[Tensor, Tensor]:
    """Summed log-probabilities of chosen and rejected answers, each of shape (pairs,), in one forward of 2 x pairs rows."""
    rows = [(p.context, p.chosen) for p in pairs] + [(p.context, p.rejected) for p in pairs]
    summed = row_logps(model, rows, adapter)
    return summed[: len(pairs)], summed[len(pairs) :]


def row_logps(model: LanguageModel, rows: list[tuple[list[int], list[int]]], adapter: str | None) -> Tensor:
    """Summed log-probabilities of the answers of (context, answer) rows of token ids, shape (rows,), in one forward."""
    width = max(len(context) + len(answer) for context, answer in rows)

    def padded(rows: list[list[int]], fill: int) -> Tensor:
        return torch.tensor([row + [fill] * (width - len(row)) for row in rows], device=model.device)

    ids = padded([context + answer for context, answer in rows], model.pad_id)
    attended = padded([[1] * (len(context) + len(answer)) for context, answer in rows], 0)
    answered = padded([[0] * len(context) + [1] * len(answer) for context, answer in rows], 0)
    return answer_logps(model.logits(ids, attended, adapter), ids, answered)


@torch.inference_mode()
def margins(model: LanguageModel, pairs: list[EncodedPair], adapter: str | None, at_once: int = 8) -> Tensor:
    """`log p(chosen) - log p(rejected)` of each pair, shape (pairs,); the difference of two policies' margins is `d`."""
    parts = [logps(model, pairs[i : i + at_once], adapter) for i in range(0, len(pairs), at_once)]
    return torch.cat([chosen - rejected for chosen, rejected in parts]).cpu()


def train(model: LanguageModel, pairs: list[EncodedPair], settings: RefreshSettings, adapter: str) -> Iterator[Step]:
    """Adds a fresh adapter named `adapter` to the model and trains it; yields after every optimiser step.

    Between two yields the model may be used with any other adapter. Whoever stops early should `drop_adapter`.
    """
    parameters = model.new_adapter(adapter, settings.rank, settings.seed)
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
    order = random.Random(settings.seed)
    batches: list[list[int]] = []
    steps_an_epoch = math.ceil(len(pairs) / settings.pairs_per_step)
    for _ in range(settings.epochs or max(FEWEST_EPOCHS, math.ceil(USUAL_STEPS / steps_an_epoch))):
        indices = list(range(len(pairs)))
        order.shuffle(indices)
        batches += [indices[i : i + settings.pairs_per_step] for i in range(0, len(pairs), settings.pairs_per_step)]
    loss_of = OBJECTIVES[settings.objective]
    warmup = max(1, len(batches) // 10)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (len(batches) - step) / max(1, len(batches) - warmup))
    )
    reference = torch.full((2, len(pairs)), torch.nan, device=model.device)
    for number, batch in enumerate(batches, start=1):
        if reference[:, batch].isnan().any():  # once for every pair, in the first epoch, so that no step is a long one
            with torch.no_grad():
                reference[:, batch] = torch.stack(logps(model, [pairs[i] for i in batch], None))
        with torch.enable_grad():
            chosen, rejected = logps(model, [pairs[i] for i in batch], adapter)
            lengths = {
                "chosen_tokens": torch.tensor([len(pairs[i].chosen) for i in batch], device=chosen.device),
                "rejected_tokens": torch.tensor([len(pairs[i].rejected) for i in batch], device=chosen.device),
            }
            losses, chosen_rewards, rejected_rewards = loss_of(
                chosen, rejected, *reference[:, batch], settings.beta, settings.label_smoothing,
                **(lengths if settings.objective == "ipo" else {}),
            )  # fmt: skip
            (losses - settings.sft_weight * chosen / lengths["chosen_tokens"]).mean().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad(set_to_none=True)
        gaps = chosen_rewards - rejected_rewards
        yield Step(number, len(batches), losses.mean().item(), share_above_zero(gaps), gaps.mean().item())


def share_above_zero(gaps: Tensor) -> float:
    """The share of pairs with `d > 0`, ties as half: an untrained adapter scores 0.5."""
    return float((gaps > 0).float().mean() + 0.5 * (gaps == 0).float().mean())
