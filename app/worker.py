"""One thread owns the model; jobs take turns on it step by step, and learning gives way to answering.

It knows iterators and turns, not what they compute. Results go to whoever asked, through a queue of their own.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from app.errors import BusyError

logger = logging.getLogger(__name__)

T = TypeVar("T")
WAITING_AT_MOST = 32
FOREGROUND_STEPS_PER_BACKGROUND_STEP = 8


@dataclass(frozen=True)
class Wait:
    """What a job yields that cannot go on before something outside has happened: its next turn comes once `future` is done, or after
    `seconds`. Meanwhile nobody spins. Whoever reads the job's stream gets it like any other item.
    """

    future: Future
    seconds: float


class _Job:
    def __init__(self, steps: Iterator[Any], background: bool, heard: bool = True):
        self.steps, self.background, self.heard = steps, background, heard
        self.results: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.abandoned = threading.Event()
        self._future: Future | None = None
        self._wakes = 0.0

    def wait(self, wait: Wait | None) -> None:
        """From now on it is not ready before that is over."""
        self._future = wait and wait.future
        self._wakes = time.monotonic() + wait.seconds if wait else 0.0

    def rest(self) -> float:
        """Seconds until it is ready at the latest; 0 where it is."""
        if self._future is None or self._future.done():
            return 0.0
        return max(0.0, self._wakes - time.monotonic())


class Worker:
    """Runs iterators on one thread of its own: foreground ones in turn, a step each; background ones in the gaps, and at least
    one step in every `FOREGROUND_STEPS_PER_BACKGROUND_STEP`, so that they finish too.

    A job that yields a `Wait` has no turn before that is over.

    One thread, because torch keeps a pool of compute threads for every thread that calls it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._since_background = 0
        threading.Thread(target=self._run, name="model-worker", daemon=True).start()

    def stream(self, steps: Iterator[T] | Callable[[], Iterator[T]], background: bool = False) -> Iterator[T]:
        """Hands `steps`, or what they make, to the worker and returns its items as they come; closing the result stops it within one step.

        Raises:
            BusyError: too much is waiting already.
        """
        job = _Job(steps() if callable(steps) else steps, background)
        with self._changed:
            if len(self._jobs) >= WAITING_AT_MOST:
                raise BusyError(
                    f"{len(self._jobs)} answers are being written just now, which is the most at once; please try again in a moment"
                )
            self._jobs.append(job)
            self._changed.notify()
        results = self._results(job)
        next(results)
        return results

    def spawn(self, steps: Iterator[object]) -> None:
        """Runs `steps` to their end in the foreground. Nobody listens: items are dropped, and an error is logged."""
        with self._changed:
            self._jobs.append(_Job(steps, background=False, heard=False))
            self._changed.notify()

    def call(self, function: Callable[[], T]) -> T:
        """Runs one function on the worker's thread and returns what it returns."""

        def steps() -> Iterator[T]:
            yield function()

        return next(self.stream(steps()))

    def waiting(self) -> int:
        """How many jobs are running or waiting."""
        return len(self._jobs)

    @staticmethod
    def _results(job: _Job) -> Iterator[Any]:
        try:
            yield  # up to here `stream` goes itself: closing a generator that has not begun would not reach `finally`
            while True:
                kind, value = job.results.get()
                if kind == "raised":
                    raise value
                if kind == "end":
                    return
                yield value
        finally:
            job.abandoned.set()

    def _run(self) -> None:
        while True:
            job = self._next_job()
            kind, value = self._step(job)
            job.wait(value if isinstance(value, Wait) else None)
            if isinstance(value, Wait):
                value.future.add_done_callback(self._wake)
            with self._changed:
                self._jobs.remove(job)
                if kind == "item":
                    self._jobs.append(job)
            if job.heard:
                job.results.put((kind, value))

    @staticmethod
    def _step(job: _Job) -> tuple[str, Any]:
        try:
            if not job.abandoned.is_set():
                return "item", next(job.steps)
            if isinstance(job.steps, Generator):
                job.steps.close()
            return "end", None
        except StopIteration:
            return "end", None
        except BaseException as error:  # all of it belongs to whoever asked; the one thread outlives every job
            if job.abandoned.is_set() or not job.heard:
                logger.warning("a job failed that nobody waits for", exc_info=error)
            return "raised", error

    def _wake(self, _: Future) -> None:
        with self._changed:
            self._changed.notify()

    def _next_job(self) -> _Job:
        with self._changed:
            while not (ready := [job for job in self._jobs if not job.rest()]):
                self._changed.wait(min((job.rest() for job in self._jobs), default=None))
            due = self._since_background >= FOREGROUND_STEPS_PER_BACKGROUND_STEP
            # min() takes the first of equals: of the preferred kind, the one that has waited longest.
            job = min(ready, key=lambda j: j.background != due)
            self._since_background = 0 if job.background else self._since_background + 1
            return job
