"""How many decisive votes it takes to see an effect. The normal approximation of a two-sided test of a share against one half."""

import math

FEWEST_DECISIVE = 20  # below, an interval spans nearly everything, and the page says that it is too early
EFFECTS = (0.55, 0.6, 0.7)


def votes_needed(rate: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Decisive votes with which a true win rate is found to differ from one half.

    Args:
        rate: the true win rate, in 0..1 and not 0.5.
        power: how often it shall be found. alpha: how often a rate of 0.5 may look like one that differs.

    Returns:
        The least n with n * (rate - 1/2)^2 >= (z(alpha/2) / 2 + z(power) * sqrt(rate * (1 - rate)))^2; as for any test of a proportion
        (Fleiss, Levin and Paik, "Statistical Methods for Rates and Proportions", without continuity correction).
    """
    from scipy.stats import norm

    spread = norm.isf(alpha / 2) / 2 + norm.isf(1 - power) * math.sqrt(rate * (1 - rate))
    return math.ceil((spread / (rate - 0.5)) ** 2)


def votes_missing(decisive: int) -> dict[float, int]:
    """For each of EFFECTS, how many decisive votes are still missing to find it in four of five cases."""
    return {rate: max(0, votes_needed(rate) - decisive) for rate in EFFECTS}
