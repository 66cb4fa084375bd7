"""The guard and the door on a small page of Gradio's: sizes, other sites, streams, addresses, and what never reaches a function."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.routes import App
from hypothesis import given
from hypothesis import strategies as st
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from app.errors import InputError
from app.limit_settings import LimitSettings
from app.limits import Limits, spend
from app.ui.door import Door
from app.ui.envelope import call_fault
from app.ui.guard import Guard
from app.ui.payload import fits, fitting

LARGEST = 5 * 2**20
CALLED: list[tuple[Any, ...]] = []


def page(proxies: int = 0, **settings: str | int) -> Door:
    """A page with an endpoint, an endpoint that counts, a private event and one that has nothing to call."""

    def echo(text: str, count: int = 1) -> str:
        CALLED.append((text, count))
        return text * count

    def vote(rater: str) -> str:
        spend("votes", rater)
        return "noted"

    def pressed(text: str, number: float, chosen: str) -> str:
        CALLED.append((text, number, chosen))
        if text == "refuse":
            raise InputError("the text is 'refuse'; write another")
        return text

    with Door(Limits(LimitSettings(**settings), lambda token: None), proxies, analytics_enabled=False) as demo:
        gr.api(echo, api_name="echo")
        gr.api(vote, api_name="vote")
        fields = [gr.Textbox(label="Text"), gr.Number(label="Number"), gr.Radio(["a", "b"], label="Choice")]
        told, button = gr.Textbox(), gr.Button()
        button.click(pressed, fields, told, api_visibility="private", queue=False)
        button.click(None, fields, told, js="x => x", api_visibility="private")
    return demo.queue()


@contextmanager
def client_of(demo: Door, address: str = "198.51.100.7") -> Iterator[TestClient]:
    demo.max_file_size = LARGEST  # as `launch` does
    app = App.create_app(demo, app_kwargs={"middleware": [Middleware(Guard, demo, LARGEST)]})
    with TestClient(app, client=(address, 50000), base_url="http://page.example") as client:
        client.get("/gradio_api/startup-events")  # as `launch` does: from then on the queue is worked off
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with client_of(page()) as client:
        yield client


@pytest.fixture(autouse=True)
def _nothing_called() -> None:
    CALLED.clear()


def call(client: TestClient, name: str, *values: Any, **headers: str) -> str:
    """What comes of a call by plain HTTP: the last event, or the refusal."""
    started = client.post(f"/gradio_api/call/{name}", content=json.dumps({"data": values}), headers={"content-type": "application/json", **headers})  # fmt: skip
    if started.status_code != 200:
        return f"{started.status_code} {started.text}"
    return client.get(f"/gradio_api/call/{name}/{started.json()['event_id']}").text


def press(client: TestClient, number: int, *values: Any) -> tuple[int, str]:
    """What comes of a private event, called directly."""
    answer = client.post(
        "/gradio_api/run/predict",
        content=json.dumps({"data": values, "fn_index": number}),
        headers={"content-type": "application/json"},
    )
    return answer.status_code, answer.text


# --- other sites


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://page.example.evil.example"},
        {"origin": "http://page.example", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["call/echo", "run/echo", "queue/join", "upload", "cancel", "reset"])
def test_a_call_that_another_site_makes_a_browser_send_is_refused(client: TestClient, path: str, headers: dict):
    body = {"data": ["x", 1], "fn_index": 0, "session_hash": "s"}
    answer = client.post(f"/gradio_api/{path}", json=body, headers=headers)
    assert answer.status_code == 403 and "another site" in answer.json()["detail"] and not CALLED


@pytest.mark.parametrize("headers", [{"x-forwarded-host": "a:b:c"}, {"x-gradio-server": "http://a:b:c"}])
def test_an_address_that_cannot_be_read_is_refused_before_gradio_fails_on_it(client: TestClient, headers: dict):
    answer = client.get("/", headers=headers)
    assert answer.status_code == 400 and "cannot be read" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "http://page.example"}, {"origin": "https://page.example"}, {"sec-fetch-site": "same-origin"}],
)
def test_the_page_itself_and_programs_are_served(client: TestClient, headers: dict):
    assert '"abab"' in call(client, "echo", "ab", 2, **headers)


# --- sizes


def test_a_body_beyond_the_bound_is_refused_whether_it_says_its_length_or_not(client: TestClient):
    def endless() -> Iterator[bytes]:
        for _ in range(6):
            yield b" " * 2**20

    headers = {"content-type": "application/json"}
    told = client.post("/gradio_api/call/echo", content=b" " * (4 * 2**20 + 1), headers=headers)
    streamed = client.post("/gradio_api/call/echo", content=endless(), headers=headers)
    assert (told.status_code, streamed.status_code) == (413, 413)
    assert "4194304" in told.json()["detail"] and "4194304" in streamed.json()["detail"]
    assert "xx" in call(client, "echo", "x" * 10**6, 1)


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data; boundary=x"])
def test_a_body_that_is_no_text_is_refused(client: TestClient, kind: str):
    answer = client.post("/gradio_api/queue/join", content=b"\xff\xfe", headers={"content-type": kind})
    assert answer.status_code == 400 and "no UTF-8 text" in answer.json()["detail"]


def test_an_upload_says_its_length_and_keeps_to_it(client: TestClient):
    def endless() -> Iterator[bytes]:
        yield b"--x\r\n"

    assert client.post("/gradio_api/upload", content=endless()).status_code == 411
    declared = {"content-length": str(LARGEST * 3), "content-type": "multipart/form-data; boundary=x"}
    assert client.post("/gradio_api/upload", content=b"", headers=declared).status_code == 413


def test_uploads_of_everybody_are_counted():
    with client_of(page(upload_mb="2/hour")) as client:
        given_ = {"files": ("a.txt", b"x" * 1_100_000)}
        assert client.post("/gradio_api/upload", files=given_).status_code == 200
        refused = client.post("/gradio_api/upload", files=given_)
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0
        assert "please wait" in refused.json()["detail"]


def test_an_uploaded_file_keeps_to_its_folder(client: TestClient):
    for name in ("../../../../tmp/evil.txt", "/etc/evil.txt", "..\\evil.txt", "a\0b.txt", "x" * 500):
        answer = client.post("/gradio_api/upload", files={"files": (name, b"x")})
        for path in answer.json() if answer.status_code == 200 else []:
            assert (
                Path(path).resolve().is_relative_to(Path(client.app.uploaded_file_dir).resolve())
                and ".." not in Path(path).parts
            )


# --- outside, and files of the server


@pytest.mark.parametrize(
    "path",
    ["file=http://198.51.100.1/x", "file=HTTPS://example.org/x", "file/ftp://x/y", "file=file:///etc/passwd",
     "file=http:/127.0.0.1/x", "proxy=https://x.hf.space/y", "proxy=x"],
)  # fmt: skip
def test_nothing_outside_is_fetched_for_a_visitor(client: TestClient, path: str):
    answer = client.get(f"/gradio_api/{path}")
    assert answer.status_code == 403 and "not fetched" in answer.json()["detail"]


@pytest.mark.parametrize(
    "route", ["/gradio_api/file={}", "/gradio_api/file/{}", "/static/{}", "/assets/{}", "/svelte/{}"]
)
@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../../../../../../etc/passwd", "..%2f..%2f..%2f..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd",
     "....//....//etc/passwd", "%252e%252e%252fetc%252fpasswd", "app.py", "data/plumbline.db", "/proc/self/environ"],
)  # fmt: skip
def test_no_route_leads_to_a_file_of_the_server(client: TestClient, route: str, path: str):
    answer = client.get(route.format(path))
    assert answer.status_code in (400, 403, 404, 405), answer.text[:200]
    assert "root:" not in answer.text and "import " not in answer.text


def test_every_answer_carries_the_headers_that_keep_a_browser_at_home(client: TestClient):
    for path in ("/config", "/gradio_api/info", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["queue/data?session_hash=none", "call/echo/none", "call/v2/echo/none"])
def test_a_session_or_a_call_that_is_not_there_is_refused_before_a_stream_begins(client: TestClient, path: str):
    answer = client.get(f"/gradio_api/{path}")
    assert answer.status_code == 404 and "this session" in answer.json()["detail"]


# --- limits


def test_a_visitor_is_told_how_long_to_wait():
    with client_of(page(votes="1/hour")) as client:
        assert "noted" in call(client, "vote", "ann")
        assert "1 votes per hour are the most for one visitor" in call(client, "vote", "ann")
        assert "please wait" in call(client, "vote", "ann")
        assert "noted" in call(client, "vote", "bob")


def test_calls_are_counted_by_address_whatever_they_call():
    with client_of(page(calls="2/hour", address=1)) as client:
        answers = [client.post(f"/gradio_api/{path}", json={}) for path in ("cancel", "nothing", "reset")]
    assert [answer.status_code == 429 for answer in answers] == [False, False, True]
    assert "2 calls per hour are the most for one address" in answers[2].json()["detail"]


def test_an_address_is_the_peers_and_no_header_changes_it():
    with client_of(page(votes="1/hour", address=2)) as client:
        told = [call(client, "vote", f"rater {n}", **{"x-forwarded-for": f"203.0.113.{n}"}) for n in range(3)]
    assert ["noted" in text for text in told] == [True, True, False] and "one address" in told[2]


def test_behind_a_trusted_proxy_every_visitor_has_an_address_of_their_own():
    with client_of(page(proxies=1, votes="1/hour", address=1), "10.0.0.2") as client:
        told = [
            call(client, "vote", f"rater {n}", **{"x-forwarded-for": f"6.6.6.{n}, 203.0.113.{n % 2}"}) for n in range(3)
        ]
    assert ["noted" in text for text in told] == [True, True, False]


def test_open_streams_are_bounded():
    demo = page(streams=1)
    with client_of(demo) as client, demo.limits.stream("198.51.100.7"):
        refused = client.get("/gradio_api/heartbeat/s")
        assert refused.status_code == 429 and "1 are the most for one address" in refused.json()["detail"]


# --- what never reaches a function


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([["x"], 1], "text is ['x']: it must be a text"),
        (["x", "many"], "count is 'many': it must be a whole number"),
        (["x", 1.5], "count is 1.5: it must be a whole number"),
        (["x", True], "count is True: it must be a whole number"),
        (["x", None], "count is None: it must be a whole number"),
        (["x", float("inf")], "count is inf"),
        (["x", 10**30], "count is a number of 100 bits"),
        (["\ud800", 1], "half a character"),
        (["a\0b", 1], "NUL"),
        (["x"], "1 values came with the call, and it takes 2"),
        ([], "0 values"),
    ],
)
def test_values_that_do_not_fit_an_endpoint_are_refused_in_words(client: TestClient, values: list, said: str, capfd):
    assert said in json.loads(call(client, "echo", *values).rpartition("data:")[2])["error"]
    assert not CALLED and "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([{"a": 1}, 1, "a"], "text is {'a': 1}: it must be a text"),
        (["x", "y", "a"], "number is 'y': it must be a number"),
        (["x", 1, "c"], "c"),
        (["refuse", 1, "a"], "write another"),
    ],
)
def test_a_private_event_refuses_as_an_endpoint_does_and_it_is_the_callers_fault(
    client: TestClient, values: list, said: str, capfd: pytest.CaptureFixture
):
    status, text = press(client, 2, *values)
    assert status == 400 and said in text and "Traceback" not in capfd.readouterr().err


def test_a_field_that_was_emptied_is_an_empty_text_or_nothing(client: TestClient):
    assert press(client, 2, None, None, None)[0] == 200
    assert CALLED == [("", None, None)]


def test_a_group_of_boxes_without_a_value_has_none_ticked():
    def ticked(boxes: list[str], menu: list[str]) -> None:
        """Never called here."""

    assert fitting(ticked, [gr.CheckboxGroup(["a"]), gr.Dropdown(["a"], multiselect=True)], [None, None]) == [[], []]


def test_an_event_of_the_browsers_alone_cannot_be_called(client: TestClient, capfd: pytest.CaptureFixture):
    status, text = press(client, 3, "x", 1, "a")
    assert status == 400 and "nothing to call" in text and "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("call/nothing", {"data": []}),
        ("run/nothing", {"data": []}),
        ("run/predict", {"data": [], "fn_index": 999}),
        ("queue/join", {"data": [], "fn_index": -1, "session_hash": "s"}),
        ("queue/join", {"data": [], "fn_index": 0, "session_hash": "s" * 500}),
        ("queue/join", {"data": [], "fn_index": 0, "session_hash": "s", "batched": True}),
        ("call/v2/nothing", {}),
        ("call/v2/echo", {}),
        ("call/v2/echo", {"text": "x", "further": 1}),
    ],
)
def test_a_call_of_nothing_is_a_sentence_and_no_crash(client: TestClient, path: str, body: dict):
    answer = client.post(f"/gradio_api/{path}", json=body)
    assert answer.status_code == 400 and len(answer.json()["detail"].split()) > 3


def test_gradio_keeps_no_figures_of_the_calls():
    demo = page()
    with client_of(demo) as client:
        for _ in range(3):
            assert '"ab"' in call(client, "echo", "ab", 1)
    assert len(demo._queue.event_analytics) <= 1
    assert demo._queue.cached_event_analytics_summary == {"functions": {}}


def test_both_ways_of_calling_by_name_work(client: TestClient):
    started = client.post("/gradio_api/call/v2/echo", json={"text": "ab"})
    assert started.status_code == 200
    assert '"ab"' in client.get(f"/gradio_api/call/v2/echo/{started.json()['event_id']}").text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.text(), json_values)
def test_no_body_makes_the_check_of_calls_fail(path: str, body: Any):
    for where in ("queue/join", "call/echo", "call/v2/echo", "run/predict", path):
        told = call_fault(f"/gradio_api/{where}", json.dumps(body).encode(), {"echo": {"text": False}}, {"echo"}, {0})
        assert isinstance(told, str)


@given(json_values)
def test_what_fits_is_of_the_kind_that_was_asked_for(value: Any):
    schemas: list[tuple[dict, Callable[[Any], bool]]] = [
        ({"type": "string"}, lambda v: isinstance(v, str)),
        ({"type": "boolean"}, lambda v: v is True or v is False),
        (
            {"type": "array", "items": {"type": "string"}},
            lambda v: isinstance(v, list) and all(type(e) is str for e in v),
        ),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, lambda v: v is None or isinstance(v, str)),
        ({"type": "object"}, lambda v: isinstance(v, dict)),
    ]
    for schema, right in schemas:
        assert fits(schema, value) is right(value)


@given(st.lists(json_values, min_size=2, max_size=2))
def test_a_function_gets_a_text_or_is_not_called(values: list):
    def function(text: str, further: list[str]) -> None:
        """Never called here."""

    fields = [gr.Textbox(), gr.CheckboxGroup(["a"])]
    try:
        text, further = fitting(function, fields, values)
    except InputError:
        return
    assert isinstance(text, str) and (further is None or all(isinstance(each, str) for each in further))
    text.encode()
