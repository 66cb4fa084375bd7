"""A browser's tab on the page and a program at the endpoints, by plain HTTP, reading the streams that come of what they ask for.

Knows Gradio's wire; no use case. Who goes away in mid-stream needs a new session: the old one's streams would still bring what was given up.
"""

import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from html.parser import HTMLParser
from typing import Any

import httpx
from gradio_client.utils import apply_diff

Outputs = dict[str, Any]


class RefusedError(Exception):
    """The page said something went wrong in place of what was asked for."""


class Tab:
    """Joined to a session of its own.

    Args:
        http: how the server is reached.
        config: what the server says at `/config`.
        secret: of the rater, which the browser keeps.
    """

    def __init__(self, http: httpx.AsyncClient, config: dict[str, Any], secret: str):
        self._http, self._session = http, secrets.token_hex(8)
        self._parts = {part["id"]: part for part in config["components"]}
        self._events = config["dependencies"]
        self._kept = {"browserstate": secret}

    async def press(self, elem_id: str, **said: Any) -> AsyncGenerator[Outputs, None]:
        """What a click brings, as it comes: by id, the value of every output as it stands. Who closes it has gone away.

        Args:
            elem_id: of the button.
            said: by id or, with _ for a space, by the beginning of its label, what stands in an input in place of what the page begins
                with.

        Raises:
            RefusedError: the event failed.
        """
        ids = {id_ for id_, part in self._parts.items() if part["props"].get("elem_id") == elem_id}
        (event,) = (e for e in self._events if any(target in ids for target, _ in e["targets"]))
        body = {
            "data": [self._value(self._parts[id_], said) for id_ in event["inputs"]],
            "fn_index": event["id"],
            "session_hash": self._session,
            "event_data": None,
            "trigger_id": min(ids),
        }
        (await self._http.post("gradio_api/queue/join", json=body)).raise_for_status()
        names = [self._parts[id_]["props"].get("elem_id") or str(id_) for id_ in event["outputs"]]
        shown: list[Any] = []
        async with self._http.stream(
            "GET", "gradio_api/queue/data", params={"session_hash": self._session}
        ) as stream, aclosing(stream.aiter_lines()) as lines:  # fmt: skip
            async for line in lines:
                message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if message.get("msg") not in ("process_generating", "process_completed"):
                    continue
                if not message["success"]:
                    raise RefusedError(str(message["output"])[:300])
                told = message["output"]["data"]
                if message["msg"] == "process_generating" and shown:
                    told = [apply_diff(old, diff) for old, diff in zip(shown, told, strict=True)]
                shown = told
                yield {name: _standing(value) for name, value in zip(names, shown, strict=True)}
                if message["msg"] == "process_completed":
                    return

    def anew(self) -> None:
        """Another tab."""
        self._session = secrets.token_hex(8)

    def _value(self, part: dict[str, Any], said: dict[str, Any]) -> Any:
        props = part["props"]
        for name, value in said.items():
            if name == props.get("elem_id") or str(props.get("label") or "").startswith(name.replace("_", " ")):
                return value
        return self._kept.get(part["type"], props.get("value"))


class Caller:
    """A program with a session of its own.

    Args:
        http: how the server is reached.
        info: what the server says at `/gradio_api/info`.
    """

    def __init__(self, http: httpx.AsyncClient, info: dict[str, Any]):
        self._http, self._info, self._session = http, info, secrets.token_hex(8)

    async def call(self, name: str, **values: Any) -> AsyncGenerator[dict[str, Any], None]:
        """What an endpoint tells on its way and at its end. Who closes it has gone away.

        Raises:
            RefusedError: it told a sentence instead.
        """
        body = {"data": in_order(self._info, name, values), "session_hash": self._session}
        begun = (await self._http.post(f"gradio_api/call/{name}", json=body)).raise_for_status().json()["event_id"]
        async with self._http.stream(
            "GET", f"gradio_api/call/{name}/{begun}"
        ) as stream, aclosing(stream.aiter_lines()) as lines:  # fmt: skip
            event = ""
            async for line in lines:
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: ") and event == "error":
                    raise RefusedError(line[:300])
                elif line.startswith("data: ") and event in ("generating", "complete"):
                    yield json.loads(line.removeprefix("data: "))[0]
                    if event == "complete":
                        return

    def anew(self) -> None:
        """Another session."""
        self._session = secrets.token_hex(8)


def in_order(info: dict[str, Any], name: str, values: dict[str, Any]) -> list[Any]:
    """The arguments of an endpoint in the order in which `/call/NAME` wants all of them; `/call/v2/NAME` takes no session.

    Args:
        info: what the server says at `/gradio_api/info`.
        name: of the endpoint.
        values: by name; the others are what they are by default.
    """
    wanted = info["named_endpoints"][f"/{name}"]["parameters"]
    if strange := values.keys() - {parameter["parameter_name"] for parameter in wanted}:
        raise ValueError(f"/{name} does not take {', '.join(strange)}")
    return [values.get(parameter["parameter_name"], parameter.get("parameter_default")) for parameter in wanted]


def _standing(value: Any) -> Any:
    return value.get("value") if isinstance(value, dict) and value.get("__type__") == "update" else value


def texts(panes: str) -> list[str]:
    """The answers that stand in the markup of the panes, in their order."""
    reader = _Panes()
    reader.feed(panes)
    return reader.found


class _Panes(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._depth = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if self._depth:
            self._depth += tag == "div"
        elif tag == "div" and "pl-text" in str(dict(attributes).get("class")).split():
            self._depth = 1
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        self._depth -= bool(self._depth) and tag == "div"

    def handle_data(self, data: str) -> None:
        if self._depth:
            self.found[-1] += data
