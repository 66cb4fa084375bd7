"""The proof's search for soups that show both styles in one answer: every pair of styles and every weighting on a few prompts.

The best of them is for `proof_blends` to measure on other prompts. Here it knows versions that were learnt, and nothing of how.
"""

import sys
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from app.blends import soup
from app.decoding.arms import DecodeSettings
from app.evaluation.answering import answer
from app.evaluation.contestants import Contestant
from app.evaluation.plan import Written
from app.evaluation.questions import Case, Principle, own_prompts
from app.insights import share
from app.services import Services
from tests.benchmarks.proof_online import finished
from tests.benchmarks.proof_several import Fluent, shows

WEIGHTS = ((0.5, 0.5), (0.7, 0.7), (1.0, 1.0), (0.5, 1.0), (1.0, 0.5))
SEARCHED = 8  # of the own prompts, the last; what is measured are the first
SOUND = "both, fluent"
SETTINGS = DecodeSettings(temperature=0, max_new_tokens=120)


@dataclass(frozen=True)
class Soup:
    """Two styles and their weights."""

    styles: tuple[str, str]
    weights: tuple[float, float]

    def mixture(self, versions: dict[str, str]) -> str:
        """What it is called; `versions` by style."""
        return soup({versions[style]: weight for style, weight in zip(self.styles, self.weights, strict=True)})


def search(services: Services, versions: dict[str, str], fluent: Fluent, count: int = SEARCHED) -> list[dict[str, Any]]:
    """What every soup of two styles is like, the best one first.

    Args:
        services: with the versions among its own.
        versions: by style.
        fluent: tells whether an answer reads well.
        count: how many prompts each answers.
    """
    prompts = [question.prompt for question in own_prompts()[-count:]]
    found = []
    for styles in combinations(versions, 2):
        for weights in WEIGHTS:
            one = Soup(styles, weights)
            answers = services.worker.call(lambda one=one: plain(services, one.mixture(versions), prompts))
            found.append(asdict(one) | figures(styles, answers, fluent))
        print(f"soups of {' and '.join(styles)}", file=sys.stderr)
    return sorted(found, key=worth, reverse=True)


def plain(services: Services, mixture: str, prompts: list[str]) -> list[Written]:
    """The plain arm's greedy answers of a mixture, on the thread that owns the model."""
    adapter = services.versions.load(mixture)
    cases = [Case(prompt, Principle("")) for prompt in prompts]
    return finished(answer(services.model, Contestant("baseline"), cases, SETTINGS, adapter, None))


def figures(styles: tuple[str, str], answers: list[Written], fluent: Fluent) -> dict[str, Any]:
    """The share of answers in each style, in both, and in both and fluent."""
    flags: dict[str, list[bool]] = {style: [shows(a.text, style) for a in answers] for style in styles}
    both = [all(pair) for pair in zip(*flags.values(), strict=True)]
    sound = [ok and fluent(a.text, a.ended) for ok, a in zip(both, answers, strict=True)]
    of = {**{f"in {style}": each for style, each in flags.items()}, "both": both, SOUND: sound}
    example = next((a.text for a, ok in zip(answers, sound, strict=True) if ok), answers[0].text)
    return {name: share(sum(each), len(each)).__dict__ for name, each in of.items()} | {"example": example}


def worth(found: dict[str, Any]) -> tuple[float, float]:
    """What the search goes by: fluent answers in both styles; among equals the lighter soup, which moves the model less."""
    return found[SOUND]["value"], -sum(found["weights"])
