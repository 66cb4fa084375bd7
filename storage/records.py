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
    """One comparison. `principles` holds {text, weight}, `messages` {role, content}; `adapter` "" is the original model.

    item: the item of a study that it shows; two rounds show one item, with the same answers and the sides exchanged.
    """

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
    item: int | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    created: str = ""


@dataclass(frozen=True)
class Vote:
    """One rater's choice on one round, by side.

    chips: reasons that were offered and picked; `reason` is the rater's own words.
    edited_side, edited: which answer the rater rewrote and how, or both empty; such a text is a demonstration.
    session: one visit of the rater's, drawn by the browser; it tells breaks and fatigue, not who.
    """

    round: str
    rater: str
    choice: Choice
    reason: str = ""
    dwell_seconds: float | None = None
    consent_version: str = ""
    created: str = ""
    chips: tuple[str, ...] = ()
    edited_side: Literal["first", "second", ""] = ""
    edited: str = ""
    session: str = ""


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
    """A persona that a person saved: theirs alone until it is offered to everybody and the owner of the page agrees.

    weight, mix: several principles at once: the weight of `principle`, and the others as {text, framing, weight}.
    link: random; whoever has it may read the persona.
    """

    id: str
    rater: str
    name: str
    principle: str
    framing: str
    ratio: float
    created: str = ""
    weight: float = 1.0
    mix: tuple[dict[str, Any], ...] = ()
    link: str = ""
    public_wanted: bool = False
    public_approved: bool = False


@dataclass(frozen=True)
class Version:
    """One adapter and how it was made. `scope` is a persona id, or "" for all. `metrics` is what was measured.

    parent: the version that was in use for the scope when this one was made, that it was compared with and would replace; "" is
        the original model, None not known. A refresh starts from the base, or from the parent where its reference is "previous".
    reference: the policy that the objective measured against, see `RefreshSettings`: "base", "previous" or "ema"; "" where nothing
        was trained here.
    origin: "refresh", "online" or "upload".
    rater: whose own it is, so that nobody else may use it; "" is the page's.
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
    rater: str = ""

    @property
    def objective(self) -> str:
        """What was minimised, such as "dpo"; empty where nothing was trained here."""
        return str(self.settings.get("objective", ""))

    @property
    def seed(self) -> int | None:
        """The seed of the training; None where nothing was trained here."""
        return self.settings.get("seed")


@dataclass(frozen=True)
class Study:
    """A set of items to label. `arms` are the two whose answers are compared; `settings` are the decode settings of all.

    overlap: how many raters every item gets.
    repeat: the share of a rater's items that come back later with the sides exchanged.
    state: "open" or "closed"; a closed study hands nothing out.
    """

    id: str
    name: str
    arms: tuple[str, str]
    overlap: int
    repeat: float
    settings: dict[str, Any]
    adapter: str
    model: str
    model_revision: str
    state: str = "open"
    created: str = ""


@dataclass(frozen=True)
class Rater:
    """A person who votes. `id` is the digest of their secret; `name` is what they call themselves, shown to the owner only."""

    id: str
    name: str = ""
    kind: Literal["browser", "code", "huggingface"] = "browser"
    consent_version: str = ""
    consented: str = ""
    created: str = ""


@dataclass(frozen=True)
class Item:
    """One thing to label in a study: a conversation that is answered under a persona; `position` says when its turn comes."""

    id: int
    study: str
    position: int
    persona: str
    messages: list[dict[str, str]]


@dataclass(frozen=True)
class Overview:
    """How far a study is.

    answered, faults: items whose answers are there, and items that could not be answered.
    votes: labels without repeats; `wanted` of them make the study complete.
    raters: how many people gave them.
    """

    id: str
    name: str
    items: int
    answered: int
    faults: int
    votes: int
    raters: int
    wanted: int
    state: str


@dataclass(frozen=True)
class Handed:
    """What a study has for a rater now.

    round: the round to show, or empty where there is none now.
    pending: how many items still wait for their answers; with no round, 0 means that nothing is left for this rater.
    done, total: the rater's labels in this study, and how many there may be in all, repeats among them.
    """

    round: str
    pending: int
    done: int
    total: int
