"""Every objective of a refresh as a row of words: the paper, what it learns from, and the parts it is put together from.

It knows no tensors and no texts. The parts are looked up by these words: pair losses in `objectives`, likelihoods in `likelihoods`,
references in `references`, rewards in `rewards`. Acronyms collide, so a row is known by its arXiv id.
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
    Objective("aihf",    "2406.06874", pair="dpo", likelihood="demonstrations", learns_from=("choices", "demonstrations")),
    Objective("hpo",     "2405.17956", pair="dpo", likelihood="advantage", reward="length", formula="recalled"),
    Objective("fa",      "2308.12050", likelihood="filtered", learns_from=EVERYTHING, reward="choice"),
    Objective("rwr",     "2308.12050", likelihood="exponential", learns_from=EVERYTHING, reward="choice"),
    Objective("ca",      "2308.12050", likelihood="every", learns_from=EVERYTHING, reward="choice", writes_reward=True),
)
# fmt: on
OBJECTIVES = {objective.name: objective for objective in _OBJECTIVES}
PAIRWISE = tuple(objective.name for objective in _OBJECTIVES if objective.pair and not objective.likelihood)
REFERENCES = ("base", "previous", "ema")
REWARDS = ("choice", "length", "readability", "embedding")
