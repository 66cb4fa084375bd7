"""What stands before the whole server: sizes, strangers' pages, open streams, outside addresses. It knows HTTP and no event of the page.

An ASGI middleware. What it refuses it answers itself, as JSON with `detail`, which is how Gradio's own refusals look.
"""

import math
import re
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
from starlette.datastructures import Headers, QueryParams
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.address import client_address
from app.errors import LimitError
from app.ui.door import ADDRESS, REFUSED, Door
from app.ui.envelope import call_fault, parameters

MEGABYTE = 1 << 20
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
UPLOAD = re.compile(r"/upload/?$")
STREAM = re.compile(r"/(queue/data|upload_progress|heartbeat/[^/]*|call/(v2/)?[^/]+/(?P<event>[^/]+))/?$")
# Gradio would fetch these for whoever asks; nothing here needs it, and nothing leaves this machine for a visitor.
OUTSIDE = re.compile(r"/(proxy=|file[=/]\s*[a-z][a-z0-9+.-]*:/)", re.IGNORECASE)
# Everything comes from the page's own origin: a browser that heeds it asks nobody else, whatever a text on the page says.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]


class _Refused(Exception):  # noqa: N818 (it never leaves this module)
    def __init__(self, status: int, detail: str, seconds: int = 0):
        super().__init__(detail)
        self.status, self.detail, self.seconds = status, detail, seconds


def _check_addresses(request: HTTPConnection) -> None:
    """Gradio parses these, and fails where one is no address."""
    told = {"the address": str(request.url)}
    for name, before in (("x-forwarded-host", "http://"), ("x-gradio-server", "")):
        if value := request.headers.get(name, "").partition(",")[0].strip():
            told[f"the header {name}"] = before + value
    for what, address in told.items():
        try:
            httpx.URL(address)
        except (httpx.InvalidURL, ValueError) as error:
            raise _Refused(400, f"{what} cannot be read as one ({error}); send a plain one, or none") from error


class Guard:
    """Wraps an ASGI application.

    Args:
        app: that is guarded.
        page: whose events may be called, and whose limits count.
        largest_upload: of one file, in bytes.
    """

    def __init__(self, app: ASGIApp, page: Door, largest_upload: int):
        self._app, self._limits, self._proxies = app, page.limits, page.proxies
        self._queue = page._queue
        self._numbers = set(page.fns)
        self._names = {fn.api_name for fn in page.fns.values() if fn.api_name}
        self._endpoints = parameters(page.get_api_info())
        self._largest_upload = largest_upload + MEGABYTE  # what multipart adds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        address = client_address((scope.get("client") or ("",))[0], headers.getlist("x-forwarded-for"), self._proxies)
        noted = scope.setdefault("state", {})
        noted[ADDRESS] = address
        try:
            _check_addresses(HTTPConnection(scope))
            if OUTSIDE.search(path):
                raise _Refused(403, "addresses outside are not fetched here; upload the file instead")
            if method not in SAFE_METHODS:
                _check_origin(headers)
                self._limits.take("calls", "", address)
                receive = (
                    self._upload(headers, receive)
                    if UPLOAD.search(path)
                    else await self._bounded(headers, path, receive)
                )
            with ExitStack() as held:
                if method == "GET" and (asked := STREAM.search(path)):
                    self._check_session(asked, QueryParams(scope["query_string"]))
                    held.enter_context(self._limits.stream(address))
                await self._app(scope, receive, _answering(send, noted))
        except (_Refused, LimitError) as refusal:
            status = 429 if isinstance(refusal, LimitError) else refusal.status
            wait = {"retry-after": str(refusal.seconds)} if refusal.seconds else {}
            await JSONResponse({"detail": str(refusal)}, status, wait)(scope, receive, send)

    def _upload(self, headers: Headers, receive: Receive) -> Receive:
        length = headers.get("content-length", "")
        if not length.isdecimal():
            raise _Refused(411, "an upload has to say how long it is (Content-Length)")
        if int(length) > self._largest_upload:
            raise _Refused(413, f"the upload has {length} bytes; {self._largest_upload} are the most")
        self._limits.take("upload_mb", "", "", math.ceil(int(length) / MEGABYTE) or 1)
        return receive

    async def _bounded(self, headers: Headers, path: str, receive: Receive) -> Receive:
        """Reads the whole body, as far as it may go, and returns what hands it out again."""
        most, body, more = self._limits.settings.body_mb * MEGABYTE, b"", True
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > most:
            raise _Refused(413, f"the call has {length} bytes; {most} are the most")
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Refused(400, "the call ended before its body did")
            body, more = body + message.get("body", b""), message.get("more_body", False)
            if len(body) > most:
                raise _Refused(413, f"the call has more than {most} bytes, which are the most")
        try:
            body.decode()  # FastAPI would decode it while it tells what is wrong with it, and fail (500)
        except UnicodeDecodeError as error:
            raise _Refused(400, f"the call's body is no UTF-8 text ({error.reason} at byte {error.start})") from error
        if fault := call_fault(path, body, self._endpoints, self._names, self._numbers):
            raise _Refused(400, fault)
        return _again(body, receive)

    def _check_session(self, asked: re.Match[str], query: QueryParams) -> None:
        """Refuses to tell of a session that there is none of; Gradio's stream would have begun by then, and fail in the middle."""
        queue, session, event_id = self._queue, query.get("session_hash"), asked["event"]
        if event_id:
            event = queue.event_ids_to_events.get(event_id)
            open_ = (name for name, ids in queue.pending_event_ids_session.items() if event_id in ids)
            session = event.session_hash if event else next(open_, event_id)
        elif not asked[0].startswith("/queue/data"):
            return
        if session is not None and session not in queue.pending_messages_per_session:
            raise _Refused(404, "nothing is being done in this session; call something first, or reload the page")


def _check_origin(headers: Headers) -> None:
    """Refuses a call that another site's page makes a browser send; programs, which send neither header, are no browsers."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site in ("same-origin", "none"):
        return
    if site is None and (origin is None or urlsplit(origin).netloc == headers.get("host")):
        return
    raise _Refused(403, f"this call comes from another site, {(origin or 'unknown')[:80]!r}; open the page itself")


def _again(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _answering(send: Send, noted: dict[str, object]) -> Callable[[Message], Awaitable[None]]:
    """Adds the page's headers; what the door refused is the caller's fault (400), which Gradio's direct calls have as 500."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            status = 400 if message["status"] == 500 and noted.get(REFUSED) else message["status"]
            message = {**message, "status": status, "headers": [*message.get("headers", []), *HEADERS]}
        await send(message)

    return answer
