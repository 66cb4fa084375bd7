"""What the statistics of votes consist of, as plain data. Knows no database, and how nothing of it is computed."""

from dataclasses import dataclass, field

from app.insights.rates import Share


@dataclass(frozen=True)
class Part:
    """One persona's, study's, rater's or week's votes between two entities; `decisive` is the share that prefers the first named."""

    name: str
    decisive: Share
    ties: int
    both_bad: int


@dataclass(frozen=True)
class Versus:
    """Two entities that were compared. Shares are of `one` being preferred.

    decisive: ties left out. half: ties as half a win; answers that were both bad are in neither.
    as_first, as_second: decisive, where `one` stood first and second.
    too_early, missing: whether there are fewer decisive votes than say anything, and how many more find a true rate of "0.55" and others.
    by_day: what `times` are: days, or else the Mondays of weeks.
    """

    one: str
    other: str
    decisive: Share
    half: Share
    as_first: Share
    as_second: Share
    ties: int
    both_bad: int
    too_early: bool
    missing: dict[str, int]  # JSON's names are texts
    personas: list[Part] = field(default_factory=list)
    studies: list[Part] = field(default_factory=list)
    times: list[Part] = field(default_factory=list)
    raters: list[Part] = field(default_factory=list)
    by_day: bool = True


@dataclass(frozen=True)
class Quick:
    """What is counted at once. `first` is the share of decisive votes for the first side: the side-bias meter."""

    made: str
    votes: int
    first: Share
    pairs: list[Versus]


@dataclass(frozen=True)
class Clustered:
    """The shares of a pair once more, with intervals that know that raters repeat (cluster bootstrap)."""

    one: str
    other: str
    raters: int
    decisive: Share
    half: Share
