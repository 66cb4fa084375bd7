"""How much one rater may teach: the most pairs that each may bring to a refresh. Knows counts; no pairs, no votes, no database."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

Item = TypeVar("Item")

FEWEST_RATERS = 3
ALWAYS = 20
SLACK = 1.5


def cap(counts: list[int], share: float) -> int | None:
    """The most pairs that one rater may bring; None where nobody has to bring fewer.

    With three raters or more nobody brings more than `share` of what is left, or more than `SLACK / raters` of it where that is
    more: of three raters nobody can be held to a fifth, and half is what the two others can outvote. The first `ALWAYS` pairs of
    everybody count, so that somebody who collects nearly alone is not kept from learning.

    Args:
        counts: how many pairs each rater has.
        share: above 0, 1 at most; 1 is no bound.
    """
    if len(counts) < FEWEST_RATERS or share >= 1:
        return None
    bound = max(share, SLACK / len(counts))
    # What is left when all are held to `most` is concave in it: whatever fits does so up to one largest number.
    low, high = ALWAYS, max(counts)
    while low < high:
        most = (low + high + 1) // 2
        fits = most <= bound * sum(min(count, most) for count in counts)
        low, high = (most, high) if fits else (low, most - 1)
    return low if low < max(counts) else None


def capped(items: Iterable[Item], rater: Callable[[Item], Hashable], share: float) -> list[Item]:
    """The items without the oldest of whoever brings more than `cap` says, in the order given.

    Args:
        items: oldest first.
        rater: whose an item is.
        share: as for `cap`.
    """
    items = list(items)
    counts = Counter(map(rater, items))
    most = cap(list(counts.values()), share)
    if most is None:
        return items
    too_many = {who: count - most for who, count in counts.items()}
    kept = []
    for item in items:
        who = rater(item)
        if too_many[who] > 0:
            too_many[who] -= 1
        else:
            kept.append(item)
    return kept
