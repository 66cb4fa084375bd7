"""Many people's comparisons on one model: a line with places, one engine on the worker's thread, a stream for everybody.

It knows threads, queues and turns; it knows no texts, no arms and no storage.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from app.decoding.engine import Engine
from app.decoding.run import Run, TokenEvent
from app.errors import BusyError, PlumblineError
from app.worker import Worker

T = TypeVar("T")
WAITING_AT_MOST = 32
# A generator can be closed between two items only: so often there is one, though nothing may have happened.
LISTENED_FOR_SECONDS = 0.5

HasGone = Callable[[], bool]
Make = Callable[[HasGone], tuple[Run, str | None]]


@dataclass(frozen=True)
class Place:
    """Where somebody stands in line; 1 is next."""

    number: int


@dataclass(frozen=True)
class Load:
    """How much there is to do: comparisons that are answered and that wait, and the cached tokens that are kept for the former."""

    running: int
    waiting: int
    reserved_tokens: int


@dataclass(eq=False)
class _Visitor:
    """Somebody who waits for an answer; a None among the results is the end."""

    make: Make
    results: queue.SimpleQueue[list[TokenEvent] | Place | BaseException | None] = field(
        default_factory=queue.SimpleQueue
    )
    gone: threading.Event = field(default_factory=threading.Event)
    place: int = 0


class Serving:
    """Runs comparisons together on the model's own thread; background work of the worker goes on between their steps.

    Args:
        engine: from now on touched on the worker's thread only.
        worker: the thread that owns the model.
    """

    def __init__(self, engine: Engine, worker: Worker):
        self._engine, self._worker = engine, worker
        self._lock = threading.Lock()
        self._at_rest = threading.Condition(self._lock)
        self._arrived: list[_Visitor] = []
        self._visitors: dict[Run, _Visitor] = {}
        self._in_line = 0
        self._reserved = 0
        self._awake = False

    def stream(self, make: Make) -> Iterator[list[TokenEvent] | Place]:
        """Gets in line; yields places on the way, then the events of every step until all arms have finished; no events where none come for
        `LISTENED_FOR_SECONDS`, so that who waits can go away.

        Closing the result ends the run within one step.

        Args:
            make: called on the model's thread; returns the run and the adapter that answers. It is given a function that tells
                whether nobody listens any more, which the run has to heed as its `stop`.

        Raises:
            BusyError: the line is full.
            PlumblineError, RuntimeError: what `make` or the model raised.
        """
        visitor = _Visitor(make)
        with self._lock:
            if len(self._arrived) + self._in_line >= WAITING_AT_MOST:
                raise BusyError(
                    f"{WAITING_AT_MOST} people wait for an answer just now, which is the most at once; please try again in a moment"
                )
            self._arrived.append(visitor)
            if not self._awake:
                self._worker.spawn(self._steps())
                self._awake = True
        results = self._results(visitor)
        next(results)
        return results

    def beside(self, steps: Callable[[], Iterator[T]]) -> Iterator[T]:
        """Runs the steps that somebody's call makes on the model's thread, in turn with everybody's; closing the result ends them
        within one step.

        Raises:
            BusyError: too much is waiting already.
        """
        return self._worker.stream(steps)

    def people(self) -> int:
        """How many are being answered or wait."""
        with self._lock:
            return len(self._visitors) + len(self._arrived)

    def load(self) -> Load:
        """How much there is to do, as it was after the last step."""
        with self._lock:
            return Load(len(self._visitors) - self._in_line, len(self._arrived) + self._in_line, self._reserved)

    def rest(self, seconds: float) -> bool:
        """Waits until nobody is answered or waits, for so long at the most; returns whether it came to that."""
        with self._at_rest:
            return self._at_rest.wait_for(lambda: not self._awake, seconds)

    @staticmethod
    def _results(visitor: _Visitor) -> Iterator[list[TokenEvent] | Place]:
        try:
            yield []  # up to here `stream` goes itself: closing a generator that has not begun would not reach `finally`
            while True:
                try:
                    outcome = visitor.results.get(timeout=LISTENED_FOR_SECONDS)
                except queue.Empty:
                    yield []
                    continue
                if outcome is None:
                    return
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
        finally:
            visitor.gone.set()

    # --- on the worker's thread

    def _steps(self) -> Iterator[None]:
        try:
            while self._step():
                yield
        # An error of our own: everybody is told, and the next visitor finds a whole engine.
        except BaseException as error:
            with self._lock:
                left = [*self._visitors.values(), *self._arrived]
                for run in self._visitors:
                    run.end()
                self._visitors, self._arrived, self._in_line, self._awake, self._reserved = {}, [], 0, False, 0
                self._at_rest.notify_all()
            for visitor in left:
                visitor.results.put(error)
            raise

    def _step(self) -> bool:
        for visitor in list(self._arrived):
            try:
                run, adapter = visitor.make(visitor.gone.is_set)
                self._engine.add(run, adapter)
            except (PlumblineError, RuntimeError) as error:
                visitor.results.put(error)
            else:
                self._visitors[run] = visitor
            with self._lock:
                self._arrived.remove(visitor)
        for run, outcome in self._engine.step():
            visitor = self._visitors[run]
            visitor.results.put(outcome)
            if run.done:
                visitor.results.put(None)
                del self._visitors[run]
        in_line = self._engine.waiting()
        for number, run in enumerate(in_line, start=1):
            visitor = self._visitors[run]
            if visitor.place != number:
                visitor.place = number
                visitor.results.put(Place(number))
        with self._lock:
            self._in_line, self._reserved = len(in_line), self._engine.reserved()
            self._awake = self._engine.busy or bool(self._arrived)
            if not self._awake:
                self._at_rest.notify_all()
            return self._awake
