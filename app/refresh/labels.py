"""What a preference says of a pair: how doubtful its label is, how much it counts, how far its answers lie apart. Numbers only: it knows
no tensors, no texts and no model.
"""

import math

from app.annotators.preference import NO_DIFFERENCE, Cost, Preference
from app.errors import InputError
from app.refresh.feedback import OnlineSettings
from app.refresh.methods import ONLINE


def weights_of(preferences: list[Preference], settings: OnlineSettings) -> list[tuple[float, float]]:
    """How doubtful each choice is, and how much it counts, as the method says: (doubt, weight).

    Raises:
        InputError: the method asks for the gap of rewards, and the judge gives none.
    """
    kind = ONLINE[settings.method].weight
    if kind == "strength":
        return [(1 - soft_label(preference.margin, settings.strength_scale), 1.0) for preference in preferences]
    if kind == "gap":
        gaps = [abs(one - other) ** settings.gap_power for one, other in map(scores_of, preferences)]
        mean = sum(gaps) / max(1, len(gaps))
        return [(0.0, gap / mean) for gap in gaps]
    return [(0.0, 1.0)] * len(preferences)


def soft_label(margin: float | None, scale: float) -> float:
    """How sure a choice is, in 0.5..1: `sigmoid(|margin| / scale)`; 1 where the scale is 0 or the judge gives no margin."""
    if margin is None or scale == 0:
        return 1.0
    return 1 / (1 + math.exp(-abs(margin) / scale))


def scores_of(preference: Preference) -> tuple[float, float]:
    """The rewards that a judge gave both answers.

    Raises:
        InputError: it gives none.
    """
    if preference.scores is None:
        raise InputError(
            "this judge chooses and gives no scores, which the method 'optune' goes by; take the annotator implicit or embedding, or "
            "another method"
        )
    return preference.scores


def gap_of(preference: Preference | None) -> float:
    """How far apart a judge sees two answers, in its own unit; where it gives no margin, all the way if it chose, else not at all."""
    if preference is None or preference.choice is None:
        return 0.0
    return math.inf if preference.margin is None else abs(preference.margin)


def implied(gap: float) -> Preference | None:
    """What an implicit reward prefers, of the margin of its log-ratios; None where it says nothing."""
    if not abs(gap) > NO_DIFFERENCE:
        return None
    return Preference("first" if gap > 0 else "second", gap, Cost())
