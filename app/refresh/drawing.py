"""What a source of an online step's pairs may do, and what it hands over. Plain values and callables; which source there is, it does
not know.
"""

import random
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from app.annotators.preference import Preference
from app.prompts import Message
from app.refresh.answers import EncodedPair
from app.refresh.feedback import Judged
from app.refresh.judging import Asking, Question
from app.refresh.learner import Learner
from app.worker import Wait

Events = Wait | Asking | Judged | None
Item = TypeVar("Item")


@dataclass(frozen=True)
class Prompt:
    """A conversation, and its token ids up to where the answer begins."""

    messages: list[Message]
    context: list[int]


@dataclass(frozen=True)
class Hand:
    """What a source may do.

    sample: answers of an adapter to prompts, one a seed, as token ids.
    prefer: the judge's preferences, None where there was nothing to ask.
    decode: token ids to text.
    learner: for the policy's and the reference's log-probabilities.
    adapter: the policy.
    chance: for everything that is drawn by lot.
    """

    sample: Callable[[list[Prompt], str | None, list[int]], Generator[None, None, list[list[int]]]]
    prefer: Callable[[list[Question]], Generator[Wait | Asking, None, list[Preference | None]]]
    decode: Callable[[list[int]], str]
    learner: Learner
    adapter: str
    chance: random.Random


@dataclass(frozen=True)
class Drawn:
    """What a step learns from (`rows`), how many pairs it left out, and the answers that were `written` for it, as rows whose
    prompts were not."""

    rows: list[EncodedPair]
    dropped: int
    written: list[EncodedPair]


class Source(Protocol):
    """What hands a step its pairs."""

    def draw(self, step: int) -> Generator[Events, None, Drawn]:
        """The pairs of a step, from 1 on."""


def endless(items: Sequence[Item], order: random.Random) -> Iterator[Item]:
    """All items again and again, each time in another order."""
    while True:
        yield from order.sample(items, len(items))
