"""The use case *insights*: counts at once; what takes longer in the background, kept with the time at which it was made.

Knows the database and the figures; no page and no model.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from app.errors import NotFoundError, PlumblineError
from app.insights.figures import Quick
from app.insights_quick import quick
from storage.store import Store
from storage.tallies import Selection, newest_vote, personas, rater_names, studies, study_id

if TYPE_CHECKING:
    from app.insights_slow import Slow

logger = logging.getLogger(__name__)
FRESH_SECONDS = 60.0  # for so long what was computed is not computed again, though new votes may have come
MOST_KEPT = 32


@dataclass(frozen=True)
class Report:
    """What is known now. `slow` may be of earlier votes, see its `made`, or None; `computing` is whether newer figures are on their way.

    fault: why they are not.
    study_names, rater_names: what people call them, by id; raters' only where their rows were asked for.
    """

    quick: Quick
    slow: "Slow | None"
    computing: bool
    fault: str = ""
    study_names: dict[str, str] = field(default_factory=dict)
    rater_names: dict[str, str] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class _Kept:
    slow: "Slow | None"
    fault: str
    votes: tuple[int, int]
    at: float


class Insights:
    """Statistics over people's votes.

    Args:
        store: where they are kept.
        authorise: raises NotAllowedError where a token is not the owner's.
    """

    def __init__(self, store: Store, authorise: Callable[[str], None]):
        self._store, self._authorise = store, authorise
        self._kept: dict[Selection, _Kept] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def selection(self, persona: str | None = None, study: str = "", blind_only: bool = False) -> Selection:
        """What was asked for, checked.

        Args:
            persona: None is all, "" those principles that were written on the spot.
            study: its name or id; empty is all.
            blind_only: leave out votes that saw which arm was which.

        Raises:
            NotFoundError: nobody has voted on this persona yet, or there is no such study.
        """
        if persona is not None and persona not in (known := personas(self._store.database)):
            raise NotFoundError(
                f"nobody has voted on the persona {persona[:40]!r}; there are votes on: {', '.join(known)[:400] or 'none yet'}"
            )
        return Selection(persona, study_id(self._store.database, study) if study else None, bool(blind_only))

    def choices(self) -> tuple[list[str], dict[str, str]]:
        """What can be selected: personas that were voted on, and studies by id."""
        return personas(self._store.database), studies(self._store.database)

    def report(self, selection: Selection, raters: bool = False, token: str = "", wait: bool = False) -> Report:
        """The figures of some votes.

        Args:
            selection: which, see `selection`.
            raters: the rows of single raters, too, which are the owner's.
            token: the owner's, where one is set.
            wait: compute everything before it returns; else what takes longer is started, one computation at a time.

        Raises:
            NotAllowedError: the rows of single raters were asked for without the owner's token.
            StorageError: the database cannot be read.
        """
        if raters:
            self._authorise(token)
        database = self._store.database
        now = quick(database, selection, raters)
        if wait:
            kept, computing = self._compute(selection, self._votes(now)), False
        else:
            kept, computing = self._background(selection, self._votes(now))
        return Report(
            quick=now,
            slow=kept.slow if kept else None,
            computing=computing,
            fault=kept.fault if kept else "",
            study_names=studies(database),
            rater_names=rater_names(database) if raters else {},
        )

    def _votes(self, now: Quick) -> tuple[int, int]:
        """Changes with the votes: a vote that was taken back and given anew has a new id."""
        return now.votes, newest_vote(self._store.database)

    def _background(self, selection: Selection, votes: tuple[int, int]) -> tuple[_Kept | None, bool]:
        with self._lock:
            kept = self._kept.get(selection)
            if kept and ((kept.votes == votes and not kept.fault) or time.monotonic() - kept.at < FRESH_SECONDS):
                return kept, False
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._compute, args=(selection, votes), name="insights", daemon=True
                )
                self._thread.start()
            return kept, True

    def _compute(self, selection: Selection, votes: tuple[int, int]) -> _Kept:
        # Here and not above: no page needs statsmodels to begin.
        from app.insights_slow import compute

        slow, fault = None, "they could not be computed; the log says why"
        try:
            slow, fault = compute(self._store.database, selection), ""
        except PlumblineError as error:
            fault = str(error)
            logger.warning("no insights: %s", error)
        finally:
            kept = _Kept(slow, fault, votes, time.monotonic())
            with self._lock:
                self._kept.pop(selection, None)
                self._kept[selection] = kept
                while len(self._kept) > MOST_KEPT:
                    del self._kept[next(iter(self._kept))]
        return kept
