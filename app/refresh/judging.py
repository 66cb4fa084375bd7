"""Asks an annotator about many pairs of answers and gives way meanwhile. It knows texts; it knows no tensors and no database."""

from collections.abc import Generator
from concurrent.futures import Executor
from dataclasses import dataclass

from app.annotators.preference import Annotator, Preference
from app.prompts import Message
from app.worker import Wait

HEARTBEAT = 0.5  # seconds between two signs of life; a stop takes effect at one


@dataclass(frozen=True)
class Question:
    """A conversation and the two answers to choose between."""

    messages: list[Message]
    first: str
    second: str


@dataclass(frozen=True)
class Asking:
    """How far the annotator is: `answered` of the `asked` questions that it has now."""

    answered: int
    asked: int


def ask(
    annotator: Annotator, principle: str, questions: list[Question], pool: Executor | None
) -> Generator[Wait | Asking, None, list[Preference]]:
    """The annotator's preferences, in the order of the questions.

    Args:
        annotator: who chooses.
        principle: what it goes by, framed.
        questions: what it is asked.
        pool: threads to ask on, for an annotator that waits for a network; None asks here and now, a question between two yields.

    Raises:
        ModelError, InputError: as the annotator says; the other questions are then withdrawn.
    """
    if pool is None:
        preferences = []
        for question in questions:
            preferences.append(annotator.prefer(question.messages, principle, question.first, question.second))
            yield Asking(len(preferences), len(questions))
        return preferences
    futures = [pool.submit(annotator.prefer, q.messages, principle, q.first, q.second) for q in questions]
    try:
        for future in futures:
            while not future.done():
                yield Wait(future, HEARTBEAT)
                yield Asking(sum(f.done() for f in futures), len(futures))
            future.result()  # raises before the rest is waited for
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()
