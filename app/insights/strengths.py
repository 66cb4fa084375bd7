"""Bradley-Terry: one strength for everything that was compared, by statsmodels. Knows numbers; ties count as half a win for each."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import statsmodels.api as sm
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import norm, t
from statsmodels.tools.sm_exceptions import PerfectSeparationWarning


@dataclass(frozen=True)
class Duel:
    """How often one rater preferred `one` to `other`, and the other way round; a tie is half a win for each."""

    rater: str
    one: str
    other: str
    wins: float
    losses: float


@dataclass(frozen=True)
class Strength:
    """One entity's strength among those that it can be compared with.

    value: log-odds against the mean of its group; interval at 95 %. The difference of two values is the log-odds of a win.
    against_average: its win rate against an entity of strength 0, with the same interval.
    n: comparisons with it, ties among them.
    """

    name: str
    value: float
    interval: tuple[float, float]
    n: float

    @property
    def against_average(self) -> tuple[float, float, float]:
        """Rate and both ends of its interval."""
        return tuple(float(1 / (1 + np.exp(-x))) for x in (self.value, *self.interval))


@dataclass(frozen=True)
class Group:
    """Entities that are connected by comparisons, the strongest first.

    held_back: one of them won or lost everything against the others, where strengths have no finite estimate; each was then given half
        a win and half a loss against an imagined average one (log-F(1,1) prior, Greenland and Mansournia 2015).
    """

    strengths: list[Strength]
    held_back: bool


def strengths(duels: Sequence[Duel]) -> list[Group]:
    """Fits every connected group of entities; entities of different groups cannot be compared with each other.

    The interval of an entity is the wider of the model's and the one that is robust to raters who repeat (sandwich, clustered).
    """
    duels = [duel for duel in duels if duel.wins + duel.losses > 0 and duel.one != duel.other]
    names = sorted({name for duel in duels for name in (duel.one, duel.other)})
    wins = _wins(duels, names)
    count, member = connected_components(coo_array(wins + wins.T), directed=False) if names else (0, [])
    groups = []
    for number in range(count):
        inside = [name for name, its in zip(names, member, strict=True) if its == number]
        groups.append(_fit([duel for duel in duels if duel.one in set(inside)], inside))
    return sorted(groups, key=lambda group: -sum(s.n for s in group.strengths))


def _wins(duels: Sequence[Duel], names: list[str]) -> np.ndarray:
    index = {name: i for i, name in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for duel in duels:
        wins[index[duel.one], index[duel.other]] += duel.wins
        wins[index[duel.other], index[duel.one]] += duel.losses
    return wins


def _fit(duels: list[Duel], names: list[str]) -> Group:
    index, size = {name: i for i, name in enumerate(names)}, len(names)
    wins = _wins(duels, names)
    # A finite maximum exists just where a chain of wins leads from each to each (Ford 1957).
    held_back = connected_components(coo_array(wins), connection="strong")[0] > 1
    design = np.zeros((len(duels), size))
    rows = np.arange(len(duels))
    design[rows, [index[duel.one] for duel in duels]] = 1
    design[rows, [index[duel.other] for duel in duels]] = -1
    outcomes = np.array([[duel.wins, duel.losses] for duel in duels])
    raters = np.unique([duel.rater for duel in duels], return_inverse=True)[1]
    clusters = int(raters.max()) + 1
    if held_back:
        design, outcomes = np.vstack([design, np.eye(size)]), np.vstack([outcomes, np.full((size, 2), 0.5)])
        raters = np.concatenate([raters, clusters + np.arange(size)])
    # The last one's strength is minus the sum of the others': they have mean 0.
    basis = np.vstack([np.eye(size - 1), -np.ones(size - 1)])
    model = sm.GLM(outcomes, design @ basis, family=sm.families.Binomial())
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        # statsmodels says so of any fit without a residual, as of two entities; what it means was seen to above. The scale of the
        # residuals, which it then divides by nothing, is used nowhere.
        warnings.simplefilter("ignore", PerfectSeparationWarning)
        plain = model.fit()
        errors = norm.isf(0.025) * _errors(plain, basis)
        if clusters > 1 and not held_back:
            robust = model.fit(cov_type="cluster", cov_kwds={"groups": raters})
            errors = np.maximum(errors, t.isf(0.025, clusters - 1) * _errors(robust, basis))
    values, met = basis @ plain.params, (wins + wins.T).sum(axis=1)
    found = [
        Strength(name, float(v), (float(v - e), float(v + e)), float(n))
        for name, v, e, n in zip(names, values, errors, met, strict=True)
    ]
    return Group(sorted(found, key=lambda s: -s.value), held_back)


def _errors(fitted: "sm.GLMResults", basis: np.ndarray) -> np.ndarray:
    return np.sqrt(np.diag(basis @ fitted.cov_params() @ basis.T))
