"""The statistics that stand at once, however many votes there are: the database's counts and Wilson's intervals.

Knows the tallies and the figures; no page, no model and no single vote.
"""

from collections.abc import Iterable

from app.insights.figures import Part, Quick, Versus
from app.insights.power import FEWEST_DECISIVE, votes_missing
from app.insights.rates import share, shares
from storage.database import DatabaseFile, now
from storage.tallies import Selection, Tally, days, tallies

ORDER = ("linear_aligned", "principle_prompted", "baseline")  # what is asked about is how the first of two fares
MOST_RATERS = 200
LONGEST_BY_DAY = 28


def oriented(tally: Tally) -> Tally:
    """The counts from the point of view of the arm that comes first in `ORDER`; others follow, by name."""

    def rank(entity: str) -> tuple[int, str]:
        arm = entity.partition(" @ ")[0]
        return (ORDER.index(arm) if arm in ORDER else len(ORDER), entity)

    return tally if rank(tally.one) < rank(tally.other) else tally.turned()


def quick(database: DatabaseFile, selection: Selection, raters: bool = False) -> Quick:
    """Counts and their intervals; of single raters only where asked for.

    Raises:
        StorageError: the database cannot be read.
    """
    made = now()
    by_day = days(database, selection) <= LONGEST_BY_DAY
    totals = sorted(map(oriented, tallies(database, selection)), key=lambda t: -t.votes)
    parts = {
        "personas": _parts(tallies(database, selection, "persona")),
        "studies": _parts(tallies(database, selection, "study")),
        "times": _parts(tallies(database, selection, "day" if by_day else "week")),
        "raters": _largest(_parts(tallies(database, selection, "rater"))) if raters else {},
    }
    decisive = sum(t.decisive for t in totals)
    return Quick(
        made=made,
        votes=sum(t.votes for t in totals),
        first=share(sum(t.preferred_first for t in totals), decisive),
        pairs=[
            _versus(t, by_day, {name: pairs.get((t.one, t.other), []) for name, pairs in parts.items()}) for t in totals
        ],
    )


def _versus(tally: Tally, by_day: bool, parts: dict[str, list[Part]]) -> Versus:
    return Versus(
        one=tally.one,
        other=tally.other,
        decisive=share(tally.wins, tally.decisive),
        half=share(tally.wins + tally.ties / 2, tally.decisive + tally.ties),
        as_first=share(tally.one_first, tally.one_first + tally.other_second),
        as_second=share(tally.one_second, tally.one_second + tally.other_first),
        ties=tally.ties,
        both_bad=tally.both_bad,
        too_early=tally.decisive < FEWEST_DECISIVE,
        missing={f"{rate:.2f}": votes for rate, votes in votes_missing(tally.decisive).items()},
        by_day=by_day,
        **parts,
    )


def _parts(rows: Iterable[Tally]) -> dict[tuple[str, str], list[Part]]:
    turned, found = list(map(oriented, rows)), {}
    decisive = shares([t.wins for t in turned], [t.decisive for t in turned])
    for tally, its in zip(turned, decisive, strict=True):
        found.setdefault((tally.one, tally.other), []).append(Part(tally.part, its, tally.ties, tally.both_bad))
    return found


def _largest(pairs: dict[tuple[str, str], list[Part]]) -> dict[tuple[str, str], list[Part]]:
    return {pair: sorted(parts, key=lambda p: (-p.decisive.n, p.name))[:MOST_RATERS] for pair, parts in pairs.items()}
