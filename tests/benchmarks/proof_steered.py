"""The proof's part on a judge who knows what they want: a rule, as a simulated person, prefers shorter answers, warmer ones or more of a list.

Unlike the personas of `proof_online`, these are matters of degree, which the plain model's own answers have more or less of. The loop stands
beside as many labels on the start's own answers.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from app.annotators.preference import Cost, Preference, by_scores
from app.insights.means import clustered_mean
from app.prompts import Message
from app.refresh.feedback import OnlineSettings
from tests.benchmarks.proof_online import SETTINGS, WAYS, curves_of

WARM = r"\b(?:you|your|yours|yourself|we|us|our|let's|friend|friends|together|gently|love|enjoy|please|happy|kind)\b"
LISTED = r"[,;:]|\b(?:first|second|third|then|next|after|afterwards|last|finally|also)\b|^- "
DEGREES: dict[str, Callable[[str], float]] = {
    "shorter": lambda text: -float(len(text.split())),
    "warmer": lambda text: float(len(re.findall(WARM, text.lower()))),
    "lists": lambda text: float(len(re.findall(LISTED, text.lower(), re.MULTILINE))),
}


class RuleJudge:
    """An annotator who prefers the answer with more of something.

    Args:
        degree: how much of it a text has.
    """

    def __init__(self, degree: Callable[[str], float]):
        self._degree = degree

    def prefer(self, messages: list[Message], principle: str, first: str, second: str) -> Preference:
        """The answer with more of it; none where both have as much."""
        return by_scores(self._degree(first), self._degree(second), Cost())


def measure(work: Path, limit: int, settings: OnlineSettings = SETTINGS) -> dict[str, Any]:
    """A curve for everything that the judge prefers, online and offline; each point with the mean degree of the held-out answers.

    Args:
        work: where finished curves are kept.
        limit: how many of the own prompts are held out to measure on.
        settings: of both.
    """
    # The judge reads no principle: the persona that it is told stands for none.
    asked = {told: ("curt", limit, settings, RuleJudge(degree)) for told, degree in DEGREES.items()}
    curves = {
        name: [point | {"degree": mean(degrees_of(point, name.partition(",")[0]))} for point in points]
        for name, points in curves_of(work, asked).items()
    }
    ahead = {
        told: mean(np.subtract(*(degrees_of(curves[f"{told}, {way}"][-1], told) for way in WAYS))) for told in DEGREES
    }
    return {"settings": settings.model_dump(), "curves": curves, "online minus offline": ahead}


def degrees_of(point: dict[str, Any], told: str) -> list[float]:
    """How much each held-out answer of a point has of what the judge prefers."""
    return [DEGREES[told](text) for text in point["answers"]]


def mean(values: Any) -> dict[str, Any]:
    """The mean with its 95 % interval over prompts."""
    found = clustered_mean(np.array(values, float), np.arange(len(values)))
    return {"value": found.value, "interval": list(found.interval), "n": found.n}
