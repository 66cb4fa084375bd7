"""The arms of a comparison as data: which contexts an arm reads and how their logits become one distribution. Knows no model and no text."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from app.decoding import rules
from app.decoding.amulet import step_size
from app.decoding.guidance import guided_logits

ARM_NAMES = ("baseline", "principle_prompted", "linear_aligned")
# Other methods of the field, for whoever asks for them by name.
FURTHER_ARMS = ("amulet", "adapter_guided")
ALL_ARMS = ARM_NAMES + FURTHER_ARMS
# No rule for one token: whole answers, of which a judge keeps one. `build_arms` does not know it; see `app.best_of_arm`.
BEST_OF = "best_of_n"
OFFERED_ARMS = (*ALL_ARMS, BEST_OF)
RATIO_UNDER_A_BUDGET = 10.0  # where only a KL budget is given, the budget decides


class DecodeSettings(BaseModel):
    """How every arm of a comparison decodes; the same for all of them, so that they differ in nothing else.

    ratio: step size of linear alignment; 0 is the prompted arm, -1 the baseline (of logits, before the nucleus).
    kl_budget: at most so many nats a token between aligned and prompted; None for the plain ratio.
    top_p: nucleus; of the prompted distribution for the aligned arm.
    temperature: 0 is greedy.
    seed: every arm draws from a generator of its own with this seed.
    max_new_tokens: the longest answer, in tokens.
    no_repeat_ngram: no run of so many words stands twice in an answer; 0 for no such rule.
    amulet_alpha, amulet_lambda, amulet_eta, amulet_steps: see `amulet.step_size`; the authors' numbers. An alpha of 0 is the
        prompted arm.
    guide_weight, guide_top_k: see `guidance.guided_logits`; how much the adapter counts, and how many tokens there are to choose
        from.
    best_of_count: how many answers the arm best_of_n chooses from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ratio: float = Field(2.0, ge=-1, le=20, allow_inf_nan=False)
    kl_budget: float | None = Field(None, gt=0, le=1000, allow_inf_nan=False)
    top_p: float = Field(0.8, gt=0, le=1, allow_inf_nan=False)
    temperature: float = Field(0.5, ge=0, le=5, allow_inf_nan=False)
    seed: int = Field(0, ge=0, lt=2**63)
    max_new_tokens: int = Field(160, ge=1, le=4096)
    no_repeat_ngram: int = Field(0, ge=0, le=64)
    # Within these bounds the step stays below 200 times the difference that the principle makes.
    amulet_alpha: float = Field(2.0, ge=0, le=4, allow_inf_nan=False)
    amulet_lambda: float = Field(2.0, ge=2, le=20, allow_inf_nan=False)
    amulet_eta: float = Field(10.0, ge=0.1, le=100, allow_inf_nan=False)
    amulet_steps: int = Field(60, ge=1, le=100)
    guide_weight: float = Field(1.0, ge=0, le=5, allow_inf_nan=False)
    guide_top_k: int = Field(10, ge=1, le=256)
    best_of_count: int = Field(4, ge=2, le=32)


def seed_by_lot() -> int:
    """A seed for whoever gives none; short enough to be told and typed again."""
    return random.SystemRandom().randrange(2**31)


@dataclass(frozen=True)
class Arm:
    """One way of answering.

    name: shown to people and stored.
    contexts: indices into the comparison's contexts; each is a row of the batch, and all advance by the same token.
    next_log_probs: from logits of those contexts, shape (contexts, vocabulary), to log-probabilities, shape (vocabulary,).
    original: contexts that the original model reads too, whatever adapter answers; their logits come before the others.
    """

    name: str
    contexts: tuple[int, ...]
    next_log_probs: Callable[[Tensor], Tensor]
    original: tuple[int, ...] = ()


def build_arms(names: list[str], weights: Tensor, settings: DecodeSettings) -> list[Arm]:
    """The arms by name, over the contexts `[base, principle 1, ..., principle n]`.

    Args:
        names: of `ALL_ARMS`.
        weights: of the principles, shape (principles,).
        settings: shared by all arms.
    """
    top_p, temperature = settings.top_p, settings.temperature

    def plain(logits: Tensor) -> Tensor:
        return rules.plain_log_probs(logits[0], top_p, temperature)

    def prompted(logits: Tensor) -> Tensor:
        return rules.aligned_log_probs(logits[0], logits[1:], weights, 0.0, top_p, temperature)

    def aligned(logits: Tensor) -> Tensor:
        return rules.aligned_log_probs(
            logits[0], logits[1:], weights, settings.ratio, top_p, temperature, settings.kl_budget
        )

    amulet_ratio = step_size(settings.amulet_alpha, settings.amulet_lambda, settings.amulet_eta, settings.amulet_steps)

    def amulet(logits: Tensor) -> Tensor:
        mixed = rules.mix_logits(logits[0], logits[1:], weights, torch.full_like(weights, amulet_ratio))
        return rules.plain_log_probs(mixed, top_p, temperature)

    def guided(logits: Tensor) -> Tensor:
        steered = guided_logits(logits[0], logits[1], settings.guide_weight, settings.guide_top_k)
        return rules.plain_log_probs(steered, top_p, temperature)

    everything = tuple(range(len(weights) + 1))
    one = len(weights) == 1 and float(weights[0]) == 1.0
    arms = {
        "baseline": Arm("baseline", (0,), plain),
        # One principle with weight 1 needs its own context only; a mix is made of all of them.
        "principle_prompted": Arm("principle_prompted", (1,), plain)
        if one
        else Arm("principle_prompted", everything, prompted),
        "linear_aligned": Arm("linear_aligned", everything, aligned),
        "amulet": Arm("amulet", everything, amulet),
        # The adapter holds what was asked for, so neither model is told.
        "adapter_guided": Arm("adapter_guided", (0,), guided, original=(0,)),
    }
    return [arms[name] for name in names]
