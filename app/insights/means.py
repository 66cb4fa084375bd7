"""Means of scores whose cases come in clusters, such as many answers to one prompt. Knows numbers; knows no prompt and no answer."""

from dataclasses import dataclass

import numpy as np

from app.insights.rates import drawn_ratios, expanded


@dataclass(frozen=True)
class Mean:
    """A mean with its n and its 95 % interval, drawn over clusters. With one cluster, or none, the interval says nothing."""

    value: float
    n: int
    interval: tuple[float, float]


def clustered_mean(values: np.ndarray, clusters: np.ndarray, seed: int = 0) -> Mean:
    """A mean whose interval holds for clusters at large: clusters are drawn with replacement, each with all its values (cluster
    bootstrap, quantiles widened for few of them as in `rates.clustered_share`).

    Args:
        values: any numbers, (n,).
        clusters: what each belongs to, (n,) of anything that can be sorted.
        seed: of the drawing.
    """
    if len(values) == 0:
        return Mean(float("nan"), 0, (-float("inf"), float("inf")))
    mean = float(np.mean(values))
    groups = np.unique(clusters, return_inverse=True)[1]
    if groups.max() == 0:
        return Mean(mean, len(values), (-float("inf"), float("inf")))
    sums, counts = np.bincount(groups, weights=values), np.bincount(groups)
    low, high = np.quantile(drawn_ratios(sums, counts, seed), expanded(len(counts)))
    return Mean(mean, len(values), (float(low), float(high)))
