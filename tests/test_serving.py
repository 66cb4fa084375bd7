"""The line in front of the model: places, refusals, people who leave, errors, and learning meanwhile. Waits are for events."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.decoding.engine import Engine
from app.errors import BusyError, InputError
from app.serving import WAITING_AT_MOST, Place, Serving
from app.worker import Worker
from tests.test_batching import PROMPTS, alone, make_run

HANG = 300.0


@pytest.fixture
def worker():
    return Worker()


def said_by(stream):
    """Places and events of a stream, up to its end."""
    places, events = [], []
    for item in stream:
        if isinstance(item, Place):
            places.append(item.number)
        else:
            events += [(e.arm, e.token, e.finish_reason) for e in item]
    return places, events


def wish(model, **values):
    return lambda has_gone: (make_run(model, stop=has_gone, **values), None)


def test_everybody_gets_what_they_would_get_alone(llama, worker):
    expected = {prompt: alone(llama, make_run(llama, prompt)) for prompt in PROMPTS}
    serving = Serving(Engine(llama.forward_with, at_once=3), worker)
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(12)]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda prompt: said_by(serving.stream(wish(llama, prompt=prompt))), prompts))
    assert [events for _, events in found] == [expected[prompt] for prompt in prompts]
    for places, _ in found:
        assert places == sorted(places, reverse=True)
    assert serving.people() == 0
    assert worker.call(lambda: 7) == 7 and worker.waiting() == 0


def test_work_behind_visitors_is_told_when_they_have_gone(llama, worker):
    entered, opened = threading.Event(), threading.Event()

    def held(has_gone):
        entered.set()
        assert opened.wait(HANG)
        return make_run(llama, stop=has_gone, max_new_tokens=2), None

    serving = Serving(Engine(llama.forward_with), worker)
    assert serving.rest(0)
    stream = serving.stream(held)
    assert entered.wait(HANG) and not serving.rest(0)
    with ThreadPoolExecutor(1) as pool:
        behind = pool.submit(serving.rest, HANG)
        opened.set()
        assert behind.result(HANG) and serving.people() == 0
    said_by(stream)

    def broken(step):
        raise AssertionError(step)

    serving._step = lambda: broken("a fault of our own")
    with pytest.raises(AssertionError, match="fault of our own"):
        said_by(serving.stream(wish(llama)))
    assert serving.rest(HANG)


def test_places_count_down_and_a_full_line_is_refused(llama, worker):
    entered, opened = threading.Event(), threading.Event()

    def held(has_gone):
        entered.set()
        assert opened.wait(HANG)
        return make_run(llama, stop=has_gone, max_new_tokens=2), None

    serving = Serving(Engine(llama.forward_with, at_once=1), worker)
    first = serving.stream(held)
    assert entered.wait(HANG)
    # While its run is made, the first stands in line, too.
    others = [serving.stream(wish(llama, max_new_tokens=2)) for _ in range(WAITING_AT_MOST - 1)]
    with pytest.raises(BusyError, match=f"{WAITING_AT_MOST} people wait"):
        serving.stream(wish(llama))
    assert serving.people() == WAITING_AT_MOST
    opened.set()
    assert said_by(first)[0] == []
    for number, stream in enumerate(others, start=1):
        places, events = said_by(stream)
        assert places[0] <= number and places == list(range(places[0], 0, -1))
        assert len(events) >= 3
    assert said_by(serving.stream(wish(llama)))[1]


def test_whoever_goes_away_frees_the_place(llama, worker):
    serving = Serving(Engine(llama.forward_with, at_once=1), worker)
    run = make_run(llama, max_new_tokens=200)
    ended = threading.Event()

    def long(has_gone):
        def stop():
            if has_gone():
                ended.set()
            return has_gone()

        run._stop = stop
        return run, None

    stream = serving.stream(long)
    next(stream)
    waiting = serving.stream(wish(llama))
    stream.close()
    assert ended.wait(HANG)
    assert said_by(waiting)[1] == alone(llama, make_run(llama))
    assert run.done and serving.people() == 0


def test_an_error_reaches_the_one_who_asked(llama, worker):
    serving = Serving(Engine(llama.forward_with, room=200), worker)

    def broken(has_gone):
        raise InputError("no such version")

    with pytest.raises(InputError, match="no such version"):
        said_by(serving.stream(broken))
    with pytest.raises(InputError, match="there is room for 200"):
        said_by(serving.stream(wish(llama, max_new_tokens=100)))
    assert serving.people() == 0


def test_an_error_of_our_own_is_told_to_all_and_ends_nothing_for_good(llama, worker):
    engine = Engine(llama.forward_with)
    serving, entered, opened = Serving(engine, worker), threading.Event(), threading.Event()

    def broken(has_gone):
        entered.set()
        assert opened.wait(HANG)
        raise KeyError("a mistake")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(said_by, serving.stream(broken))
        assert entered.wait(HANG)
        second = pool.submit(said_by, serving.stream(wish(llama)))
        opened.set()
        with pytest.raises(KeyError, match="a mistake"):
            first.result(HANG)
        outcomes = second.exception(HANG)
        assert outcomes is None or isinstance(outcomes, KeyError)
    assert said_by(serving.stream(wish(llama)))[1] == alone(llama, make_run(llama))


def test_learning_goes_on_between_the_steps(llama, worker):
    serving, background = Serving(Engine(llama.forward_with), worker), []

    def learning():
        while True:
            background.append(1)
            yield

    expected = alone(llama, make_run(llama, max_new_tokens=60, no_repeat_ngram=2))
    steps = worker.stream(learning(), background=True)
    before = len(background)
    assert said_by(serving.stream(wish(llama, max_new_tokens=60, no_repeat_ngram=2)))[1] == expected
    assert len(background) > before
    steps.close()
