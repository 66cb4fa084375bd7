"""What the store takes and gives: plain, typed rows. Knows neither SQL nor models."""

from dataclasses import dataclass, field
from typing import Any, Literal

Choice = Literal["first", "second", "tie", "both_bad"]
CHOICES: tuple[Choice, ...] = ("first", "second", "tie", "both_bad")


@dataclass(frozen=True)
class Answer:
    """One arm's answer in a round. `seconds` counts from the start of the comparison to this arm's last token."""

    arm: str
    text: str
    token_ids: list[int]
    finish_reason: str
    seconds: float


@dataclass(frozen=True)
class Round:
    """One comparison. `principles` holds {text, weight}, `messages` {role, content}; `adapter` "" is the original model."""

    id: str
    rater: str
    persona: str
    principles: list[dict[str, Any]]
    messages: list[dict[str, str]]
    settings: dict[str, Any]
    model: str
    model_revision: str
    adapter: str
    blind: bool
    first_arm: str
    second_arm: str
    app_version: str
    answers: dict[str, Answer] = field(default_factory=dict)
    created: str = ""


@dataclass(frozen=True)
class Vote:
    """One rater's choice on one round, by side."""

    round: str
    rater: str
    choice: Choice
    reason: str = ""
    dwell_seconds: float | None = None
    consent_version: str = ""
    created: str = ""


@dataclass(frozen=True)
class AIVote:
    """An annotator's choice between two answers of one policy, in one run of the online loop; never a person's.

    `choice` is empty where the annotator could not tell; `margin` is in its own unit, None where it gives none.
    """

    run: str
    step: int
    persona: str
    principle: str
    annotator: str
    annotator_model: str
    messages: list[dict[str, str]]
    first: str
    second: str
    choice: Literal["first", "second", ""]
    margin: float | None
    forwards: int
    prompt_tokens: int
    completion_tokens: int
    model: str
    model_revision: str
    created: str = ""


@dataclass(frozen=True)
class SavedPersona:
    """A persona that a person saved."""

    id: str
    rater: str
    name: str
    principle: str
    framing: str
    ratio: float
    created: str = ""


@dataclass(frozen=True)
class Version:
    """One adapter and how it was made. `scope` is a persona id, or "" for all. `metrics` is what was measured.

    parent: the version that was in use for the scope when this one was made, that it was compared with and would replace; "" is
        the original model, None not known. Training itself starts from the base, not from the parent.
    reference: the policy that the objective measured against: "base", or "" where nothing was trained here.
    origin: "refresh", "online" or "upload".
    """

    id: str
    scope: str
    model: str
    model_revision: str
    settings: dict[str, Any]
    pairs_train: int
    pairs_heldout: int
    metrics: dict[str, Any]
    seconds: float
    published: bool
    reason: str
    created: str = ""
    parent: str | None = None
    reference: str = "base"
    origin: str = "refresh"

    @property
    def objective(self) -> str:
        """What was minimised, such as "dpo"; empty where nothing was trained here."""
        return str(self.settings.get("objective", ""))

    @property
    def seed(self) -> int | None:
        """The seed of the training; None where nothing was trained here."""
        return self.settings.get("seed")
