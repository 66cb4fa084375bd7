"""The use case *sweep*: the same prompt at every strength, as rows of one engine run, and what each answer gains and loses.

Fidelity and fluency are measured by the original model itself; nothing is stored. It knows no page.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch

from app.compare import Compare, Request
from app.decoding.arms import Arm, DecodeSettings, build_arms
from app.decoding.streaming import TextStream
from app.errors import InputError
from app.limits import spend
from app.model import LanguageModel
from app.refresh.answers import fidelities
from app.serving import Place
from app.worker import Worker

Over = Literal["ratio", "kl_budget"]
VALUES: dict[str, tuple[float, ...]] = {
    "ratio": (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0),
    "kl_budget": (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0),
}


@dataclass(frozen=True)
class Point:
    """The aligned answer at one strength.

    value: the ratio, or the KL budget in nats a token.
    fidelity: `(log p(y | prompt, principle) - log p(y | prompt)) / tokens`, as the implicit judge has it; None for an empty answer.
    fluency: `log p(y | prompt) / tokens`: how natural the answer is to the plain model; None for an empty answer.
    """

    value: float
    text: str
    fidelity: float | None = None
    fluency: float | None = None


class Sweep:
    """Answers one prompt at several strengths.

    Args:
        model, worker: what scores the answers, on the thread that owns it.
        compare: whose checks, contexts and place in line a sweep shares.
    """

    def __init__(self, model: LanguageModel, worker: Worker, compare: Compare):
        self._model, self._worker, self._compare = model, worker, compare

    def run(self, request: Request, over: Over = "ratio", rater: str = "") -> Iterator[Place | list[Point]]:
        """Yields places in line, then the points as they are written, and last the points with their scores.

        Args:
            request: whose `settings` hold for every point, but for what is swept over.
            over: "ratio", or "kl_budget" at the ratio of the request.
            rater: who asks, since a version may be their own.

        Raises:
            InputError: the request is malformed, or nothing or several principles are to be followed.
            BusyError: too much is waiting.
            LimitError: the visitor asks for too much just now.
        """
        if over not in VALUES:
            raise InputError(f"the sweep goes over {str(over)[:40]!r}; it must be one of {', '.join(VALUES)}")
        comparison = self._compare.start(
            request.model_copy(update={"arms": ("linear_aligned",), "blind": False, "traces": False}), rater
        )
        if len(comparison.principles) != 1:
            raise InputError(f"{len(comparison.principles)} principles were given; a sweep follows one")
        settings, values = comparison.request.settings, VALUES[over]
        spend("tokens", "", len(values) * settings.max_new_tokens)
        streams = [TextStream(self._model.decode) for _ in values]
        for events in self._compare.events(comparison, partial(_arms, over, settings)):
            if isinstance(events, Place):
                yield events
                continue
            for event in events:
                stream = streams[int(event.arm)]
                if event.token is not None:
                    stream.push(event.token)
                if event.finish_reason:
                    stream.close()
            yield [Point(value, stream.text) for value, stream in zip(values, streams, strict=True)]
        written = [stream.token_ids for stream in streams]
        scores = self._worker.call(partial(self._scores, comparison.contexts, written))
        yield [Point(v, s.text, *score) for v, s, score in zip(values, streams, scores, strict=True)]

    def _scores(self, contexts: list[list[int]], written: list[list[int]]) -> list[tuple[float | None, float | None]]:
        plain, led = contexts
        found = iter(fidelities(self._model, [(plain, led, answer) for answer in written if answer]))
        return [next(found) if answer else (None, None) for answer in written]


def _arms(over: str, settings: DecodeSettings, weights: torch.Tensor) -> list[Arm]:
    # One arm a point, named by its number.
    made = [
        build_arms(["linear_aligned"], weights, settings.model_copy(update={over: value})) for value in VALUES[over]
    ]
    return [replace(arm, name=str(number)) for number, (arm,) in enumerate(made)]
