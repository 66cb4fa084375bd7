"""Whoever goes away in mid-answer frees the place: on the page, over the API, and while standing in line."""

import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.decoding.engine import Engine
from app.serving import LISTENED_FOR_SECONDS, Serving
from app.worker import Worker
from tests.faults.live import ASKED, HANG, streamed
from tests.test_api import Server, page_inputs, serving
from tests.test_batching import make_run

LONG = 3000  # tokens: minutes, for whoever is not let go


@pytest.fixture(scope="module")
def server(talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(talker, tmp_path_factory.mktemp("vanishing")) as running:
        yield running


def nothing_is_left(server: Server, rounds: int) -> bool:
    """Whether the place becomes free, and no answer that nobody waited for was stored."""
    return server.services.serving.rest(HANG) and server.services.store.counts()["rounds"] == rounds


def test_who_leaves_the_api_in_mid_answer_frees_the_place(server: Server):
    with streamed(server.url, "compare", **ASKED, max_new_tokens=LONG) as parts:
        told = next(parts)
        assert told["round_id"] is None and server.services.serving.people() == 1
        assert {answer["finish_reason"] for answer in told["answers"].values()} == {""}
        further = next(parts)
        for arm, answer in told["answers"].items():
            assert further["answers"][arm]["text"].startswith(answer["text"])
    assert nothing_is_left(server, rounds=0)


def test_a_blind_answer_on_its_way_tells_no_arm(server: Server):
    with streamed(server.url, "compare", **ASKED, max_new_tokens=LONG, blind=True) as parts:
        told = next(parts)
    assert {side: set(answer) for side, answer in told["answers"].items()} == {"first": {"text"}, "second": {"text"}}
    assert nothing_is_left(server, rounds=0)


def test_who_closes_the_page_in_mid_answer_frees_the_place(server: Server):
    session = uuid.uuid4().hex
    inputs = page_inputs(blind=False)
    inputs[5], inputs[8] = 0, 400  # temperature and longest answer, the most that the page takes
    body = {"data": inputs, "fn_index": server.event("compare"), "session_hash": session}
    httpx.post(f"{server.url}gradio_api/queue/join", json=body, timeout=HANG).raise_for_status()
    with httpx.stream(
        "GET", f"{server.url}gradio_api/queue/data", params={"session_hash": session}, timeout=HANG
    ) as stream:
        messages = (json.loads(line.removeprefix("data:")) for line in stream.iter_lines() if line.startswith("data:"))
        assert any(message["msg"] == "process_generating" and "pl-caret" in str(message) for message in messages)
        assert server.services.serving.people() == 1
    assert nothing_is_left(server, rounds=0)


def test_who_waits_can_go_away_although_nothing_happens(llama):
    worker = Worker()
    serving, opened, begun = (
        Serving(Engine(llama.forward_with, at_once=1), worker),
        threading.Event(),
        threading.Event(),
    )

    def held(has_gone):
        begun.set()
        assert opened.wait(HANG)
        return make_run(llama, stop=has_gone), None

    first = serving.stream(held)
    assert begun.wait(HANG)
    waiting = serving.stream(lambda has_gone: (make_run(llama, stop=has_gone), None))
    assert LISTENED_FOR_SECONDS <= 0.5 and next(waiting) == [] == next(waiting)
    waiting.close()
    opened.set()
    assert [item for item in first if item]
    assert serving.rest(HANG) and serving.people() == 0
