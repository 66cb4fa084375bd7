"""What an evaluation is to do and what came of it, as plain data. Knows no model, no judge and no file."""

from dataclasses import asdict, dataclass
from typing import Any

from app.decoding.arms import DecodeSettings
from app.evaluation.contestants import Contestant
from app.evaluation.questions import Case


@dataclass(frozen=True)
class Plan:
    """What decides every answer and every score, up to rounding.

    against: names of the contestants that every other is compared with.
    judges: by name, see `columns.JUDGES`. behind: what model or embedder judges, for those who choose between pairs.
    batch: how many prompts are answered together.
    """

    model: str
    revision: str
    contestants: list[Contestant]
    against: list[str]
    cases: list[Case]
    judges: list[str]
    behind: dict[str, str]
    settings: DecodeSettings
    batch: int

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "settings": self.settings.model_dump()}

    def pairs(self) -> list[tuple[str, str]]:
        """Who is compared with whom: each contestant with each of `against`, once."""
        names = [contestant.name for contestant in self.contestants]
        both = [(one, other) for other in self.against for one in names if one != other]
        return [pair for i, pair in enumerate(both) if (pair[1], pair[0]) not in both[:i]]


@dataclass(frozen=True)
class Progress:
    """How much of the work is done, and what is done now."""

    done: int
    of: int
    what: str


@dataclass(frozen=True)
class Written:
    """One answer.

    ended: whether it came to an end by itself.
    forwards: readings of a token by the model that it took: one a context and step; of best-of-n all that were sampled, and one
        more for every pair that was judged.
    seconds: its share of the time that its batch took.
    """

    text: str
    ended: bool
    forwards: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What came of it, in the order of the plan's cases.

    answers: by contestant. scores: by column and contestant; None where the judge has no say. wins: by judge of pairs and pair, 1
    where the first of the pair won.
    """

    answers: dict[str, list[Written]]
    scores: dict[str, dict[str, list[float | None]]]
    wins: dict[str, dict[tuple[str, str], list[float]]]
