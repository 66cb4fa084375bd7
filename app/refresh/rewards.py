"""Rewards of answers that need no judge: the rater's own choice, brevity, readability, nearness to the prompt. Knows texts only.

Each is of the order of 1 between two ordinary answers, so that one temperature suits all of them.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.errors import InputError
from app.refresh.methods import REWARDS

Encode = Callable[[list[str]], np.ndarray]


@dataclass(frozen=True)
class Rewarded:
    """An answer that a reward is asked for: to which question, what it says, and whether a person liked it."""

    question: str
    answer: str
    liked: bool


def rewards_of(name: str, answers: list[Rewarded], encode: Encode) -> list[float]:
    """The reward of every answer.

    Args:
        name: "choice" is 1 for liked answers and 0 for others; "length" favours short, "readability" easy ones; "embedding" those
            near to their question in meaning, which keeps an answer to its subject.
        answers: what is rewarded.
        encode: texts to unit vectors, shape (texts, dimensions); asked for "embedding" only.

    Raises:
        InputError: an unknown name.
    """
    if name == "choice":
        return [float(a.liked) for a in answers]
    if name == "length":
        return [brevity(a.answer) for a in answers]
    if name == "readability":
        return [readability(a.answer) for a in answers]
    if name == "embedding":
        vectors = encode([text for a in answers for text in (a.question, a.answer)])
        return [float(question @ answer) for question, answer in zip(vectors[0::2], vectors[1::2], strict=True)]
    raise InputError(f"the reward is {name[:40]!r}; it must be one of {', '.join(REWARDS)}")


def brevity(text: str) -> float:
    """`-log2(1 + words)`: one more for an answer half as long."""
    return -math.log2(1 + len(text.split()))


def readability(text: str) -> float:
    """A tenth of the automated readability index (Smith and Senter 1967), negated: 0.1 more for a school year less.

    The index is `4.71 letters / words + 0.5 words / sentences - 21.43`; it needs no syllables, which are not counted well by rule.
    A text without words gets 0, the index of no school at all.
    """
    words = len(text.split())
    if not words:
        return 0.0
    letters = sum(character.isalnum() for character in text)
    sentences = max(1, len(re.findall(r"[.!?]+(?:\s|$)", text)))
    return -(4.71 * letters / words + 0.5 * words / sentences - 21.43) / 10
