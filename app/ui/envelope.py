"""Whether the JSON around a call's values names something that the page has; Gradio answers much of what does not with a crash (500).

Pure. What is no JSON, or lacks what every call has, is left to the server, which refuses it itself.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

CALL = re.compile(r"/gradio_api/(?P<how>call/v2|call|run|api)/(?P<name>[^/]+)/?$|/gradio_api/queue/join/?$")
LONGEST_SESSION = 128
# Which of its parameters an endpoint needs and which have defaults: name -> has a default.
Parameters = Mapping[str, bool]


def call_fault(
    path: str, body: bytes, endpoints: Mapping[str, Parameters], names: Collection[str], numbers: Collection[int]
) -> str:
    """Why a call cannot be one, in words; empty where nothing is wrong or it is no call.

    Args:
        path: of the request.
        body: of the request, as it came.
        endpoints: the public ones with their parameters, by name.
        names: of all events that have one, private ones included.
        numbers: of all events.
    """
    found = CALL.search(path)
    if found is None:
        return ""
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(call, dict):
        return ""
    name = found["name"]
    if found["how"] == "call/v2":
        return _named_fault(name, call, endpoints)
    number, session = call.get("fn_index"), call.get("session_hash")
    if isinstance(session, str) and len(session) > LONGEST_SESSION:
        return f"the session has {len(session)} characters; {LONGEST_SESSION} are the most"
    if call.get("batched"):
        return "calls are not taken in batches; send one after another"
    if number is None or found["how"] == "call":
        return "" if name is None or name in names else _no_endpoint(name, endpoints)
    # A number is often sent as text or with a point, which Gradio reads as it reads the number.
    if str(number).removesuffix(".0") not in {str(known) for known in numbers}:
        return f"the page has no event {str(number)[:40]!r}; reload it"
    return ""


def parameters(info: Mapping[str, Any]) -> dict[str, dict[str, bool]]:
    """The public endpoints from what the server publishes of itself (`get_api_info`)."""
    named: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]] = info["named_endpoints"]
    return {
        name.removeprefix("/"): {p["parameter_name"]: bool(p["parameter_has_default"]) for p in told["parameters"]}
        for name, told in named.items()
    }


def _named_fault(name: str, call: Mapping[str, Any], endpoints: Mapping[str, Parameters]) -> str:
    if name not in endpoints:
        return _no_endpoint(name, endpoints)
    known = endpoints[name]
    if unknown := set(call) - set(known) - {"oauth_token"}:
        return f"/{name} takes no {sorted(unknown)[0][:40]!r}; it takes {', '.join(known) or 'nothing'}"
    if missing := [each for each, has_default in known.items() if not has_default and each not in call]:
        return f"/{name} needs {', '.join(missing)} as well"
    return ""


def _no_endpoint(name: str, endpoints: Mapping[str, Parameters]) -> str:
    return f"there is no endpoint {name[:40]!r}; known are {', '.join(endpoints)}"
