"""`python -m tests.benchmarks.fuzz`: bad inputs to every endpoint, every private event and every route of a real server.

The server is the page itself on loopback, over a tiny model and a database with rows in it. What must not happen: a status of
500 or more, an error without a sentence, an answer that never comes, a traceback in the server's log, a row that is lost.
Hypothesis draws the inputs; the targets are what the server says of itself.
"""

import argparse
import json
import math
import os
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from storage.store import Store
from tests.benchmarks.machine import machine
from tests.models import save_tiny_model
from tests.rounds import add_choice
from tests.test_api import serving

RESULTS = Path(__file__).parent / "results" / "fuzz.json"
ANSWER_SECONDS = 60.0
SEEDED = 5
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "'; DROP TABLE rounds; --",
    '" OR 1=1 --',
    'NEAR("a" "b"',
    "=HYPERLINK(1)",
    "../../../../etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1:1/",
    "v1/../../rounds",
    "${7*7}{{7*7}}",
    "%00",
    "a\0b",
    "\ud800",
    "\u202e\u200b",
    "🜚" * 400,
    "x" * 100_000,
    "v999999999999999999999",
    "1e999",
    "None",
    "-1",
]
STRANGE = [*HOSTILE, 2**63, 2**70, -(2**63), 10**400, 1e308, float("nan"), float("inf"), -0.0, True, None, [], {}]
BODIES = [b"", b"{", b"[]", b"null", b'"x"', b"[" * 50_000, b"\xff\xfe", b'{"data": 1}', b'{"data": []}', b"\0" * 100,
          b'--x\r\nContent-Disposition: form-data; name="files"; filename="../../x"\r\n\r\nx\r\n--x--\r\n', b"--x\r\n\r\n"]  # fmt: skip
METHODS = ["GET", "GET", "GET", "POST", "POST", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
JSON = {"content-type": "application/json"}
TYPES = [
    "application/json",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "text/plain",
    "application/x-www-form-urlencoded",
    "x/",
]
# What a call asks for where nothing strange stands in its place: as little as can be.
SMALL = {"prompt": "Why?", "persona": "pirate", "max_new_tokens": 4, "steps": 1, "epochs": 1, "prompts": "Why?"}

anything = st.recursive(
    st.one_of(st.sampled_from(STRANGE), st.text(max_size=40), st.integers(), st.floats(), st.booleans()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@dataclass
class Found:
    """What came of the inputs; the lists are empty where nothing is wrong."""

    inputs: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    crashed: list[str] = field(default_factory=list)
    wordless: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """What can be called: a public endpoint, a private event or a route.

    values: what it takes, usual ones.
    """

    kind: str
    name: str
    values: tuple[Any, ...] = ()


# A target, its values; for a route also the method, body, type of the body, and how the path goes on.
Drawn = tuple[Target, list[Any], str, bytes, str, str]


class Fuzzer:
    """Sends inputs to one server.

    Args:
        url: of the page.
    """

    def __init__(self, url: str):
        self._http = httpx.Client(base_url=url, timeout=ANSWER_SECONDS)
        # Of one session, since Gradio takes longest to begin one.
        self._session = uuid.uuid4().hex
        self.found = Found()

    def targets(self) -> list[Target]:
        """Everything that the server says it has."""
        named = self._http.get("gradio_api/info").json()["named_endpoints"]
        endpoints = [
            Target("endpoint", name.removeprefix("/"), tuple(_usual(each) for each in told["parameters"]))
            for name, told in named.items()
        ]
        config = self._http.get("config").json()
        fields = {component["id"]: component for component in config["components"]}
        events = [
            Target("event", str(event["id"]), tuple(_shown(fields[id_]) for id_ in event["inputs"]))
            for event in config["dependencies"]
        ]
        paths = self._http.get("gradio_api/openapi.json").json()["paths"]
        further = ["/", "/config", "/theme.css", "/manifest.json", "/static/x", "/assets/x", "/login", "/monitoring"]
        gradio = ["upload", "queue/join", "queue/data", "cancel", "reset", "heartbeat/x", "component_server", "stream/x",
                  "file=x", "proxy=x", "upload_progress", "process_recording", "run/predict", "call/v2/compare", "deep_link"]  # fmt: skip
        routes = [Target("route", path) for path in [*paths, *further, *(f"/gradio_api/{path}" for path in gradio)]]
        return [*endpoints, *events, *routes]

    def send(self, target: Target, values: list[Any], method: str, body: bytes, kind: str, tail: str) -> None:
        """Sends one input and notes what came of it."""
        label = f"{target.kind} {target.name}"
        self.found.inputs[label] += 1
        try:
            if target.kind == "route":
                path = target.name.removesuffix("x") + tail if target.name.endswith("x") else target.name
                headers = {"content-type": kind} if body else {}
                with self._http.stream(method, path, content=body, headers=headers, timeout=2.0) as answer:
                    self._status(label, answer.status_code, f"{method} {path[:80]!r} {kind} {body[:40]!r}")
                return
            if target.kind == "endpoint":
                self._call(label, target.name, values)
            else:
                self._press(label, int(target.name), values)
        except (httpx.ReadTimeout, httpx.RemoteProtocolError) as error:
            if target.kind != "route":  # a stream of the server's may have nothing to say for long
                self.found.silent.append(f"{label}: {values!r:.200} ({type(error).__name__})")
        except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError):
            self.found.outcomes["could not be sent"] += 1

    def _call(self, label: str, name: str, values: list[Any]) -> None:
        # Python's json writes NaN and lone surrogates, which httpx would refuse to send.
        body = json.dumps({"data": values, "session_hash": self._session})
        started = self._http.post(f"gradio_api/call/{name}", content=body, headers=JSON)
        if self._status(label, started.status_code, body) != 200:
            return
        answer = self._http.get(f"gradio_api/call/{name}/{started.json()['event_id']}").text
        *_, event, data = (line for line in answer.split("\n") if line.startswith(("event:", "data:")))
        self._said(label, event == "event: complete", json.loads(data.removeprefix("data:")), body)

    def _press(self, label: str, number: int, values: list[Any]) -> None:
        body = json.dumps({"data": values, "fn_index": number, "session_hash": self._session, "trigger_id": None})
        started = self._http.post("gradio_api/queue/join", content=body, headers=JSON)
        if self._status(label, started.status_code, body) != 200:
            return
        heard = b""
        with self._http.stream("GET", "gradio_api/queue/data", params={"session_hash": self._session}) as stream:
            for part in stream.iter_bytes():
                *lines, heard = (heard + part).split(b"\n")
                for line in filter(None, lines):
                    message = json.loads(line.removeprefix(b"data:"))
                    if message["msg"] == "process_completed" and message["event_id"] == started.json()["event_id"]:
                        self._said(label, message["success"], message["output"], body)
                        return

    def _said(self, label: str, fine: bool, output: Any, sent: str) -> None:
        if not fine and not (output or {}).get("error"):
            self.found.wordless.append(f"{label}: {sent[:300]}")
        self.found.outcomes["answered" if fine else "refused with a sentence"] += 1

    def _status(self, label: str, status: int, sent: str) -> int:
        if status >= 500:
            self.found.crashed.append(f"{status} {label}: {sent[:300]}")
        if status != 200 or label.startswith("route"):
            self.found.outcomes[f"status {status}"] += 1
        return status


def inputs(targets: list[Target]) -> st.SearchStrategy[Drawn]:
    """A target, and values of which at least one is strange."""

    @st.composite
    def strange(draw: st.DrawFn) -> Drawn:
        target = draw(st.sampled_from(targets))
        values = list(target.values)
        for place in draw(st.lists(st.integers(0, max(0, len(values) - 1)), min_size=1, max_size=3)):
            if values:
                values[place] = draw(anything)
        if draw(st.integers(0, 19)) == 0:
            values = values[:-1] if draw(st.booleans()) else [*values, draw(anything)]
        return (
            target,
            values,
            draw(st.sampled_from(METHODS)),
            draw(st.sampled_from(BODIES) | st.binary(max_size=60)),
            draw(st.sampled_from(TYPES)),
            draw(st.sampled_from(HOSTILE[:-4]) | st.text(max_size=20)),
        )

    return strange()


def fuzzed(folder: Path, model: str, count: int, chance: int, minutes: float = math.inf) -> dict[str, Any]:
    """Starts a server on rows, sends it so many inputs and says what came of it.

    Args:
        folder: for the data and the log.
        model: a folder or name.
        count: inputs.
        chance: the seed.
        minutes: after which no more are sent.

    Returns:
        inputs (by target), outcomes, crashed, wordless, silent, tracebacks, rows_lost, seconds.
    """
    store = Store(folder / "data")
    for number in range(SEEDED):
        add_choice(store, number)
    before = _rows(store)
    log = folder / "server.log"
    with printed_to(log), serving(Path(model), folder / "data") as server:
        fuzzer = Fuzzer(server.url)
        targets, started = fuzzer.targets(), time.monotonic()

        @seed(chance)
        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(inputs(targets))
        def send(drawn: Drawn) -> None:
            if time.monotonic() - started < 60 * minutes:
                fuzzer.send(*drawn)

        send()
        seconds = time.monotonic() - started
    printed = log.read_text(errors="replace")
    found = fuzzer.found
    return {
        "total": found.inputs.total(),
        "inputs": dict(sorted(found.inputs.items())),
        "outcomes": dict(found.outcomes.most_common()),
        "crashed": found.crashed,
        "wordless": found.wordless,
        "silent": found.silent,
        "targets": len(targets),
        "tracebacks": printed.count("Traceback"),
        "errors_logged": printed.count("ERROR"),
        "rows_lost": len(before - _rows(store)),
        "seconds": round(seconds, 1),
    }


@contextmanager
def printed_to(log: Path) -> Iterator[None]:
    """Whatever this process prints, by whatever means, goes to a file."""
    kept = [os.dup(number) for number in (1, 2)]
    try:
        with log.open("wb") as file:
            sys.stdout.flush()
            sys.stderr.flush()
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def _rows(store: Store) -> set[tuple[str, str]]:
    """Every row of what people made, by table and content."""
    with store.database.open() as db:
        return {
            (table, json.dumps(row, sort_keys=True, default=str))
            for table in ("rounds", "answers", "votes", "personas")
            for row in db[table].rows
        }


def _usual(parameter: dict[str, Any]) -> Any:
    name, kind = parameter["parameter_name"], parameter["type"].get("type")
    if name in SMALL and not (name == "prompts" and kind == "array"):
        return SMALL[name]
    if parameter["parameter_has_default"]:
        return parameter["parameter_default"]
    return {"string": "x", "integer": 1, "number": 1, "boolean": False, "array": ["x"]}.get(str(kind))


def _shown(component: dict[str, Any]) -> Any:
    props = component["props"]
    return props["minimum"] if component["type"] == "slider" else props.get("value")


def main() -> None:
    """Runs it and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--out", type=Path, default=RESULTS)
    given_ = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = save_tiny_model("llama", Path(folder) / "model")
        found = fuzzed(Path(folder), str(model), given_.inputs, given_.seed, given_.minutes)
        log = (Path(folder) / "server.log").read_text(errors="replace")
    if found["tracebacks"] or found["errors_logged"]:
        given_.out.with_suffix(".log").write_text(log[-200_000:])
    report = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "seed": given_.seed, **machine(), **found}
    given_.out.write_text(json.dumps(report, indent=1, ensure_ascii=True) + "\n")
    print(json.dumps({key: value for key, value in report.items() if key != "inputs"}, indent=1))


if __name__ == "__main__":
    main()
