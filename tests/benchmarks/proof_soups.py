"""The proof's search for soups that show both styles in one answer: every pair of styles and every weighting on a few prompts, of fully
trained and of half-trained versions.

The best of them is for `proof_blends` to measure on other prompts. Here it knows versions that were learnt, and nothing of how.
"""

import sys
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from app.blends import name, parse, soup
from app.decoding.arms import DecodeSettings
from app.evaluation.answering import answer
from app.evaluation.contestants import Contestant
from app.evaluation.plan import Written
from app.evaluation.questions import Case, Principle, own_prompts
from app.insights import share
from app.services import Services
from tests.benchmarks.proof_online import finished
from tests.benchmarks.proof_several import Fluent, shows

FULLY = ((0.5, 0.5), (0.6, 0.4), (0.4, 0.6), (0.7, 0.7), (1.0, 1.0))
# Half-trained versions bear, and need, more than their own weight.
HALF = ((1.0, 1.0), (1.3, 1.3), (1.6, 1.6), (2.0, 2.0))
SEARCHED = 8  # of the own prompts, the last; what is measured are the first
SOUND = "both, fluent"
SETTINGS = DecodeSettings(temperature=0, max_new_tokens=120)


def half(style: str) -> str:
    """What the half-trained version of a style goes by among the versions."""
    return f"half {style}"


@dataclass(frozen=True)
class Soup:
    """Two styles and their weights; `half_trained`: of their half-trained versions."""

    styles: tuple[str, str]
    weights: tuple[float, float]
    half_trained: bool

    def parts(self, versions: dict[str, str]) -> list[str]:
        """Each version with its weight, by itself; `versions` by style."""
        of = [versions[half(style) if self.half_trained else style] for style in self.styles]
        return [soup({version: weight}) for version, weight in zip(of, self.weights, strict=True)]

    def mixture(self, versions: dict[str, str]) -> str:
        """Both together."""
        return name(parse("+".join(self.parts(versions))))


def search(
    services: Services, styles: tuple[str, ...], versions: dict[str, str], fluent: Fluent, count: int = SEARCHED
) -> list[dict[str, Any]]:
    """What every soup of two styles is like, the best one first.

    Args:
        services: with the versions among its own.
        styles: of which two at a time are mixed.
        versions: by style, and by `half` of it.
        fluent: tells whether an answer reads well.
        count: how many prompts each answers.
    """
    prompts = [question.prompt for question in own_prompts()[-count:]]
    found = []
    for two in combinations(styles, 2):
        for weights, half_trained in [*((w, False) for w in FULLY), *((w, True) for w in HALF)]:
            one = Soup(two, weights, half_trained)
            answers = services.worker.call(lambda one=one: plain(services, one.mixture(versions), prompts))
            found.append(asdict(one) | figures(two, answers, fluent))
        print(f"soups of {' and '.join(two)}", file=sys.stderr)
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
    return {what: share(sum(each), len(each)).__dict__ for what, each in of.items()} | {"example": example}


def worth(found: dict[str, Any]) -> tuple[float, float]:
    """What the search goes by: fluent answers in both styles; among equals the lighter soup, which moves the model less."""
    return found[SOUND]["value"], -sum(found["weights"])
