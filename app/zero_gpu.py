"""ZeroGPU, the Hub's lent GPUs: every job goes, one at a time, to a process that was forked from this one and shares no memory with it.

So there is no batching there, and what a job leaves behind is on the disk. It knows no texts, no arms and no storage.

Pickles, refused everywhere else, are how jobs travel here, and `spaces.GPU` (0.51.3) leaves no choice: its wrapper puts the arguments into a
multiprocessing queue and the items into another, which pickle whatever they are given. So JSON would only be pickled once more. They go
through pipes between a process and its own fork and are never on a disk or a network. What we pickle ourselves are the arguments, so that
what both have (the use cases, the model) goes by name and only the rest by value.
"""

import importlib
import os
import pickle  # between our own two processes only, see above  # nosec B403
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from app.decoding.engine import Engine
from app.decoding.run import TokenEvent
from app.errors import BusyError, InputError, PlumblineError, first_line
from app.serving import WAITING_AT_MOST, Load, Make
from app.worker import Wait

T = TypeVar("T")
SECONDS = 60  # of GPU time that a job asks for; what is not used is given back


def is_lent() -> bool:
    """Whether this is a ZeroGPU Space: the Hub says so in the environment, and its package is there."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


@dataclass(frozen=True)
class _Flag:
    """In the other process, an event of this one: set once the file is there."""

    file: Path

    def is_set(self) -> bool:
        return self.file.exists()


@dataclass(frozen=True)
class _Failed:
    """An error with its words, which the package itself would not pass on."""

    error: PlumblineError


class LentWorker:
    """Runs jobs as `app.worker.Worker` does, on a GPU that is lent for each; the Hub's own queue gives the turns beyond ours."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._turn, self._counting = threading.Lock(), threading.Lock()
        self._waiting = 0
        gpu = importlib.import_module("spaces").GPU
        # Decorated once and before the first fork, which takes what is known then along.
        self._lent = gpu(duration=SECONDS)(self._there)

    def knows(self, **parts: Any) -> None:
        """What both processes have; to be told before the first job."""
        self._known |= parts

    def stream(self, steps: Callable[[], Iterator[T]], background: bool = False) -> Iterator[T]:
        """Waits for its turn and yields what `steps` makes over there; closing the result ends it after the step it is at.

        Raises:
            BusyError: too much is waiting already.
            InputError: the job holds something that cannot travel.
        """
        with self._counting:
            if self._waiting >= WAITING_AT_MOST:
                raise BusyError(f"{self._waiting} people wait for the GPU just now, which is the most at once; please try again in a moment")  # fmt: skip
            self._waiting += 1
        try:
            with self._turn, TemporaryDirectory(prefix="plumbline-job-") as folder:
                packed, flags = self._packed(steps, Path(folder))
                for item in self._lent(packed):
                    if isinstance(item, _Failed):
                        raise item.error
                    for flag, event in flags.items():
                        if event.is_set():
                            flag.file.touch()
                    yield item
        finally:
            with self._counting:
                self._waiting -= 1

    def call(self, function: Callable[[], T]) -> T:
        """Runs one function over there and returns what it returns."""
        return next(self.stream(partial(_once, function)))

    def waiting(self) -> int:
        """How many jobs are running or waiting."""
        return self._waiting

    def rest(self, seconds: float) -> bool:
        """Waits until no job has its turn, for so long at the most; returns whether it came to that."""
        if free := self._turn.acquire(timeout=seconds):
            self._turn.release()
        return free

    def _packed(self, steps: Any, folder: Path) -> tuple[bytes, dict[_Flag, threading.Event]]:
        flags: dict[_Flag, threading.Event] = {}
        names = {id(part): name for name, part in self._known.items()}
        set_ = type(threading.Event())

        class Packer(pickle.Pickler):
            def persistent_id(self, part: Any) -> str | None:
                return names.get(id(part))

            def reducer_override(self, part: Any) -> Any:
                if not isinstance(part, set_):
                    return NotImplemented
                flag = _Flag(folder / str(len(flags)))
                flags[flag] = part
                return _Flag, (flag.file,)

        buffer = BytesIO()
        try:
            Packer(buffer).dump(steps)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise InputError(
                f"this cannot be done on a ZeroGPU Space, where every job travels to another process: {first_line(error)[:200]}; "
                "run Plumbline on other hardware for it"
            ) from error
        return buffer.getvalue(), flags

    def _there(self, packed: bytes) -> Iterator[Any]:
        known = self._known

        class Unpacker(pickle.Unpickler):
            def persistent_load(self, name: str) -> Any:
                return known[name]

        try:
            for item in Unpacker(BytesIO(packed)).load()():
                if isinstance(item, Wait):
                    wait([item.future], item.seconds)
                else:
                    yield item
        except PlumblineError as error:
            yield _Failed(error)


class LentServing:
    """Comparisons one after another, each with the whole GPU; otherwise as `app.serving.Serving`.

    Args:
        engine: makes an engine for one comparison.
        worker: which has been told of this object.
    """

    def __init__(self, engine: Callable[[], Engine], worker: LentWorker):
        self._engine, self._worker = engine, worker

    def stream(self, make: Make) -> Iterator[list[TokenEvent]]:
        """Yields the events of every step until all arms have finished."""
        return self._worker.stream(partial(self._answers, make))

    def beside(self, steps: Callable[[], Iterator[T]]) -> Iterator[T]:
        """Runs what `steps` makes over there, as a job of its own."""
        return self._worker.stream(steps)

    def people(self) -> int:
        """How many are being answered or wait."""
        return self._worker.waiting()

    def load(self) -> Load:
        """How much there is to do; no cache is kept between two jobs."""
        jobs = self._worker.waiting()
        return Load(min(jobs, 1), max(jobs - 1, 0), 0)

    def rest(self, seconds: float) -> bool:
        """Waits until nobody is answered or waits, for so long at the most; returns whether it came to that."""
        return self._worker.rest(seconds)

    def _answers(self, make: Make) -> Iterator[list[TokenEvent]]:
        run, adapter = make(_stays)
        engine = self._engine()
        engine.add(run, adapter)
        while engine.busy:
            for _, outcome in engine.step():
                if isinstance(outcome, Exception):
                    raise outcome
                yield outcome


def _stays() -> bool:
    return False  # who goes away closes the stream, and the package ends the job


def _once(function: Callable[[], T]) -> Iterator[T]:
    yield function()
