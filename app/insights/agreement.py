"""How far raters agree beyond chance: Cohen's and Fleiss' kappa, Krippendorff's alpha. Knows labels; knows no vote and no database."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from statsmodels.stats.inter_rater import cohens_kappa, fleiss_kappa

DRAWS = 1000


@dataclass(frozen=True)
class Coefficient:
    """1 is full agreement, 0 what chance would give. The interval is a 95 % percentile bootstrap over items, unless said otherwise.

    n: items. judgements: labels of them in all.
    """

    value: float
    n: int
    judgements: int
    interval: tuple[float, float]


@dataclass(frozen=True)
class Agreement:
    """Of items that at least two raters judged; a coefficient is None where it has no value, such as where all labels are the same.

    alpha: Krippendorff's, nominal; any number of raters an item.
    cohen: between exactly two raters, of what both judged; its interval is the asymptotic one.
    fleiss: of the items with the most usual number of judgements, where there are more than two raters.
    """

    items: int
    raters: int
    alpha: Coefficient | None
    cohen: Coefficient | None
    fleiss: Coefficient | None


def agreement(labels: Sequence[tuple[str, str, str]]) -> Agreement:
    """All that fits the judgements.

    Args:
        labels: (item, rater, label), each rater once an item.
    """
    table = counts_of(labels)
    table = table[table.sum(axis=1) > 1]
    raters = sorted({rater for _, rater, _ in labels})
    together = len(raters) == 2
    return Agreement(
        items=len(table),
        raters=len(raters),
        alpha=_with_interval(alpha, table),
        cohen=_cohen(labels, raters) if together else None,
        fleiss=None if together else _fleiss(table),
    )


def counts_of(labels: Sequence[tuple[str, str, str]]) -> np.ndarray:
    """How often each item got each label: (items, labels), both in sorted order."""
    items, items_of = np.unique([item for item, _, _ in labels], return_inverse=True)
    kinds, kinds_of = np.unique([label for _, _, label in labels], return_inverse=True)
    table = np.zeros((len(items), len(kinds)), int)
    np.add.at(table, (items_of, kinds_of), 1)
    return table


def alpha(table: np.ndarray) -> float:
    """Krippendorff's alpha for nominal labels; NaN where only one label occurs.

    Source: Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability": 1 - observed / expected disagreement of pairable labels.

    Args:
        table: (items, labels); items with a single judgement do not count.
    """
    table = table[table.sum(axis=1) > 1]
    of_item, of_label = table.sum(axis=1), table.sum(axis=0)
    n = int(of_item.sum())
    unequal = (of_item**2 - (table**2).sum(axis=1)) / np.maximum(of_item - 1, 1)
    expected = n**2 - (of_label**2).sum()
    return float(1 - (n - 1) * unequal.sum() / expected) if expected else float("nan")


def _fleiss(table: np.ndarray) -> Coefficient | None:
    sizes = Counter(table.sum(axis=1).tolist())
    if not sizes:
        return None
    usual = max(sizes, key=lambda size: (sizes[size], size))
    return _with_interval(_fleiss_value, table[table.sum(axis=1) == usual])


def _fleiss_value(table: np.ndarray) -> float:
    used = table[:, table.sum(axis=0) > 0]
    return float(fleiss_kappa(used, method="fleiss")) if used.shape[1] > 1 else float("nan")


def _cohen(labels: Sequence[tuple[str, str, str]], raters: list[str]) -> Coefficient | None:
    given = {rater: {item: label for item, who, label in labels if who == rater} for rater in raters}
    one, other = given.values()
    both = sorted(one.keys() & other.keys())
    kinds = sorted({labels_[item] for labels_ in (one, other) for item in both})
    if len(kinds) < 2:
        return None
    table = np.zeros((len(kinds), len(kinds)))
    for item in both:
        table[kinds.index(one[item]), kinds.index(other[item])] += 1
    found = cohens_kappa(table)
    interval = (max(-1.0, float(found.kappa_low)), min(1.0, float(found.kappa_upp)))
    return Coefficient(float(found.kappa), len(both), 2 * len(both), interval)


def _with_interval(statistic: Callable[[np.ndarray], float], table: np.ndarray) -> Coefficient | None:
    value = statistic(table) if len(table) else float("nan")
    if np.isnan(value):
        return None
    generator = np.random.default_rng(0)
    drawn = [statistic(table[generator.integers(len(table), size=len(table))]) for _ in range(DRAWS)]
    # Drawings in which only one label occurs have no value; without any other the interval is everything.
    drawn = [x for x in drawn if not np.isnan(x)]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) > DRAWS / 2 else (-1.0, 1.0)
    return Coefficient(value, len(table), int(table.sum()), (float(low), float(high)))
