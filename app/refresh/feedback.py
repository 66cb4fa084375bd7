"""What the online loop is told and what it tells: its settings and its events. Plain values; nothing here computes."""

from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.annotators.preference import Cost, Preference
from app.insights import Share
from app.refresh.judging import Question
from app.refresh.learner import RefreshSettings

Stop = Literal["steps", "seconds", "tokens", "plateau"]


class OnlineSettings(BaseModel):
    """How the online loop learns, and when it stops.

    steps: gradient steps at most.
    prompts_per_step: prompts that are answered twice for one step.
    evaluate_every: steps between two evaluations on the prompts that are kept aside; one more comes at the end.
    eval_prompts: how many are kept aside, a third of all at most.
    patience: evaluations without a new best win rate after which it stops.
    max_seconds: no step begins after so many.
    max_judge_tokens: of an endpoint, both ways. A step begins only if it and the last evaluation fit in, at the mean price so far.
    temperature, top_p: of the sampled answers; evaluations are greedy.
    max_new_tokens: the longest answer, in tokens.
    objective, beta, sft_weight, learning_rate, rank: as in `RefreshSettings`; their defaults here are a first choice, not tuned.
    seed: of the adapter's start, of the order of the prompts, of the answers, and of which prompts are kept aside.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(40, ge=1, le=2000)
    prompts_per_step: int = Field(8, ge=1, le=64)
    evaluate_every: int = Field(5, ge=1, le=1000)
    eval_prompts: int = Field(24, ge=1, le=500)
    patience: int = Field(4, ge=1, le=1000)
    max_seconds: float = Field(1800, gt=0, le=86400, allow_inf_nan=False)
    max_judge_tokens: int = Field(500_000, ge=1, le=10**9)
    temperature: float = Field(1.0, gt=0, le=5, allow_inf_nan=False)
    top_p: float = Field(1.0, gt=0, le=1, allow_inf_nan=False)
    max_new_tokens: int = Field(96, ge=1, le=4096)
    objective: Literal["dpo", "ipo", "slic"] = "dpo"
    beta: float = Field(0.1, gt=0, le=10, allow_inf_nan=False)
    sft_weight: float = Field(0.0, ge=0, le=100, allow_inf_nan=False)
    learning_rate: float = Field(3e-3, gt=0, le=0.1, allow_inf_nan=False)
    rank: int = Field(8, ge=1, le=256)
    seed: int = Field(0, ge=0, lt=2**32)

    def learner(self) -> RefreshSettings:
        """The part that one gradient step asks for."""
        return RefreshSettings(**self.model_dump(include=set(RefreshSettings.model_fields)))


@dataclass(frozen=True)
class Judgement:
    """One choice of the annotator between two answers of the policy at `step`."""

    step: int
    question: Question
    preference: Preference


@dataclass(frozen=True)
class Judged:
    """What the annotator has said for one step, before the step is made."""

    judgements: list[Judgement]


@dataclass(frozen=True)
class OnlineStep:
    """One step of the loop. `loss` and `margin` are the learner's, None where no pair was left; `kl` and `tokens` are of this
    step's answers, which were sampled before it was made.

    kept, dropped: pairs that were learnt from, and pairs with equal or empty answers or without a choice.
    tokens: mean length of the answers.
    kl: of the policy to the base, nats a token, estimated as the mean of `log p / p_base` over the sampled tokens; it is an
        estimate of the divergence where the answers are sampled at temperature 1 and top_p 1.
    win_rate: against the start's answers on the prompts kept aside, by the same annotator, ties half; where it was measured.
    cost, seconds: of the annotator, and of everything, from the start on.
    stopped: why the loop ends here; empty where it goes on.
    """

    step: int
    steps: int
    loss: float | None
    margin: float | None
    kept: int
    dropped: int
    tokens: float
    kl: float
    win_rate: Share | None = None
    cost: Cost = field(default_factory=Cost)
    seconds: float = 0.0
    stopped: Stop | Literal[""] = ""
