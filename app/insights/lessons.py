"""What preference pairs teach: how the chosen answers differ from the rejected ones. Knows texts and numbers; no model, no database."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.insights.rates import Share, share
from app.insights.texts import exclamations, marks, vocabulary, words

TEXT_MEASURES = {"length": words, "markdown": marks, "exclamations": exclamations}
FEWEST_TELLING = 3  # pairs; a word that tells two pairs apart may do so by chance
MOST_TELLING = 6  # of either side


@dataclass(frozen=True)
class Lesson:
    """One measure, chosen answer less rejected answer.

    measure: "length" (words), "markdown" (marks), "exclamations", or "fidelity" (nats a token).
    mean: of the differences, over all pairs.
    interval: of that mean, 95 %, by Student's t; None for a single pair.
    n: pairs.
    more: the share of pairs in which the chosen answer has more, among those that differ, with Wilson's interval.
    """

    measure: str
    mean: float
    interval: tuple[float, float] | None
    n: int
    more: Share

    @property
    def direction(self) -> int:
        """1 where chosen answers have more, -1 where less; 0 as long as the interval of `more` holds one half, no preference."""
        low, high = self.more.interval
        return 1 if low > 0.5 else -1 if high < 0.5 else 0


@dataclass(frozen=True)
class Telling:
    """A word, and in how many pairs it stands in the chosen answer only, and in the rejected one only."""

    word: str
    chosen: int
    rejected: int


def lesson(measure: str, differences: Sequence[float]) -> Lesson:
    """A measure's differences, one a pair and at least one, put together."""
    values = np.asarray(differences, dtype=float)
    more, less = int((values > 0).sum()), int((values < 0).sum())
    mean = float(values.mean())
    interval = None
    if len(values) > 1:
        # Here and not above: no page and no comparison needs it to begin.
        from scipy.stats import t

        half = float(t.ppf(0.975, len(values) - 1)) * float(values.std(ddof=1)) / math.sqrt(len(values))
        interval = (mean - half, mean + half)
    return Lesson(measure, mean, interval, len(values), share(more, more + less))


def lessons(pairs: Sequence[tuple[str, str]]) -> list[Lesson]:
    """What the texts of (chosen, rejected) pairs teach, a lesson a measure; nothing where there is no pair."""
    if not pairs:
        return []
    return [
        lesson(name, [count(chosen) - count(rejected) for chosen, rejected in pairs])
        for name, count in TEXT_MEASURES.items()
    ]


def telling_words(pairs: Sequence[tuple[str, str]]) -> list[Telling]:
    """The words that most often stand on one side of a pair only: first those of the chosen answers, then of the rejected ones.

    They are chosen for being the most, so that no interval would be honest; these are counts.
    """
    chosen, rejected = Counter(), Counter()
    for better, worse in pairs:
        ours, theirs = vocabulary(better), vocabulary(worse)
        chosen.update(ours - theirs)
        rejected.update(theirs - ours)
    found = [Telling(word, chosen[word], rejected[word]) for word in chosen | rejected]
    found.sort(key=lambda w: (-abs(w.chosen - w.rejected), w.word))
    sides = ([w for w in found if sign * (w.chosen - w.rejected) >= FEWEST_TELLING] for sign in (1, -1))
    return [word for side in sides for word in side[:MOST_TELLING]]
