"""Votes one by one, as the slow statistics need them: with both texts, by what was judged, and judged twice by one rater. SQL only.

The same votes as in `tallies`; what was judged is an item of a study, or a round that belongs to none.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from storage.database import DatabaseFile
from storage.tallies import Selection
from storage.tally_triggers import ENTITY

ONES = f"""
    select v.id, v.rater, v.round, v.choice, r.item, coalesce('item ' || r.item, r.id) as unit,
        {ENTITY.format(side="first")} as first, {ENTITY.format(side="second")} as second,
        case v.choice when 'first' then r.first_arm when 'second' then r.second_arm else v.choice end as label
    from votes v join rounds r on r.id = v.round left join study_items i on i.id = r.item
    where v.counts and (:persona is null or r.persona = :persona) and (:study is null or i.study = :study)
    and (r.blind or not :blind_only)
"""


@dataclass(frozen=True)
class Judgement:
    """A decisive vote with the texts of both answers. `first` and `second` are entities; `chose_first` is whether the first was chosen."""

    rater: str
    first: str
    second: str
    chose_first: bool
    first_text: str
    second_text: str


def decisive(database: DatabaseFile, selection: Selection, most: int) -> Iterator[Judgement]:
    """Decisive votes with their texts; of more than `most` a sample that is the same every time."""
    query = f"""
        with chosen as (select * from ({ONES}) where choice in ('first', 'second')
            order by (id * 2654435761) % 4294967296 limit :most)
        select c.rater, c.first, c.second, c.choice = 'first' as chose_first, f.text as first_text, s.text as second_text
        from chosen c join rounds r on r.id = c.round join answers f on f.round = r.id and f.arm = r.first_arm
        join answers s on s.round = r.id and s.arm = r.second_arm
    """
    with database.open() as db:
        for row in db.query(query, {**selection.values, "most": most}):
            yield Judgement(**{**row, "chose_first": bool(row["chose_first"])})


def shared(database: DatabaseFile, selection: Selection, most: int) -> list[tuple[str, str, str]]:
    """What at least two raters judged, as (what, rater, label), of `most` things at most.

    A label is the arm that was preferred, "tie" or "both_bad": not the side, which may have been another for each. A rater's first
    judgement counts.
    """
    query = f"""
        with ones as materialized (select unit, rater, label, min(id) from ({ONES}) group by unit, rater),
            units as (select unit from ones group by unit having count(*) > 1 order by unit limit :most)
        select unit, rater, label from ones where unit in units order by unit, rater
    """
    with database.open() as db:
        return [tuple(row) for row in db.execute(query, {**selection.values, "most": most}).fetchall()]


def repeats(database: DatabaseFile, selection: Selection) -> list[tuple[str, int, int]]:
    """Items that a rater judged twice, the sides exchanged: (rater, how many, how many with the same label both times)."""
    query = f"""
        with ones as materialized (select * from ({ONES}) where item is not null)
        select a.rater, count(*), sum(a.label = b.label) from ones a join ones b
        on b.item = a.item and b.rater = a.rater and b.id > a.id and b.round <> a.round
        group by a.rater order by a.rater
    """
    with database.open() as db:
        return [tuple(row) for row in db.execute(query, selection.values).fetchall()]
