"""Counts what visitors do and says when it is too much, and how long to wait.

A visitor is a rater and an address; each is counted, and so are all together. A use case says what is done (`spend`, `at_once`)
without knowing by whom: the page's door names the visit, and where nobody visits, as on the command line and in the answers that a
study makes for itself, nothing is counted. Knows no page, no model and no storage.
"""

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from app.errors import InputError, LimitError, checked
from app.limit_settings import KINDS, OFF, Kind, LimitSettings

WORDS = {
    "calls": "calls",
    "comparisons": "comparisons",
    "tokens": "tokens of answers",
    "votes": "votes",
    "refreshes": "rounds of learning",
    "personas": "saved personas",
    "upload_mb": "megabytes of files",
}
RATER, ADDRESS, EVERYBODY = "one visitor", "one address", "everybody together"


@dataclass(frozen=True)
class LimitState:
    """One limit as it stands.

    rates: of one visitor, as in the settings. times_address and times_everybody: by how much it is wider for an address and for all;
    0 is no limit. used: by all together since the start. refused: how often it was too much since the start.
    """

    kind: str
    rates: str
    times_address: int
    times_everybody: int
    used: int
    refused: int


class Limits:
    """Counts in memory, in sliding windows; a restart begins anew.

    Args:
        settings: how much is allowed.
        authorise: raises where a token is not the owner's.
    """

    def __init__(self, settings: LimitSettings, authorise: Callable[[str], None]):
        self.settings, self._authorise = settings, authorise
        self._storage = MemoryStorage()
        self._windows = SlidingWindowCounterRateLimiter(self._storage)
        self._lock = threading.Lock()
        self._used, self._refused, self._open = Counter[str](), Counter[str](), Counter[tuple[str, str]]()

    def take(self, kind: str, rater: str, address: str, cost: int = 1) -> None:
        """Counts what somebody is about to do; all of it, or nothing where one limit refuses.

        Args:
            kind: of `KINDS`, or "upload_mb", which only all together are counted for.
            rater: digest of the rater's secret, or "".
            address: where they come from, or "".
            cost: how much of the kind.

        Raises:
            LimitError: it is too much; the message says how long to wait.
        """
        whose = self._whose(kind, rater, address)
        with self._lock:
            for rate in self._rates(kind):
                for who, name, times in whose:
                    item = _wider(rate, times)
                    if not self._windows.test(item, kind, name, cost=cost):
                        self._refused[kind] += 1
                        raise _too_much(kind, who, item, cost, self._seconds(item, kind, name, cost))
            for rate in self._rates(kind):
                for _, name, times in whose:
                    self._windows.hit(_wider(rate, times), kind, name, cost=cost)
            self._used[kind] += cost

    @contextmanager
    def holding(self, what: str, *bounds: tuple[str, str, int]) -> Iterator[None]:
        """Holds one of a number of places for as long as the context lasts.

        Args:
            what: in words.
            bounds: whom it is counted for in words, their name, and how many places they have; an empty name is not counted.

        Raises:
            LimitError: all of somebody's places are taken.
        """
        bounds = tuple(bound for bound in bounds if bound[1])
        with self._lock:
            for who, name, most in bounds:
                if self._open[what, name] >= most:
                    self._refused[what] += 1
                    raise LimitError(
                        f"{self._open[what, name]} {what} are open just now, and {most} are the most for {who}; "
                        "please wait until one of them has ended, and try again",
                        5,
                    )
            self._open.update((what, name) for _, name, _ in bounds)
        try:
            yield
        finally:
            with self._lock:
                self._open.subtract((what, name) for _, name, _ in bounds)
                self._open += Counter()  # forgets whoever holds nothing any more

    def stream(self, address: str) -> AbstractContextManager[None]:
        """Holds an open stream to an address; see `holding`."""
        settings = self.settings
        return self.holding(
            "streams",
            (ADDRESS, f"address:{address}" if address else "", settings.streams),
            (EVERYBODY, "everybody", settings.streams_everybody),
        )

    def describe(self) -> list[LimitState]:
        """Every limit as it stands, for the owner."""
        with self._lock:
            return [
                LimitState(
                    kind,
                    getattr(self.settings, kind),
                    0 if kind == "upload_mb" else self.settings.address,
                    1 if kind == "upload_mb" else self.settings.everybody,
                    self._used[kind],
                    self._refused[kind],
                )
                for kind in (*KINDS, "upload_mb")
            ]

    def override(self, token: str, **changes: str | int) -> None:
        """Changes settings until the next start: `override(token, votes="60/minute", address=20)`.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            InputError: no such setting, or a malformed value.
        """
        self._authorise(token)
        if unknown := set(changes) - set(LimitSettings.model_fields):
            raise InputError(
                f"there is no limit {', '.join(sorted(unknown))[:80]!r}; known are {', '.join(LimitSettings.model_fields)}"
            )
        settings = checked(LimitSettings, **{**self.settings.model_dump(), **changes})
        with self._lock:
            self.settings = settings

    def _rates(self, kind: str) -> list[RateLimitItem]:
        text = getattr(self.settings, kind)
        return [] if text == OFF else parse_many(text)

    def _whose(self, kind: str, rater: str, address: str) -> list[tuple[str, str, int]]:
        settings = self.settings
        if kind == "upload_mb":
            return [(EVERYBODY, "everybody", 1)]
        # The wide ones first: whoever draws a new secret for every call is refused before anything is noted under it.
        bounds = [
            (EVERYBODY, "everybody", settings.everybody),
            (ADDRESS, f"address:{address}", settings.address if address else 0),
            (RATER, f"rater:{rater}", 1 if rater else 0),
        ]
        return [bound for bound in bounds if bound[2]]

    def _seconds(self, item: RateLimitItem, kind: str, name: str, cost: int) -> int:
        if cost > item.amount:
            return 0
        expiry = item.get_expiry()
        before, before_left, now, now_left = self._storage.get_sliding_window(item.key_for(kind, name), expiry)
        return seconds_to_wait(item.amount - cost, expiry, before, before_left, now, now_left - expiry)


ROUNDING = 1e-6  # seconds: a sum of floats may fall short of the whole second that it is


def seconds_to_wait(room: int, expiry: int, before: int, before_left: float, now: int, left: float) -> int:
    """Seconds until a sliding window counts no more than `room`.

    The window counts what was done in this period and, of the period before, the share that still lies within: `before * before_left /
    expiry + now`, rounded down. When this period ends, it becomes the one before.

    Args:
        room: how much may have been counted so that there is still a place.
        expiry: length of a period, in seconds.
        before, now: counts of both periods.
        before_left: seconds until nothing of the period before counts any more.
        left: seconds until this period ends.
    """
    if now <= room:
        wait = before_left - (room + 1 - now) * expiry / before if before else 0.0
    else:
        wait = left + expiry * (1 - (room + 1) / now)
    return max(1, math.floor(wait + ROUNDING) + 1)


def _wider(rate: RateLimitItem, times: int) -> RateLimitItem:
    return type(rate)(rate.amount * times, rate.multiples)


def _too_much(kind: str, who: str, item: RateLimitItem, cost: int, seconds: int) -> LimitError:
    span = item.GRANULARITY.name if item.multiples == 1 else f"{item.multiples} {item.GRANULARITY.name}s"
    bound = f"{item.amount} {WORDS[kind]} per {span} are the most for {who}"
    if not seconds:
        return LimitError(f"this asks for {cost}, and {bound}; please ask for less at once", seconds)
    more = f"this asks for {cost} more" if cost > 1 else "this would be one more"
    return LimitError(f"{bound}, and {more}; please wait {in_words(seconds)} and try again", seconds)


def in_words(seconds: int) -> str:
    """A time to wait, rounded up."""
    for name, length in (("hour", 3600), ("minute", 60)):
        if seconds > 2 * length:
            return f"{math.ceil(seconds / length)} {name}s"
    return f"{seconds} second{'' if seconds == 1 else 's'}"


# --- who is here


@dataclass(frozen=True)
class Visit:
    """A call from outside that is under way: what counts it, and where it comes from."""

    limits: Limits
    address: str


_visit: ContextVar[Visit | None] = ContextVar("visit", default=None)


@contextmanager
def visiting(visit: Visit) -> Iterator[None]:
    """Everything that is done in this context is done by the visitor."""
    before = _visit.set(visit)
    try:
        yield
    finally:
        _visit.reset(before)


def spend(kind: Kind, rater: str, cost: int = 1) -> None:
    """Counts what a visitor is about to do, see `Limits.take`; nothing where nobody visits.

    Raises:
        LimitError: it is too much.
    """
    if visit := _visit.get():
        visit.limits.take(kind, rater, visit.address, cost)


@contextmanager
def at_once(rater: str) -> Iterator[None]:
    """Holds one of the visitor's places for comparisons at the same time; nothing where nobody visits.

    Raises:
        LimitError: all of them are taken.
    """
    if (visit := _visit.get()) is None:
        yield
        return
    settings, address = visit.limits.settings, visit.address
    with visit.limits.holding(
        "comparisons at the same time",
        (RATER, f"rater:{rater}" if rater else "", settings.at_once),
        (ADDRESS, f"address:{address}" if address else "", settings.at_once_address),
    ):
        yield
