"""Shares and their intervals against published numbers and the formula."""

import math

import pytest

from app.insights import share
from app.insights.rates import shares


@pytest.mark.parametrize(("successes", "n", "interval"), [(14, 20, (0.48, 0.85)), (65, 100, (0.55, 0.74))])
def test_wilson_intervals_of_known_shares(successes, n, interval):
    found = share(successes, n)
    assert (found.value, found.n) == (successes / n, n)
    assert tuple(round(end, 2) for end in found.interval) == interval


@pytest.mark.parametrize(("successes", "n"), [(14, 20), (6.5, 10), (0, 7), (7, 7), (0.5, 1), (1, 1), (5000, 10000)])
def test_wilson_is_the_formula(successes, n):
    """(p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), z = 1.959964; ties count half, so successes need not be whole."""
    z, p = 1.959964, successes / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    expected = [(centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)]
    assert list(share(successes, n).interval) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", range(1, 60))
def test_intervals_hold_the_value_and_stay_within_0_and_1(n):
    for successes in (0, n / 2, n):
        low, high = share(successes, n).interval
        assert 0.0 <= low <= successes / n + 1e-12 and successes / n - 1e-12 <= high <= 1.0
        assert low < high


def test_without_any_vote_everything_is_possible():
    nothing = share(0, 0)
    assert (nothing.value, nothing.n, nothing.interval) == (0.5, 0, (0.0, 1.0))


def test_many_at_once_are_each_as_one_alone():
    successes, counts = [0, 3, 6.5, 0, 9], [0, 7, 10, 4, 9]
    assert shares(successes, counts) == [share(k, n) for k, n in zip(successes, counts, strict=True)]
    assert shares([], []) == []
