"""The use case *ban a rater*: the owner shuts somebody out by their pseudonym, and lets them in again. No model, no page."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

from app.errors import InputError, NotFoundError
from app.prompts import clean
from storage.bans import BanTable, Voter
from storage.judgements import shared
from storage.store import Store
from storage.tallies import Selection

logger = logging.getLogger(__name__)

PSEUDONYM = re.compile(r"[0-9a-f]{6,24}")
LONGEST_REASON = 300
MOST_VOTERS = 200
MOST_SHARED = 20_000


@dataclass(frozen=True)
class Person:
    """Somebody who voted, as the owner sees them.

    shared, agreed: clear choices on what others chose on, too, and how many of them are those of most others.
    chance: how likely so little agreement would be of somebody who tosses a coin (one-sided binomial test, Holm's correction);
        None where nothing was shared.
    outlier: whether that is below 5 %: they choose against the others on purpose, or by mistake the wrong button.
    """

    voter: Voter
    shared: int = 0
    agreed: int = 0
    chance: float | None = None
    outlier: bool = False


class Bans:
    """Bans and their reasons.

    Args:
        store: where votes are kept.
        authorise: raises NotAllowedError where a token is not the owner's.
    """

    def __init__(self, store: Store, authorise: Callable[[str], None]):
        self._database, self._table, self._authorise = store.database, BanTable(store.database), authorise

    def ban(self, pseudonym: str, reason: str = "", token: str = "") -> str:
        """Shuts a rater out: their votes count nowhere any more, and new ones are refused with the reason.

        Args:
            pseudonym: how the rater's id begins, six characters at least, as the console and the exports show it.
            reason: what the rater is told; may be empty.
            token: the owner's, where one is set.

        Returns:
            The whole id.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            InputError: the pseudonym is none or fits several raters, or the reason is too long.
            NotFoundError: nobody's id begins so.
        """
        self._authorise(token)
        rater = self._rater(pseudonym)
        reason = clean(reason, "the reason", LONGEST_REASON) if str(reason or "").strip() else ""
        self._table.ban(rater, reason)
        logger.info("the owner banned the rater %s", rater[:8])
        return rater

    def lift(self, pseudonym: str, token: str = "") -> str:
        """Lets a rater in again, with all of their votes; arguments, result and errors as for `ban`.

        Raises:
            NotFoundError: also where they were not banned.
        """
        self._authorise(token)
        rater = self._rater(pseudonym)
        if not self._table.lift(rater):
            raise NotFoundError(f"the rater {rater[:8]!r} is not banned; there is nothing to lift")
        logger.info("the owner lifted the ban of the rater %s", rater[:8])
        return rater

    def people(self, token: str = "") -> list[Person]:
        """Everybody who voted or is banned, outliers first, then by votes; at most `MOST_VOTERS`.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
        """
        self._authorise(token)
        from app.insights.outliers import outliers  # with its statistics it takes a second to load

        found = {o.rater: o for o in outliers(shared(self._database, Selection(), MOST_SHARED))}
        people = [
            Person(voter, o.shared, o.agreed, o.chance, o.outlier) if (o := found.get(voter.rater)) else Person(voter)
            for voter in self._table.voters(MOST_VOTERS)
        ]
        return sorted(people, key=lambda person: not person.outlier)

    def _rater(self, pseudonym: str) -> str:
        start = str(pseudonym or "").strip().lower()
        if not PSEUDONYM.fullmatch(start):
            raise InputError(
                f"the rater is {start[:40]!r}; give how the pseudonym begins, 6 to 24 of the characters 0-9 and a-f"
            )
        known = self._table.known(start)
        if not known:
            raise NotFoundError(f"no rater's pseudonym begins with {start!r}; copy one from the list of people")
        if len(known) > 1:
            raise InputError(f"the pseudonyms of several raters begin with {start!r}; give more characters of it")
        return known[0]
