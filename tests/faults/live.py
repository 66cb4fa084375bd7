"""A server in a process of its own on a tiny model, and what a program does with it by plain HTTP: compare, read along, vote."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.tab import in_order
from tests.browser.conftest import Server

HANG = 300.0
ASKED = {"prompt": "Why is the sky blue?", "persona": "pirate", "seed": 3, "temperature": 0, "rater": "ann"}


class RefusedError(Exception):
    """The server answered with a sentence in place of a result."""


class Live:
    """Starts the server and, at the end, kills it.

    Args:
        folder: for its data and its log.
        model: a folder.
    """

    def __init__(self, folder: Path, model: Path):
        self.server = Server(folder / "data", folder / "log", str(model))

    def __enter__(self) -> "Live":
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.kill()

    def compare(self, **values: Any) -> dict[str, Any]:
        """The end of a comparison."""
        with self.answering(**values) as parts:
            *_, last = parts
        return last

    def vote(self, round_id: str, choice: str, rater: str = "ann") -> dict[str, Any]:
        """A vote that was acknowledged."""
        with streamed(self.server.url, "vote", round_id=round_id, choice=choice, rater=rater) as parts:
            *_, last = parts
        return last

    @contextmanager
    def answering(self, **values: Any) -> Iterator[Iterator[dict[str, Any]]]:
        """What a comparison tells on its way; at the end of the block nobody listens any more."""
        with streamed(self.server.url, "compare", **{**ASKED, **values}) as parts:
            yield parts


@contextmanager
def streamed(url: str, name: str, **values: Any) -> Iterator[Iterator[dict[str, Any]]]:
    """What an endpoint tells, item by item, as its stream brings it.

    Raises:
        RefusedError: it told a sentence instead.
    """
    with httpx.Client(base_url=url, timeout=HANG, trust_env=False) as http:
        info = http.get("gradio_api/info").raise_for_status().json()
        body = {"data": in_order(info, name, values), "session_hash": secrets.token_hex(8)}
        begun = http.post(f"gradio_api/call/{name}", json=body).raise_for_status().json()["event_id"]
        with http.stream("GET", f"gradio_api/call/{name}/{begun}") as response:
            yield _items(response)


def _items(response: httpx.Response) -> Iterator[dict[str, Any]]:
    event = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: ") and event in ("generating", "complete", "error"):
            told = json.loads(line.removeprefix("data: "))
            if event == "error":
                raise RefusedError(told["error"] if isinstance(told, dict) else str(told))
            yield told[0]
            if event == "complete":
                return
