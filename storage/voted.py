"""Votes with their rounds in portions, so that an export of a million of them needs the memory of a few hundred.

It reads; it does not know what becomes of the votes.
"""

import json
from collections.abc import Iterator

from storage.database import DatabaseFile
from storage.records import Round, Vote
from storage.rows import round_of, vote_of

PORTION = 500
VOTES = """
    select v.* from votes v join rounds r on r.id = v.round
    where v.id > :after and (:persona is null or r.persona = :persona)
    and (:study is null or r.item in (select id from study_items where study = :study))
    and (:rater is null or v.rater = :rater) and v.rater not in (select rater from bans)
    order by v.id limit :portion
"""
NAMED = "(select value from json_each(:ids))"


def voted(
    database: DatabaseFile,
    persona: str | None = None,
    study: str | None = None,
    portion: int = PORTION,
    rater: str | None = None,
) -> Iterator[tuple[Vote, Round]]:
    """All votes that are not of a banned rater, oldest first, each with its round; of one persona, one study (by id) and one rater
    where given.

    Every portion is a snapshot of its own: what is deleted in between does not come.
    """
    values = {"persona": persona, "study": study, "portion": portion, "after": 0, "rater": rater}
    while True:
        with database.open() as db, db.atomic():
            votes = list(db.query(VOTES, values))
            ids = {"ids": json.dumps(sorted({row["round"] for row in votes}))}
            rounds = list(db.query(f"select * from rounds where id in {NAMED}", ids))
            answers: dict[str, list[dict]] = {row["id"]: [] for row in rounds}
            for row in db.query(f"select * from answers where round in {NAMED} order by rowid", ids):
                answers[row["round"]].append(row)
        records = {row["id"]: round_of(row, answers[row["id"]]) for row in rounds}
        yield from ((vote_of(row), records[row["round"]]) for row in votes)
        if len(votes) < portion:
            return
        values["after"] = votes[-1]["id"]


def study_names(database: DatabaseFile) -> dict[int, str]:
    """The name of the study that each item is of."""
    with database.open() as db:
        return dict(db.execute("select i.id, s.name from study_items i join studies s on s.id = i.study").fetchall())
