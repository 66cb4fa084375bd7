"""The arms of a comparison as data: which contexts an arm reads and how their logits become one distribution."""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from app.decoding import rules

ARM_NAMES = ("baseline", "principle_prompted", "linear_aligned")


class DecodeSettings(BaseModel):
    """How every arm of a comparison decodes; the same for all of them, so that they differ in nothing else.

    ratio: step size of linear alignment; 0 is the prompted arm, -1 the baseline (of logits, before the nucleus).
    kl_budget: at most so many nats a token between aligned and prompted; None for the plain ratio.
    top_p: nucleus; of the prompted distribution for the aligned arm.
    temperature: 0 is greedy.
    seed: every arm draws from a generator of its own with this seed.
    max_new_tokens: the longest answer, in tokens.
    no_repeat_ngram: no run of so many words stands twice in an answer; 0 for no such rule.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ratio: float = Field(2.0, ge=-1, le=20, allow_inf_nan=False)
    kl_budget: float | None = Field(None, gt=0, le=1000, allow_inf_nan=False)
    top_p: float = Field(0.8, gt=0, le=1, allow_inf_nan=False)
    temperature: float = Field(0.5, ge=0, le=5, allow_inf_nan=False)
    seed: int = Field(0, ge=0, lt=2**63)
    max_new_tokens: int = Field(160, ge=1, le=4096)
    no_repeat_ngram: int = Field(0, ge=0, le=64)


@dataclass(frozen=True)
class Arm:
    """One way of answering.

    name: shown to people and stored.
    contexts: indices into the comparison's contexts; each is a row of the batch, and all advance by the same token.
    next_log_probs: from logits of those contexts, shape (contexts, vocabulary), to log-probabilities, shape (vocabulary,).
    """

    name: str
    contexts: tuple[int, ...]
    next_log_probs: Callable[[Tensor], Tensor]


def build_arms(names: list[str], weights: Tensor, settings: DecodeSettings) -> list[Arm]:
    """The arms by name, over the contexts `[base, principle 1, ..., principle n]`.

    Args:
        names: of `ARM_NAMES`.
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

    everything = tuple(range(len(weights) + 1))
    one = len(weights) == 1 and float(weights[0]) == 1.0
    arms = {
        "baseline": Arm("baseline", (0,), plain),
        # One principle with weight 1 needs its own context only; a mix is made of all of them.
        "principle_prompted": Arm("principle_prompted", (1,), plain)
        if one
        else Arm("principle_prompted", everything, prompted),
        "linear_aligned": Arm("linear_aligned", everything, aligned),
    }
    return [arms[name] for name in names]
