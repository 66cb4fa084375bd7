"""Shares with their intervals: Wilson's, and one that knows that raters repeat. Knows numbers; knows no vote and no database."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS, FEWEST_DRAWS = 4000, 1000  # the widened tails of few raters ask for more drawings than those of many
AT_ONCE = 2_000_000  # numbers drawn at a time: some 40 MB


@dataclass(frozen=True)
class Share:
    """A share with its n and its 95 % Wilson interval; nothing is shown without both."""

    value: float
    n: int
    interval: tuple[float, float]


def share(successes: float, n: int) -> Share:
    """A proportion with its Wilson interval; ties may count as half a success.

    Args:
        successes: in 0..n.
        n: how many were counted; with 0 the value is 0.5 and the interval everything.
    """
    if n == 0:
        return Share(0.5, 0, (0.0, 1.0))
    # Here and not above: no page and no comparison needs it to begin.
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, n, alpha=0.05, method="wilson")
    return Share(successes / n, n, (float(low), float(high)))


def shares(successes: Sequence[float], counts: Sequence[int]) -> list[Share]:
    """Many shares at once, as `share` gives each: a call a share would take longer than counting a million votes."""
    from statsmodels.stats.proportion import proportion_confint

    counted = np.array(counts, float)
    low, high = proportion_confint(np.array(successes, float), np.maximum(counted, 1), alpha=0.05, method="wilson")
    found = zip(successes, counts, low.tolist(), high.tolist(), strict=True)
    return [Share(k / n, n, (a, b)) if n else share(0, 0) for k, n, a, b in found]


def clustered_share(successes: np.ndarray, counts: np.ndarray, seed: int = 0) -> Share:
    """A share whose interval holds for raters at large, and not only for more votes of these raters.

    Raters are drawn with replacement, each with all their votes (cluster bootstrap). The quantiles are widened for few raters
    (expanded percentile interval, Hesterberg 2015, "What Teachers Should Know About the Bootstrap", The American Statistician 69),
    and the interval is never narrower than Wilson's, at either end: few raters who happen to agree prove little. With one rater it is
    Wilson's.

    Args:
        successes: of each rater, (raters,), ties may be half.
        counts: votes of each rater, (raters,), each above 0.
        seed: of the drawing.
    """
    plain = share(float(np.sum(successes)), int(np.sum(counts)))
    raters = len(counts)
    if raters < 2:
        return plain
    low, high = np.quantile(drawn_ratios(successes, counts, seed), expanded(raters))
    return Share(plain.value, plain.n, (min(plain.interval[0], float(low)), max(plain.interval[1], float(high))))


def drawn_ratios(successes: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """Sums over clusters, drawn with replacement, divided by their counts: one ratio a drawing."""
    generator, raters = np.random.default_rng(seed), len(counts)
    step = max(1, AT_ONCE // raters)
    draws = min(DRAWS, max(FEWEST_DRAWS, step))
    shares = []
    for start in range(0, draws, step):
        drawn = generator.integers(raters, size=(min(step, draws - start), raters), dtype=np.int32)
        shares.append(successes[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(shares)


def expanded(clusters: int) -> tuple[float, float]:
    """The two quantiles that make a 95 % percentile interval as wide as so few clusters ask for, at least 2."""
    from scipy.stats import norm, t

    tail = float(norm.cdf(-math.sqrt(clusters / (clusters - 1)) * t.ppf(0.975, clusters - 1)))
    return tail, 1 - tail
