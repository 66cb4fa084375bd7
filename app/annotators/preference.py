"""What every annotator is asked and what it answers. Plain words and numbers: no model, no network.

An annotator never guesses: where it cannot tell, the choice is None, and whoever asked leaves the pair out.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from app.prompts import Message

Choice = Literal["first", "second"]

# Rounding in fp32 moves a score by less than this when two rows of a batch change places; a choice must not hang on it.
NO_DIFFERENCE = 1e-6


@dataclass(frozen=True)
class Cost:
    """What a choice took; costs add up, so that a loop can show them.

    forwards: batched calls of a local model.
    prompt_tokens, completion_tokens: as an endpoint counts and bills them.
    """

    forwards: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.forwards + other.forwards,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True)
class Preference:
    """One choice between two answers.

    choice: "first", "second", or None: the annotator cannot tell, or its choice hangs on the order of the answers.
    margin: score of the first less score of the second, in the annotator's own unit; None where it gives no score.
    cost: what it took.
    scores: of the first and of the second, which may be compared between prompts; None where it gives none.
    """

    choice: Choice | None
    margin: float | None
    cost: Cost
    scores: tuple[float, float] | None = None


class Annotator(Protocol):
    """Who chooses between two answers."""

    def prefer(self, messages: list[Message], principle: str, first: str, second: str) -> Preference:
        """The answer that follows the principle better.

        Args:
            messages: the conversation up to the answer; a system message of its own may come first.
            principle: a framed principle, one sentence; see `app.prompts.frame`.
            first, second: the answers. Equal ones cost nothing and give no choice.
        """


def by_scores(first: float, second: float, cost: Cost) -> Preference:
    """The answer with the higher score."""
    margin = first - second
    if not abs(margin) > NO_DIFFERENCE:  # said this way round, no score at all (nan) is no choice either
        return Preference(None, margin, cost, (first, second))
    return Preference("first" if margin > 0 else "second", margin, cost, (first, second))
