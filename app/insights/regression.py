"""What is left of a preference once side, length and markdown are accounted for: logistic regression by statsmodels. Knows numbers only."""

import warnings
from dataclasses import dataclass

import numpy as np
import statsmodels.api as sm
from scipy.stats import norm, t
from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

FEWEST_OF_EACH = 5  # of wins and of losses: below, a fit says next to nothing
# Log-odds of a coefficient, of standardised size; beyond, the outcome is as good as told by it (separation).
STEEPEST = 8.0


@dataclass(frozen=True)
class Effect:
    """One coefficient: log-odds with a 95 % interval."""

    value: float
    interval: tuple[float, float]

    @property
    def rate(self) -> tuple[float, float, float]:
        """As a win rate, with both ends of the interval; 0.5 is no effect."""
        return tuple(float(1 / (1 + np.exp(-x))) for x in (self.value, *self.interval))


@dataclass(frozen=True)
class Adjusted:
    """A preference at equal length and markdown and on both sides alike.

    effect: the intercept. side: what standing first adds. length: what e times as many words add. markdown: what e times as many
    marks (headers, list items, bold; one more than there are) add. None: it never varied.
    n, raters: how many decisive votes of how many raters.
    fault: why there is no fit; then there is no effect either.
    """

    n: int
    raters: int
    effect: Effect | None = None
    side: Effect | None = None
    length: Effect | None = None
    markdown: Effect | None = None
    fault: str = ""


def adjusted(
    chosen: np.ndarray, first: np.ndarray, length: np.ndarray, markdown: np.ndarray, raters: np.ndarray
) -> Adjusted:
    """Fits P(one chosen) = logistic(effect + side * (+-1/2) + length * x + markdown * y).

    Intervals are the wider of the model's and those robust to raters who repeat (sandwich, clustered by rater).

    Args:
        chosen: whether the one answer was preferred to the other, (n,) of 0 and 1.
        first: whether it stood first, (n,) of 0 and 1.
        length: ln(words of the one / words of the other), (n,).
        markdown: ln((1 + marks of the one) / (1 + marks of the other)), (n,).
        raters: who voted, (n,) of anything that can be sorted.
    """
    n = len(chosen)
    groups = np.unique(raters, return_inverse=True)[1] if n else np.zeros(0, int)
    people, wins = len(np.unique(groups)), int(np.sum(chosen))
    if min(wins, n - wins) < FEWEST_OF_EACH:
        fault = f"{wins} votes for and {n - wins} against; it takes {FEWEST_OF_EACH} of each"
        return Adjusted(n, people, fault=fault)
    columns = {"effect": np.ones(n), "side": np.asarray(first) - 0.5, "length": length, "markdown": markdown}
    columns = {name: x for name, x in columns.items() if name == "effect" or np.ptp(x) > 0}
    design = np.column_stack(list(columns.values())).astype(float)
    scale = np.array([1.0, *(x.std() for x in list(columns.values())[1:])])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return Adjusted(n, people, fault=f"{', '.join(columns)} cannot be told apart in these votes")
    model = sm.GLM(np.asarray(chosen, float), design, family=sm.families.Binomial())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PerfectSeparationWarning)  # it is looked for, and told, below
        plain = model.fit()
    if not plain.converged or np.abs(plain.params * scale).max() > STEEPEST:
        return Adjusted(n, people, fault=f"{', '.join(columns)} tell the outcome of nearly every vote (separation)")
    errors = norm.isf(0.025) * plain.bse
    if people > 1:
        robust = model.fit(cov_type="cluster", cov_kwds={"groups": groups})
        errors = np.maximum(errors, t.isf(0.025, people - 1) * robust.bse)
    effects = {
        name: Effect(float(v), (float(v - e), float(v + e)))
        for name, v, e in zip(columns, plain.params, errors, strict=True)
    }
    return Adjusted(n, people, **effects)
