"""Any OpenAI-compatible chat endpoint as the judge. The only annotator that leaves the machine; knows no local model.

Both orders of the answers are asked, since chat models lean towards one side; where the two disagree, there is no
choice. A request may wait long, so that whoever owns the model's thread should ask from another one.
"""

from http import HTTPStatus
from urllib.parse import urlsplit

from httpx2 import HTTPError, InvalidURL, TransportError
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError, OfflineModeIsEnabled
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from app.annotators.preference import Cost, Preference
from app.annotators.questions import question, verdict
from app.errors import InputError, ModelError
from app.prompts import Message

LONGEST_WAIT = 30.0  # seconds, also where an endpoint asks for more
# Sent where there is no key: the client would otherwise look up the machine's Hugging Face token and send that.
NO_KEY = "none"
WAYS_OUT = {
    HTTPStatus.UNAUTHORIZED: "check the key",
    HTTPStatus.FORBIDDEN: "check the key and what it may use",
    HTTPStatus.NOT_FOUND: "check the address, which usually ends in /v1, and the model's name",
    HTTPStatus.TOO_MANY_REQUESTS: "wait a while, or allow more retries",
}


class EndpointJudge:
    """Asks a chat endpoint which answer is better, once in each order.

    Args:
        base_url: the address up to and with "/v1", or the whole one that ends in "/chat/completions".
        model: the name the endpoint knows the judge by.
        api_key: sent as the bearer token and nowhere else; None where the endpoint wants none.
        timeout: seconds without a word from the endpoint.
        retries: after the first try of a request; on timeouts, lost connections, 429 and 5xx, never on another 4xx.
        pause: seconds before the first retry, doubled with each and jittered; a longer Retry-After is kept to.
        max_tokens, temperature: of the reply; None is not sent, since some reasoning models refuse them.

    Raises:
        InputError: an address or a key that cannot be sent.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
        *,
        pause: float = 0.5,
        max_tokens: int | None = 16,
        temperature: float | None = 0.0,
    ):
        self._where, self._name, self._retries, self._pause = _shown(base_url), model, retries, pause
        self._key = (api_key or "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise InputError("the judge's key holds signs that no key has; copy it again")
        self._client = InferenceClient(base_url=base_url, api_key=self._key or NO_KEY, timeout=timeout)
        self._options = {"max_tokens": max_tokens, "temperature": temperature}

    def __repr__(self) -> str:
        return f"EndpointJudge({self._where!r}, {self._name!r})"

    def prefer(self, messages: list[Message], principle: str, first: str, second: str) -> Preference:
        """See `Annotator.prefer`; there is no margin. The second order is not asked where the first reply was unclear.

        Raises:
            ModelError: the endpoint cannot be reached, refuses, keeps failing, or does not answer as OpenAI's API does.
        """
        if first == second:
            return Preference(None, None, Cost())
        straight, cost = self._ask(question(messages, principle, first, second))
        if straight is None:
            return Preference(None, None, cost)
        turned, more = self._ask(question(messages, principle, second, first))
        choice = {(1, 2): "first", (2, 1): "second"}.get((straight, turned))
        return Preference(choice, None, cost + more)

    def _ask(self, chat: list[Message]) -> tuple[int | None, Cost]:
        retrying = Retrying(
            stop=stop_after_attempt(self._retries + 1),
            wait=self._wait,
            retry=retry_if_exception(_may_pass),
            reraise=True,
        )
        try:
            reply = retrying(self._client.chat_completion, chat, model=self._name, **self._options)
            usage = reply.usage or {}
            cost = Cost(
                prompt_tokens=int(usage.get("prompt_tokens") or 0),
                completion_tokens=int(usage.get("completion_tokens") or 0),
            )
            return verdict(reply.choices[0].message.content or ""), cost
        except (HTTPError, InvalidURL, OfflineModeIsEnabled) as error:
            fault = self._fault(error)
        except (ValueError, AttributeError, TypeError, IndexError, KeyError):
            # All the client's ways to say that the bytes were no chat completion.
            fault = "answered, but not as OpenAI's API does; check the address, which usually ends in /v1"
        # Outside the handler, so that no cause is attached: servers repeat the key in what they send back.
        raise ModelError(f"the judge {self._name!r} at {self._where} {fault}")

    def _fault(self, error: Exception) -> str:
        tries = f"{self._retries + 1} tries" if self._retries else "1 try"
        if isinstance(error, HfHubHTTPError):
            status = error.response.status_code
            passing = status >= HTTPStatus.INTERNAL_SERVER_ERROR
            way_out = WAYS_OUT.get(
                status, "try again later" if passing else "check the model's name and what it accepts"
            )
            said = " ".join((error.server_message or "").split())
            said = (said.replace(self._key, "***") if self._key else said)[:200]
            after = f" after {tries}" if _may_pass(error) else ""
            return f"refused with status {status}{after}{f' ({said})' if said else ''}; {way_out}"
        if isinstance(error, InferenceTimeoutError):
            silence = f"{self._client.timeout:g} seconds"
            return f"was silent for {silence} in each of {tries}; raise the timeout or try again later"
        if isinstance(error, OfflineModeIsEnabled):
            return "was not asked, because HF_HUB_OFFLINE is set; unset it to use an endpoint"
        return f"could not be reached in {tries} ({type(error).__name__}); check the address and the connection"

    def _wait(self, state: RetryCallState) -> float:
        backoff = wait_exponential_jitter(multiplier=self._pause, jitter=self._pause, max=LONGEST_WAIT)(state)
        error = state.outcome.exception()
        asked = error.response.headers.get("retry-after", "") if isinstance(error, HfHubHTTPError) else ""
        return min(LONGEST_WAIT, max(backoff, float(asked))) if asked.isdecimal() else backoff


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return isinstance(error, (InferenceTimeoutError, TransportError))


def _shown(base_url: str) -> str:
    # The address as messages name it: without a password or a query, which may hold a key.
    try:
        parts = urlsplit(base_url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise InputError(f"the judge's address is not one: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            "the judge's address must begin with http:// or https:// and name a host, as in http://localhost:8000/v1"
        )
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
