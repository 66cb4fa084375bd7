"""Raters who choose against everybody else: a binomial test for each, with Holm's correction. Knows labels; no vote and no database."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

UNCLEAR = ("tie", "both_bad")
LEVEL = 0.05


@dataclass(frozen=True)
class Outlier:
    """How a rater's clear choices go with those of the others on the same things; see `outliers`."""

    rater: str
    shared: int
    agreed: int
    chance: float
    outlier: bool


def outliers(labels: Sequence[tuple[str, str, str]]) -> list[Outlier]:
    """Every rater who shares a clear choice with others, the least likely first.

    Of two answers a coin agrees with the others half of the time. `chance` is the probability of `agreed` or fewer of `shared` under
    that, times Holm's factor for as many raters as are tested: somebody who clicks at random is no outlier, somebody who turns
    every choice round is. Where the others are split evenly, nothing is compared.

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure".

    Args:
        labels: (thing, rater, label), each rater once a thing; a label is the arm that was preferred, "tie" or "both_bad".
    """
    things: dict[str, dict[str, str]] = defaultdict(dict)
    for thing, rater, label in labels:
        if label not in UNCLEAR:
            things[thing][rater] = label
    shared, agreed = Counter[str](), Counter[str]()
    for chosen in things.values():
        counts = Counter(chosen.values())
        for rater, label in chosen.items():
            # Of everybody else; a thing has two answers, so one number says what most of them chose.
            with_them = counts[label] - 1
            against = len(chosen) - counts[label]
            if with_them != against:
                shared[rater] += 1
                agreed[rater] += with_them > against
    raters = sorted(shared)
    if not raters:
        return []
    chances = [binomtest(agreed[rater], shared[rater], 0.5, alternative="less").pvalue for rater in raters]
    corrected = multipletests(chances, LEVEL, method="holm")[1]
    found = [
        Outlier(rater, shared[rater], agreed[rater], float(chance), bool(chance < LEVEL))
        for rater, chance in zip(raters, corrected, strict=True)
    ]
    return sorted(found, key=lambda o: (o.chance, o.rater))
