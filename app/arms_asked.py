"""Which arms may be asked for together, and what each of them needs. Knows names and settings; no model, no persona, no page."""

from collections.abc import Sequence

from app.decoding.arms import BEST_OF, OFFERED_ARMS, DecodeSettings
from app.errors import InputError


def checked_arms(arms: Sequence[str], voted: Sequence[str], blind: bool) -> tuple[str, ...]:
    """The arms that a comparison runs, in the order of `OFFERED_ARMS`: where blind, the two of the vote and no other.

    Raises:
        InputError: a name is unknown, none is left, or the vote is not between two different arms.
    """
    checked_vote(voted)
    if not arms or not set(arms) <= set(OFFERED_ARMS):
        raise InputError(
            f"the arms are {', '.join(arms)[:80] or 'none'}; choose one or more of {', '.join(OFFERED_ARMS)}"
        )
    return tuple(arm for arm in OFFERED_ARMS if arm in (voted if blind else arms))


def checked_vote(voted: Sequence[str]) -> None:
    """Raises InputError where a vote is not between two different arms that there are."""
    if len(voted) != 2 or len(set(voted)) != 2 or not set(voted) <= set(OFFERED_ARMS):
        raise InputError(
            f"the arms to vote on are {', '.join(map(str, voted))[:80] or 'none'}; they must be two different ones of "
            f"{', '.join(OFFERED_ARMS)}"
        )


def check_needs(arms: Sequence[str], adapter: str, settings: DecodeSettings, weights: Sequence[float]) -> None:
    """Says what is missing for an arm before anything is computed.

    Args:
        arms: names of `OFFERED_ARMS`.
        adapter: what answers; "" is the original model.
        settings: of all arms.
        weights: of the principles, one each.

    Raises:
        InputError: an arm cannot answer like this.
    """
    if "adapter_guided" in arms and not adapter:
        raise InputError(
            "the arm adapter_guided was asked for, and the original model answers here, with no adapter to guide it; "
            "choose a version such as v3, or leave the arm out"
        )
    if BEST_OF not in arms:
        return
    if list(weights) != [1.0]:
        raise InputError(
            f"the arm {BEST_OF} was asked for with {len(weights)} principles of weight {', '.join(f'{w:g}' for w in weights)}; "
            "its judge goes by one, of weight 1: leave the others or the arm out"
        )
    if settings.temperature == 0:
        raise InputError(
            f"the arm {BEST_OF} was asked for at temperature 0, at which all its answers are the same; give a temperature above 0, "
            "or leave the arm out"
        )
