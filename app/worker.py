"""One thread owns the model; jobs take turns on it step by step, and learning gives way to answering.

It knows iterators and turns, not what they compute. Results go to whoever asked, through a queue of their own.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

from app.errors import BusyError

logger = logging.getLogger(__name__)

T = TypeVar("T")
WAITING_AT_MOST = 32
FOREGROUND_STEPS_PER_BACKGROUND_STEP = 8


class _Job:
    def __init__(self, steps: Iterator[Any], background: bool, heard: bool = True):
        self.steps, self.background, self.heard = steps, background, heard
        self.results: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.abandoned = threading.Event()


class Worker:
    """Runs iterators on one thread of its own: foreground ones in turn, a step each; background ones in the gaps, and at least
    one step in every `FOREGROUND_STEPS_PER_BACKGROUND_STEP`, so that they finish too.

    One thread, because torch keeps a pool of compute threads for every thread that calls it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._since_background = 0
        threading.Thread(target=self._run, name="model-worker", daemon=True).start()

    def stream(self, steps: Iterator[T], background: bool = False) -> Iterator[T]:
        """Hands `steps` to the worker and returns its items as they come; closing the result stops it within one step.

        Raises:
            BusyError: too much is waiting already.
        """
        job = _Job(steps, background)
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

    def _next_job(self) -> _Job:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs)
            due = self._since_background >= FOREGROUND_STEPS_PER_BACKGROUND_STEP
            # min() takes the first of equals: of the preferred kind, the one that has waited longest.
            job = min(self._jobs, key=lambda j: j.background != due)
            self._since_background = 0 if job.background else self._since_background + 1
            return job
