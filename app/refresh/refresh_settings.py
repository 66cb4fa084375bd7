"""What a refresh is told: its objective and its numbers. Plain values; nothing here computes."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RefreshSettings(BaseModel):
    """How a refresh learns.

    objective: a row of `app.refresh.methods.OBJECTIVES`: "dpo", "ipo" (of per-token means), "ipo_sum" (of sums), "slic", "ulma",
        "aihf", "hpo", "fa", "rwr" or "ca".
    beta: how dear it is to leave the reference. With "ipo" and "ipo_sum" it is a scale of its own: the target is 1 / (2 beta) nats a
        token, or an answer.
    label_smoothing: the share of choices assumed mistaken; of objectives that compare two answers.
    sft_weight: how much the mean log-likelihood of the chosen answer's tokens counts beside the objective (as in arXiv 2404.19733
        and TRL's loss_type ["sigmoid", "sft"]); 0 is the objective alone. DPO alone may push both answers down, and a small model
        then stammers.
    reference: what the objective measures against: "base", the adapter off; "previous", the version in use, from which learning then
        starts too (as in BPO, 2406.12168); "ema", a moving average of the adapter that learns (as in SAPO, 2405.20830).
    ema_decay: how much of the average stays at every step; 1 is the start.
    renewals: how often a "previous" reference becomes the policy as it then stands, evenly spread over the steps.
    demonstration_weight: of "aihf", w1 with w2 = 1: how much the log-likelihood of rewritten answers counts; 0 is DPO.
    reward: of "hpo", "fa", "rwr" and "ca", where an answer's reward comes from: "choice" (1 liked, 0 not), "length", "readability" or
        "embedding"; None takes the objective's own, "length" for "hpo", else "choice".
    reward_weight: of "hpo", gamma: how much the auxiliary reward counts; 0 is DPO.
    reward_temperature: of "hpo" its alpha, of "rwr" its beta: the lower, the more the best-rewarded answers count.
    reward_threshold: of "fa", tau: only what is above is learnt.
    epochs: how often every training pair is seen; None sees few pairs more often, until the trainer's `USUAL_STEPS` are done.
    learning_rate: of AdamW, after a short warm-up, falling linearly to zero. The default was measured on the starter, beside a third
        and twice of it (`tests/benchmarks/schedule.py`); models of hundreds of millions of parameters want a tenth of it or less.
    rank: of the LoRA, on all linear layers. On the starter 2 does not reach the style, and 32, in 11 runs beside the default, is not
        surely better.
    pairs_per_step: the batch.
    seed: of the adapter's start, of the order and of the held-out split.
    precision: in which the model computes while it learns; the adapter itself is kept in fp32. "fp32" is exact, "bf16" is autocast,
        "auto" is bf16 where the processor or the GPU multiplies it natively.

    The weights, the threshold and the temperature of the objectives beyond "slic" are a first choice, not tuned.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: Literal["dpo", "ipo", "ipo_sum", "slic", "ulma", "aihf", "hpo", "fa", "rwr", "ca"] = "dpo"
    beta: float = Field(0.1, gt=0, le=10, allow_inf_nan=False)
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, allow_inf_nan=False)
    sft_weight: float = Field(1.0, ge=0, le=100, allow_inf_nan=False)
    reference: Literal["base", "previous", "ema"] = "base"
    ema_decay: float = Field(0.5, ge=0, le=1, allow_inf_nan=False)
    renewals: int = Field(0, ge=0, le=1000)
    demonstration_weight: float = Field(0.1, ge=0, le=100, allow_inf_nan=False)
    reward: Literal["choice", "length", "readability", "embedding"] | None = None
    reward_weight: float = Field(0.01, ge=0, le=100, allow_inf_nan=False)
    reward_temperature: float = Field(1.0, ge=0.05, le=100, allow_inf_nan=False)
    reward_threshold: float = Field(0.5, ge=-1000, le=1000, allow_inf_nan=False)
    epochs: int | None = Field(None, ge=1, le=100)
    learning_rate: float = Field(1.5e-3, gt=0, le=0.1, allow_inf_nan=False)
    rank: int = Field(8, ge=1, le=256)
    pairs_per_step: int = Field(4, ge=1, le=256)
    seed: int = Field(0, ge=0, lt=2**32)
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
