"""How answers came about, in words that a reader of JSON understands. Knows traces and a `decode` function, no model."""

from collections.abc import Callable
from functools import cache
from typing import Any

from app.decoding.trace import TokenTrace


def described(
    traces: dict[str, list[TokenTrace]], answers: dict[str, list[int]], decode: Callable[[list[int]], str]
) -> dict[str, list[dict[str, Any]]]:
    """Traces by arm with texts in place of token ids, one for each token of the answer.

    Args:
        traces, answers: by arm; an answer's token ids, as many as it has traces.
        decode: from token ids to text.
    """

    text = cache(lambda token: decode([token]))  # the same few words are likely again and again

    def told(likely: list[tuple[int, float]]) -> list[dict[str, Any]]:
        return [{"text": text(token), "probability": round(p, 4)} for token, p in likely]

    return {
        arm: [
            {
                "text": text(token),
                "chosen_from": told(trace.chosen),
                "contexts": [told(context) for context in trace.contexts],
                "kl": round(trace.kl, 4),
                "shift": round(trace.shift, 4),
            }
            for token, trace in zip(answers[arm], traced, strict=True)
        ]
        for arm, traced in traces.items()
    }
