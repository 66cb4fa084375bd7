"""From scores and judged pairs to figures with intervals: what each contestant reaches, who wins over whom, at what length and cost.

Answers to the same prompt under many principles are no independent observations: every interval is drawn over prompts (cluster
bootstrap, by `app.insights`), and comparisons are paired by prompt and principle. Knows numbers; no model, no file and no page.
"""

from dataclasses import dataclass

import numpy as np

from app.annotators.preference import NO_DIFFERENCE
from app.evaluation.columns import COLUMNS
from app.evaluation.plan import Outcome, Plan
from app.insights.means import Mean, clustered_mean
from app.insights.rates import Share, clustered_share
from app.insights.regression import adjusted
from app.insights.texts import marks, words


@dataclass(frozen=True)
class Figures:
    """What one contestant reaches. `family`, `strength`: see `contestants.Contestant`. `scores`: by column, with those cases in which the judge has a say.

    words, forwards, seconds: of an answer, on the average; see `answering.Written`.
    """

    name: str
    family: str
    strength: str
    scores: dict[str, Mean | Share]
    words: float
    forwards: float
    seconds: float


@dataclass(frozen=True)
class Win:
    """One contestant against another, by one judge, over the cases in which it has a say on both.

    rate: how often the one is preferred, ties half. ties: how many there are.
    gain: by how much its score is higher; None for a judge of pairs.
    longer: words of the one for every word of the other.
    at_equal_length: the rate at equal length and markdown, by logistic regression; None where there is no fit, and `fault` says why.
    forwards, seconds: cost of the one for every unit of the other's.
    """

    judge: str
    one: str
    other: str
    rate: Share
    ties: int
    gain: Mean | None
    longer: float
    at_equal_length: tuple[float, float, float] | None
    fault: str
    forwards: float
    seconds: float


@dataclass(frozen=True)
class Summary:
    """All figures, in the plan's order."""

    figures: list[Figures]
    wins: list[Win]


def summarise(plan: Plan, outcome: Outcome) -> Summary:
    """The figures of an evaluation."""
    prompts = np.array([case.prompt for case in plan.cases])
    figures = [
        Figures(
            contestant.name,
            contestant.family,
            contestant.strength,
            {
                column: score(by_name[contestant.name], prompts, COLUMNS[column].binary)
                for column, by_name in outcome.scores.items()
            },
            *costs(outcome, contestant.name),
        )
        for contestant in plan.contestants
    ]
    wins = [
        versus(outcome, judge, one, other, prompts)
        for judge in [*outcome.scores, *outcome.wins]
        for one, other in plan.pairs()
    ]
    return Summary(figures, wins)


def score(values: list[float | None], prompts: np.ndarray, binary: bool) -> Mean | Share:
    """The mean of the scores that are there; a share where they are all 0 or 1.

    Args:
        values: of each case.
        prompts: of each case, (cases,).
        binary: which of the two it is.
    """
    there = np.array([value is not None for value in values])
    kept = np.array([value for value in values if value is not None], float)
    return _share(kept, prompts[there]) if binary else clustered_mean(kept, prompts[there])


def _share(values: np.ndarray, prompts: np.ndarray) -> Share:
    groups = np.unique(prompts, return_inverse=True)[1]
    return clustered_share(np.bincount(groups, weights=values), np.bincount(groups))


def costs(outcome: Outcome, name: str) -> tuple[float, float, float]:
    """Words, forwards and seconds of an answer on the average."""
    answers = outcome.answers[name]
    totals = [(len(a.text.split()), a.forwards, a.seconds) for a in answers]
    return tuple(float(x) for x in np.mean(totals, axis=0))


def versus(outcome: Outcome, judge: str, one: str, other: str, prompts: np.ndarray) -> Win:
    """One contestant against another; see `Win`.

    Args:
        judge: a column of scores, or a judge of pairs.
        one, other: names of contestants.
        prompts: of each case, (cases,).
    """
    gain = None
    if judge in outcome.scores:
        scores = [outcome.scores[judge][name] for name in (one, other)]
        there = np.array([a is not None and b is not None for a, b in zip(*scores, strict=True)], bool)
        gaps = np.array([a - b for a, b in zip(*scores, strict=True) if a is not None and b is not None], float)
        won = np.where(np.abs(gaps) > NO_DIFFERENCE, (gaps > 0).astype(float), 0.5)
        gain = clustered_mean(gaps, prompts[there])
    else:
        there, won = np.ones(len(prompts), bool), np.array(outcome.wins[judge][one, other])
    texts = [[a.text for a, kept in zip(outcome.answers[name], there, strict=True) if kept] for name in (one, other)]
    rate = _share(won, prompts[there])
    level, fault = _at_equal_length(won, *texts, prompts[there])
    (_, forwards, seconds), (_, of_forwards, of_seconds) = costs(outcome, one), costs(outcome, other)
    return Win(
        judge=judge,
        one=one,
        other=other,
        rate=rate,
        ties=int((won == 0.5).sum()),
        gain=gain,
        longer=sum(map(words, texts[0])) / max(1, sum(map(words, texts[1]))),
        at_equal_length=level,
        fault=fault,
        forwards=forwards / of_forwards,
        seconds=seconds / of_seconds,
    )


def _at_equal_length(
    won: np.ndarray, ones: list[str], others: list[str], prompts: np.ndarray
) -> tuple[tuple[float, float, float] | None, str]:
    clear = np.flatnonzero(won != 0.5)
    length = np.array([np.log(words(ones[i]) / words(others[i])) for i in clear])
    markdown = np.array([np.log((1 + marks(ones[i])) / (1 + marks(others[i]))) for i in clear])
    found = adjusted(won[clear], np.zeros(len(clear)), length, markdown, prompts[clear])
    return (found.effect.rate, "") if found.effect else (None, found.fault)
