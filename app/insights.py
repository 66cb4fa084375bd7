"""Statistics on votes and pairs, by statsmodels. Knows numbers; knows no Gradio, no model and no database."""

from dataclasses import dataclass


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
