"""The one thread that owns the model: order, turns, errors, closing, limits. Waits are for events; their limits only end a hang."""

import asyncio
import contextlib
import gc
import itertools
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from app.errors import BusyError
from app.worker import FOREGROUND_STEPS_PER_BACKGROUND_STEP, WAITING_AT_MOST, Wait, Worker

HANG = 60.0


@pytest.fixture
def worker():
    return Worker()


@contextlib.contextmanager
def held(worker):
    """Keeps the worker inside one step, so that what is asked for meanwhile waits in a known order."""
    entered, gate = threading.Event(), threading.Event()

    def steps():
        entered.set()
        yield gate.wait(HANG)

    stream = worker.stream(steps())
    assert entered.wait(HANG)
    try:
        yield
    finally:
        gate.set()
        assert list(stream) == [True]


class Endless:
    """Steps without an end, each of which waits to be let through; tells what was begun, and when it was closed."""

    def __init__(self):
        self.begun, self.let_through, self.closed, self.count = queue.Queue(), queue.Queue(), threading.Event(), 0

    def steps(self):
        try:
            while True:
                self.count += 1
                self.begun.put(self.count)
                self.let_through.get(timeout=HANG)
                yield self.count
        finally:
            self.closed_on = threading.current_thread()
            self.closed.set()


def logged(log, name, count):
    for _ in range(count):
        log.append(name)
        yield name


def test_results_arrive_in_order(worker):
    assert list(worker.stream(iter(range(500)))) == list(range(500))
    assert list(worker.stream(iter([]), background=True)) == []
    assert worker.call(lambda: "done") == "done"


def test_two_foreground_jobs_alternate_step_by_step(worker):
    log = []
    with held(worker):
        streams = [worker.stream(logged(log, name, 10)) for name in "ab"]
    assert [list(s) for s in streams] == [["a"] * 10, ["b"] * 10]
    assert "".join(log) == "ab" * 10


def test_a_late_short_job_is_not_kept_waiting_by_a_long_one(worker):
    endless = Endless()
    long = worker.stream(endless.steps())
    assert endless.begun.get(timeout=HANG) == 1
    short = worker.stream(iter("xyz"))
    for step in range(1, 5):  # one step of the short one between two of the long one: its items, then its end
        endless.let_through.put(None)
        assert endless.begun.get(timeout=HANG) == step + 1
    assert list(short) == ["x", "y", "z"] and endless.count == 5 and not endless.closed.is_set()
    long.close()
    endless.let_through.put(None)
    assert endless.closed.wait(HANG)


def test_a_background_job_gives_way_but_finishes(worker):
    log = []
    with held(worker):
        background = worker.stream(logged(log, "b", 6), background=True)
        foreground = worker.stream(logged(log, "f", 40))
    assert list(foreground) == ["f"] * 40 and list(background) == ["b"] * 6
    runs = [(name, len(list(group))) for name, group in itertools.groupby(log)]
    assert runs[0][0] == "f" and runs[0][1] <= FOREGROUND_STEPS_PER_BACKGROUND_STEP, (
        "the background job was asked for first, yet gives way"
    )
    while_both = [length for name, length in runs[1:-2] if name == "f"]
    assert while_both and set(while_both) == {FOREGROUND_STEPS_PER_BACKGROUND_STEP}
    assert all(length == 1 for name, length in runs[:-1] if name == "b")


@pytest.mark.parametrize(
    "error", [ValueError("odd"), KeyError("key"), asyncio.CancelledError(), SystemExit(3), RuntimeError()]
)
@pytest.mark.parametrize("background", [False, True])
def test_an_exception_is_raised_where_the_job_was_asked_for_and_the_worker_goes_on(worker, error, background):
    def failing():
        yield 1
        raise error

    with held(worker):
        stream, other = worker.stream(failing(), background), worker.stream(iter(range(5)))
    assert next(stream) == 1
    with pytest.raises(type(error)) as caught:
        next(stream)
    assert caught.value is error
    assert list(stream) == []
    assert list(other) == [0, 1, 2, 3, 4]
    assert worker.call(lambda: 7) == 7


def test_a_failing_call_raises_and_a_stray_stop_iteration_is_no_silent_end(worker):
    with pytest.raises(ZeroDivisionError):
        worker.call(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="StopIteration"):
        worker.call(lambda: next(iter([])))
    assert worker.call(lambda: 7) == 7


@pytest.mark.parametrize("read", [0, 1, 3])
@pytest.mark.parametrize("how", ["close", "let go"])
def test_closing_the_stream_closes_the_steps_within_one(worker, read, how):
    endless = Endless()
    stream = worker.stream(endless.steps())
    assert endless.begun.get(timeout=HANG) == 1
    for step in range(1, read + 1):
        endless.let_through.put(None)
        assert next(stream) == step
        assert endless.begun.get(timeout=HANG) == step + 1
    if how == "close":
        stream.close()
    else:
        del stream
        gc.collect()
    endless.let_through.put(None)
    assert endless.closed.wait(HANG)
    assert endless.count == read + 1
    assert endless.closed_on.name == "model-worker"
    assert list(worker.stream(iter([7]))) == [7] and worker.waiting() == 0


def test_what_is_closed_before_its_turn_never_begins(worker):
    endless = Endless()
    with held(worker):
        worker.stream(endless.steps()).close()
    assert worker.call(lambda: 7) == 7
    assert endless.count == 0


def test_closing_what_cannot_be_closed_or_fails_to_does_not_stop_the_worker(worker, caplog):
    def stubborn():
        try:
            while True:
                yield
        finally:
            raise OSError("no way out")

    with held(worker):
        streams = [worker.stream(iter(range(10**9))), worker.stream(stubborn())]
    for stream in streams:
        next(stream)
        stream.close()
    assert list(worker.stream(iter([7]))) == [7] and worker.waiting() == 0
    assert [str(record.exc_info[1]) for record in caplog.records] == ["no way out"], (
        "told, and only what is worth telling"
    )


def test_everything_runs_on_one_and_the_same_thread(worker):
    seen = set()

    def steps():
        try:
            for _ in range(5):
                seen.add(threading.get_ident())
                yield
        finally:
            seen.add(threading.get_ident())

    def ask(i):
        if i % 3 == 0:
            worker.call(lambda: seen.add(threading.get_ident()))
        stream = worker.stream(steps(), background=i % 2 == 0)
        next(stream)
        if i % 5:
            list(stream)
        stream.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(60)))
    worker.call(lambda: seen.add(threading.get_ident()))
    assert len(seen) == 1 and threading.get_ident() not in seen


def test_too_much_waiting_is_refused_and_room_comes_back(worker):
    refused = Endless()
    with held(worker):
        assert worker.waiting() == 1
        streams = [worker.stream(iter([i])) for i in range(WAITING_AT_MOST - 1)]
        assert worker.waiting() == WAITING_AT_MOST
        for background in (False, True):
            with pytest.raises(BusyError, match=f"{WAITING_AT_MOST} answers"):
                worker.stream(refused.steps(), background)
        with pytest.raises(BusyError):
            worker.call(lambda: 7)
    assert [list(s) for s in streams] == [[i] for i in range(WAITING_AT_MOST - 1)]
    assert worker.waiting() == 0 and refused.count == 0
    assert worker.call(lambda: 7) == 7


def test_nothing_is_lost_when_many_threads_ask(worker):
    def ask(thread):
        answers = []
        for job in range(25):
            stream = worker.stream(((thread, job, step) for step in range(6)), background=job % 4 == 0)
            if job % 5 == 3:
                answers.append([next(stream)])
                stream.close()
            else:
                answers.append(list(stream))
        return answers

    # 12 threads: each has one job at work and at most one closed one still to be put away, fewer than the queue holds.
    with ThreadPoolExecutor(12) as pool:
        everything = list(pool.map(ask, range(12)))
    for thread, answers in enumerate(everything):
        assert answers == [[(thread, job, step) for step in range(1 if job % 5 == 3 else 6)] for job in range(25)]
    assert worker.call(lambda: 7) == 7


# --- jobs that wait for something outside


def waiting_for(future, seconds, log):
    """Waits once, then tells whether what it waited for was done."""
    log.put("begun")
    yield Wait(future, seconds)
    log.put("again")
    yield future.done()


@pytest.mark.parametrize("background", [False, True])
def test_a_job_that_waits_has_no_turn_before_what_it_waits_for_is_done(worker, background):
    future, log = Future(), queue.Queue()
    stream = worker.stream(waiting_for(future, HANG, log), background)
    assert next(stream) == Wait(future, HANG)
    for _ in range(3):  # others have theirs meanwhile, of both kinds
        assert worker.call(lambda: 7) == 7
        assert list(worker.stream(iter(range(20)), background=True)) == list(range(20))
    assert log.get_nowait() == "begun" and log.empty() and worker.waiting() == 1
    future.set_result(None)
    assert next(stream) is True
    assert list(stream) == [] and worker.waiting() == 0


def test_a_wait_for_what_is_done_already_is_none(worker):
    future = Future()
    future.set_result(None)
    assert list(worker.stream(waiting_for(future, HANG, queue.Queue())))[1:] == [True]


def test_a_wait_ends_after_its_seconds_though_nobody_else_wakes_the_worker(worker):
    assert list(worker.stream(waiting_for(Future(), 0.05, queue.Queue())))[1:] == [False]


def test_nothing_is_computed_while_everybody_waits(worker):
    """The worker sleeps: it asks the job once, not over and over."""
    future, log = Future(), queue.Queue()
    asked, rest = 0, worker.stream(waiting_for(future, HANG, log))
    next(rest)
    (job,) = worker._jobs
    plain = job.rest

    def counted():
        nonlocal asked
        asked += 1
        return plain()

    job.rest = counted
    assert worker.call(lambda: 7) == 7
    once, until = asked, threading.Event()
    until.wait(0.2)
    assert asked - once <= 4, "two looks to see that nobody is ready, and as many for the end of the call"
    future.set_result(None)
    assert list(rest) == [True]


def test_what_waits_is_closed_soon_after_it_was_given_up(worker):
    closed = threading.Event()

    def steps():
        try:
            while True:
                yield Wait(Future(), 0.05)
        finally:
            closed.set()

    stream = worker.stream(steps())
    next(stream)
    stream.close()
    assert closed.wait(HANG)
    assert worker.call(lambda: 7) == 7 and worker.waiting() == 0
