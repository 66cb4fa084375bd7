"""What the online loop is told and what it tells: its settings and its events. Plain values; nothing here computes."""

from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.annotators.preference import Cost, Preference
from app.insights import Share
from app.refresh.judging import Question
from app.refresh.methods import ONLINE
from app.refresh.refresh_settings import RefreshSettings

Stop = Literal["steps", "seconds", "tokens", "plateau", "button"]


class OnlineSettings(BaseModel):
    """How the online loop learns, and when it stops.

    method: a row of `app.refresh.methods.ONLINE`: "oaif", "sail", "osp", "optune", "bpo", "sapo" or "mpo".
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
    strength_scale: of "osp", the judge's margin, in its own unit, at which it is sure at sigmoid(1) = 73 %; 0 is sure of every choice.
    regenerate: of "optune", rho: the share of a step's prompts that is answered anew, those rewarded lowest; 1 is all.
    gap_power: of "optune": a pair counts as its reward gap to that power, 1 on average; 0 is all alike.
    renewals: of "bpo", F: how often the reference becomes the policy; 0 is the base throughout.
    ema_decay: of "sapo": how much of the moving average stays at every step.
    buffer: of "sapo": how many pairs may be drawn again; the oldest make room.
    hard_below: of "mpo": the judge's margin, in its own unit, below which a pair is hard; 0 finds none. A judge without margins finds
        those hard on which it has no choice. It is asked about every pair once, before the first step.

    The numbers from `strength_scale` on are a first choice, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["oaif", "sail", "osp", "optune", "bpo", "sapo", "mpo"] = "oaif"
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
    objective: Literal["dpo", "ipo", "ipo_sum", "slic"] = "dpo"
    beta: float = Field(0.1, gt=0, le=10, allow_inf_nan=False)
    sft_weight: float = Field(0.0, ge=0, le=100, allow_inf_nan=False)
    learning_rate: float = Field(3e-3, gt=0, le=0.1, allow_inf_nan=False)
    rank: int = Field(8, ge=1, le=256)
    seed: int = Field(0, ge=0, lt=2**32)
    strength_scale: float = Field(0.1, ge=0, le=100, allow_inf_nan=False)
    regenerate: float = Field(0.5, gt=0, le=1, allow_inf_nan=False)
    gap_power: float = Field(1.0, ge=0, le=10, allow_inf_nan=False)
    renewals: int = Field(3, ge=0, le=1000)
    ema_decay: float = Field(0.5, ge=0, le=1, allow_inf_nan=False)
    buffer: int = Field(2000, ge=1, le=100_000)
    hard_below: float = Field(0.05, ge=0, le=1000, allow_inf_nan=False)

    def learner(self) -> RefreshSettings:
        """The part that one gradient step asks for."""
        method = ONLINE[self.method]
        told = self.model_dump(include=set(RefreshSettings.model_fields))
        told |= {"reference": method.reference, "renewals": self.renewals if method.renewed == "evenly" else 0}
        return RefreshSettings(**told)


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
    step's answers, which were sampled before it was made, None where none was.

    kept, dropped: pairs that were learnt from, and pairs with equal or empty answers or without a choice.
    tokens: mean length of the answers.
    kl: of the policy to the base, nats a token, estimated as the mean of `log p / p_base` over the sampled tokens; it is an
        estimate of the divergence where the policy samples its answers at temperature 1 and top_p 1.
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
    tokens: float | None
    kl: float | None
    win_rate: Share | None = None
    cost: Cost = field(default_factory=Cost)
    seconds: float = 0.0
    stopped: Stop | Literal[""] = ""
