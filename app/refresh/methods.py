"""Every objective of a refresh and every online loop as a row of words: the paper, and the parts it is put together from.

It knows no tensors and no texts. The parts are looked up by these words: pair losses in `objectives`, likelihoods in `likelihoods`,
references in `references`, rewards in `rewards`, samplers in `sources`. Acronyms collide, so a row is known by its arXiv id.
"""

from dataclasses import dataclass
from typing import Literal

Source = Literal["choices", "ratings", "demonstrations"]
EVERYTHING: tuple[Source, ...] = ("choices", "ratings", "demonstrations")


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    name, paper: as the command line takes it, and its arXiv id.
    pair: what two answers of one choice add, a name in `PAIR_LOSSES`; empty: nothing.
    likelihood: how much each answer's own log-likelihood counts beside that, a name in `likelihood_weights`; empty: not at all.
    pushes_down: whether every disliked answer is made less likely by itself, as in ULMA.
    learns_from: choices between two answers; ratings of one alone ("both bad", thumbs); demonstrations (answers that a person rewrote).
    reward: where the reward of an answer comes from unless something else is asked for, a name in `rewards`; empty: there is none.
    writes_reward: whether the reward is written into the prompt, and the highest is asked for at answer time.
    formula: whether it was read in the authors' text or code, or is only remembered; then the tests hold its arithmetic and its
        properties, and no number of the paper's.
    """

    name: str
    paper: str
    pair: str = ""
    likelihood: str = ""
    pushes_down: bool = False
    learns_from: tuple[Source, ...] = ("choices",)
    reward: str = ""
    writes_reward: bool = False
    formula: Literal["read", "recalled"] = "read"


# fmt: off
_OBJECTIVES = (
    Objective("dpo",     "2305.18290", pair="dpo"),
    Objective("ipo",     "2310.12036", pair="ipo"),
    Objective("ipo_sum", "2310.12036", pair="ipo_sum"),
    Objective("slic",    "2305.10425", pair="slic", formula="recalled"),
    Objective("ulma",    "2312.02554", likelihood="liked", pushes_down=True, learns_from=EVERYTHING, formula="recalled"),
    Objective("aihf",    "2406.06874", pair="dpo", likelihood="demonstrations", learns_from=("choices", "demonstrations"), formula="recalled"),
    Objective("hpo",     "2405.17956", pair="dpo", likelihood="advantage", reward="length", formula="recalled"),
    Objective("fa",      "2308.12050", likelihood="filtered", learns_from=EVERYTHING, reward="choice", formula="recalled"),
    Objective("rwr",     "2308.12050", likelihood="exponential", learns_from=EVERYTHING, reward="choice", formula="recalled"),
    Objective("ca",      "2308.12050", likelihood="every", learns_from=EVERYTHING, reward="choice", writes_reward=True, formula="recalled"),
)
# fmt: on


@dataclass(frozen=True)
class OnlineMethod:
    """How an online loop goes on: who answers, who says what is better, what is measured against, how much a pair counts.

    name, paper: as the command line takes it, and its arXiv id.
    sampler: "twice", two answers of the policy to every prompt; "lowest", the same, but only for the prompts rewarded lowest, the
        others keep theirs; "cut", the reference goes on from a cut of a chosen answer; "stages", the clear pairs as they are, then
        two answers to the prompts of the others.
    labels: "annotator", a judge; "policy", the implicit reward of the policy itself; "given", whoever wrote the chosen answer.
    reference: a name in `REFERENCES`.
    renewed: when a "previous" reference becomes the policy: "evenly" over the steps, or "between" the stages; empty: never.
    weight: "strength", a soft label from how sure the judge is; "gap", more for pairs whose rewards lie apart; "replay", pairs are
        drawn again from a buffer, less often the oftener they were; empty: all alike.
    pairs: what choices that there are already do: "mixed" into every step, or the "source" of all; empty: they are not asked for.
    formula: as in `Objective`.
    """

    name: str
    paper: str
    sampler: Literal["twice", "lowest", "cut", "stages"] = "twice"
    labels: Literal["annotator", "policy", "given"] = "annotator"
    reference: Literal["base", "previous", "ema"] = "base"
    renewed: Literal["", "evenly", "between"] = ""
    weight: Literal["", "strength", "gap", "replay"] = ""
    pairs: Literal["", "mixed", "source"] = ""
    formula: Literal["read", "recalled"] = "read"


# fmt: off
_ONLINE = (
    OnlineMethod("oaif",   "2402.04792"),
    OnlineMethod("sail",   "2406.15567", labels="policy", pairs="mixed", formula="recalled"),
    OnlineMethod("osp",    "2405.14103", weight="strength", formula="recalled"),
    OnlineMethod("optune", "2406.07657", sampler="lowest", weight="gap", formula="recalled"),
    OnlineMethod("bpo",    "2406.12168", reference="previous", renewed="evenly", formula="recalled"),
    OnlineMethod("sapo",   "2405.20830", sampler="cut", labels="given", reference="ema", weight="replay", pairs="source"),
    OnlineMethod("mpo",    "2403.19443", sampler="stages", reference="previous", renewed="between", pairs="source", formula="recalled"),
)
# fmt: on
ONLINE = {method.name: method for method in _ONLINE}
OBJECTIVES = {objective.name: objective for objective in _OBJECTIVES}
PAIRWISE = tuple(objective.name for objective in _OBJECTIVES if objective.pair and not objective.likelihood)
REFERENCES = ("base", "previous", "ema")
REWARDS = ("choice", "length", "readability", "embedding")
