"""The use case *visit*: how many labels a rater has made in one go, at what pace, and whether a break would do them good.

It knows votes by their time; no study, no model, no page.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from storage.clock import moment
from storage.sessions import labels_of_session
from storage.store import Store

ENDS_AFTER_MINUTES = 30.0  # without a label: who comes back later begins a new visit
BREAK_AFTER_MINUTES = 25.0
BREAK_AFTER_LABELS = 60


@dataclass(frozen=True)
class Visit:
    """One visit so far.

    session: its id, stored with every label.
    labels: how many were made.
    seconds: median seconds a label; None where none was timed.
    minutes: since its first label.
    """

    session: str
    labels: int = 0
    seconds: float | None = None
    minutes: float = 0.0

    @property
    def wants_break(self) -> bool:
        """Whether it has gone on for so long that a break is worth a reminder."""
        return self.labels >= BREAK_AFTER_LABELS or self.minutes >= BREAK_AFTER_MINUTES


class Visits:
    """Tells the visits of raters.

    Args:
        store: where the votes are kept.
    """

    def __init__(self, store: Store):
        self._store = store

    def now(self, rater: str, session: str, at: datetime | None = None) -> Visit:
        """The visit that a rater is on: the one named, or a new one where that has ended or was none.

        Args:
            rater: as stored, see `rater_of`.
            session: what the browser kept of the visit; may be anything.
            at: the present, timezone-aware; for tests.
        """
        at = at or moment()
        labels = labels_of_session(self._store.database, rater, session) if session else []
        if not labels:
            return Visit(session or secrets.token_urlsafe(9))
        times = [datetime.fromisoformat(created) for created, _ in (labels[0], labels[-1])]
        begun, last = ((at - time).total_seconds() / 60 for time in times)
        if abs(last) > ENDS_AFTER_MINUTES:  # labels to come: the clock was set back while nothing ran
            return Visit(secrets.token_urlsafe(9))
        timed = [seconds for _, seconds in labels if seconds is not None]
        return Visit(session, len(labels), median(timed) if timed else None, max(begun, 0.0))
