"""The statistics that take seconds to minutes: intervals over raters, regression, Bradley-Terry, agreement. From the database to figures.

Knows what was judged and the statistics; no page and no model.
"""

import math
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from app.insights.agreement import Agreement, agreement
from app.insights.figures import Clustered
from app.insights.power import FEWEST_DECISIVE
from app.insights.rates import Share, clustered_share
from app.insights.regression import Adjusted, adjusted
from app.insights.strengths import Duel, Group, strengths
from app.insights.texts import marks, words
from app.insights_quick import oriented
from storage import judgements
from storage.database import DatabaseFile, now
from storage.tallies import Selection, Tally, tallies

MOST_TEXTS = 50_000  # decisive votes whose texts are read; more make the page no surer
MOST_ITEMS = 5_000  # judged by several raters
MOST_PAIRS = 10

Features = tuple[str, tuple[str, str], bool, bool, float, float]


@dataclass(frozen=True)
class PairAdjusted:
    """What is left between two entities at equal length, markdown and side."""

    one: str
    other: str
    adjusted: Adjusted


@dataclass(frozen=True)
class Slow:
    """Figures of the votes as they stood at `made`.

    clustered, adjusted: by pair, those with the most votes first.
    first: the share of decisive votes for the first side. longer: for the longer answer, where lengths differ. Both over raters.
    texts: how many votes `adjusted` and `longer` come from; `sampled` is whether there were more.
    itself: the share of items on which a rater who saw them twice, the sides exchanged, chose the same again; None without any.
    """

    made: str
    seconds: float
    clustered: list[Clustered]
    groups: list[Group]
    adjusted: list[PairAdjusted]
    first: Share
    longer: Share
    texts: int
    sampled: bool
    agreement: Agreement
    itself: Share | None


def compute(database: DatabaseFile, selection: Selection) -> Slow:
    """Everything, in the thread that asks.

    Raises:
        StorageError: the database cannot be read.
    """
    started, made = time.monotonic(), now()
    by_rater = [oriented(t) for t in tallies(database, selection, "rater")]
    longer, votes, sampled = length_bias(database, selection)
    between, itself = agreed(database, selection)
    return Slow(
        made=made,
        clustered=_clustered(by_rater),
        groups=strengths([Duel(t.part, t.one, t.other, t.wins + t.ties / 2, t.losses + t.ties / 2) for t in by_rater]),
        adjusted=_adjusted(votes),
        first=over_raters((t.part, t.preferred_first, t.decisive) for t in by_rater),
        longer=longer,
        texts=len(votes),
        sampled=sampled,
        agreement=between,
        itself=itself,
        seconds=round(time.monotonic() - started, 1),
    )


def agreed(database: DatabaseFile, selection: Selection) -> tuple[Agreement, Share | None]:
    """How far raters agree with each other, and with themselves (None: no item came back to anybody)."""
    twice = judgements.repeats(database, selection)
    itself = over_raters((rater, same, pairs) for rater, pairs, same in twice) if twice else None
    return agreement(judgements.shared(database, selection, MOST_ITEMS)), itself


def length_bias(database: DatabaseFile, selection: Selection) -> tuple[Share, list[Features], bool]:
    """The share of decisive votes for the longer answer; the votes that were read, as `_features` gives them; whether there were more."""
    # One more than are used tells whether there are more.
    read = list(map(_features, judgements.decisive(database, selection, MOST_TEXTS + 1)))
    votes = read[:MOST_TEXTS]
    longer = over_raters((rater, chosen == (more > 0), 1) for rater, _, chosen, _, more, _ in votes if more)
    return longer, votes, len(read) > len(votes)


def over_raters(counts: Iterable[tuple[str, float, int]]) -> Share:
    """A share from (rater, successes, votes), any number of rows a rater."""
    totals: dict[str, list[float]] = defaultdict(lambda: [0, 0])
    for rater, successes, votes in counts:
        totals[rater][0] += successes
        totals[rater][1] += votes
    rows = np.array([row for row in totals.values() if row[1]], float).reshape(-1, 2)
    return clustered_share(rows[:, 0], rows[:, 1])


def _clustered(by_rater: list[Tally]) -> list[Clustered]:
    pairs: dict[tuple[str, str], list[Tally]] = defaultdict(list)
    for tally in by_rater:
        pairs[tally.one, tally.other].append(tally)
    largest = sorted(pairs.items(), key=lambda item: -sum(t.decisive for t in item[1]))[:MOST_PAIRS]
    return [
        Clustered(
            one,
            other,
            len(rows),
            over_raters((t.part, t.wins, t.decisive) for t in rows),
            over_raters((t.part, t.wins + t.ties / 2, t.decisive + t.ties) for t in rows),
        )
        for (one, other), rows in largest
    ]


def _features(vote: judgements.Judgement) -> Features:
    """Rater, pair, whether its one was chosen and stood first, log ratios of words and of marks."""
    tally = oriented(Tally("", vote.first, vote.second, 0, 0, 0, 0, 0, 0))
    first = tally.one == vote.first
    one, other = (vote.first_text, vote.second_text) if first else (vote.second_text, vote.first_text)
    length = math.log(words(one) / words(other))
    return vote.rater, (tally.one, tally.other), vote.chose_first == first, first, length, math.log((1 + marks(one)) / (1 + marks(other)))  # fmt: skip


def _adjusted(votes: list[Features]) -> list[PairAdjusted]:
    pairs: dict[tuple[str, str], list[tuple]] = defaultdict(list)
    for rater, pair, *values in votes:
        pairs[pair].append((rater, *values))
    largest = sorted(pairs.items(), key=lambda item: -len(item[1]))[:MOST_PAIRS]
    found = []
    for (one, other), rows in largest:
        if len(rows) >= FEWEST_DECISIVE:
            raters, chosen, first, length, markdown = (np.array(column) for column in zip(*rows, strict=True))
            found.append(PairAdjusted(one, other, adjusted(chosen, first, length, markdown, raters)))
    return found
