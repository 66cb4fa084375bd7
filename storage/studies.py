"""Studies and their items: what is to be labelled, what was answered, how far it is. Knows no model, and not who is handed what."""

import json
import sqlite3
from dataclasses import asdict
from typing import Any

from app.errors import InputError, NotFoundError
from storage.database import DatabaseFile, now, record
from storage.records import Item, Overview, Round, Study
from storage.store import insert_round

# A rater's first look at an item that was labelled; "revealed" is a done one whose arms the rater has been told.
LABELLED = "a.repeat = 0 and a.state in ('done', 'revealed')"
OVERVIEWS = f"""
    select s.id, s.name, s.state, s.overlap,
        (select count(*) from study_items i where i.study = s.id) as items,
        (select count(distinct r.item) from rounds r join study_items i on i.id = r.item where i.study = s.id) as answered,
        (select count(*) from study_items i where i.study = s.id and i.fault <> '') as faults,
        (select count(*) from assignments a join study_items i on i.id = a.item where i.study = s.id and {LABELLED}) as votes,
        (select count(distinct a.rater) from assignments a join study_items i on i.id = a.item
            where i.study = s.id and {LABELLED}) as raters
    from studies s order by s.created desc, s.rowid desc
"""
UNANSWERED = """
    select i.* from study_items i join studies s on s.id = i.study
    where s.state = 'open' and s.model_revision = :revision and (:study is null or s.id = :study) and i.fault = ''
        and not exists (select 1 from rounds r where r.item = i.id)
    order by s.created, s.rowid, i.position limit 1
"""


class StudyTable:
    """Reads and writes studies.

    Args:
        database: migrated, see `Store.database`.
    """

    def __init__(self, database: DatabaseFile):
        self._database = database

    def add(self, study: Study, items: list[tuple[str, list[dict[str, str]]]]) -> None:
        """Stores a study with its items, each a persona and a conversation, in the order in which they are to be labelled.

        Raises:
            InputError: the name is taken.
        """
        row = {**asdict(study), "created": now()}
        row |= {key: json.dumps(row[key]) for key in ("arms", "settings")}
        try:
            with self._database.write() as db:
                db["studies"].insert(row)
                db["study_items"].insert_all(
                    {"study": study.id, "position": position, "persona": persona, "messages": json.dumps(messages)}
                    for position, (persona, messages) in enumerate(items)
                )
        except sqlite3.IntegrityError as error:
            raise InputError(f"a study named {study.name!r} exists already; please choose another name") from error

    def get(self, study_id: str) -> Study:
        """One study.

        Raises:
            NotFoundError: no such study.
        """
        return self._one("id", study_id)

    def named(self, name: str) -> Study:
        """One study by its name.

        Raises:
            NotFoundError: no such study.
        """
        return self._one("name", name)

    def overviews(self) -> list[Overview]:
        """How far every study is, the newest first."""
        with self._database.open() as db:
            rows = list(db.query(OVERVIEWS))
        return [record(Overview, {**row, "wanted": row["items"] * row["overlap"]}) for row in rows]

    def close(self, study_id: str) -> None:
        """From now on it hands nothing out; what was labelled stays."""
        with self._database.write() as db:
            db["studies"].update(study_id, {"state": "closed"})

    def unanswered(self, revision: str, study_id: str | None = None) -> Item | None:
        """The next item of an open study that this revision of a model has to answer; None where there is none."""
        with self._database.open() as db:
            row = next(db.query(UNANSWERED, {"revision": revision, "study": study_id}), None)
        return row and record(Item, {**row, "messages": json.loads(row["messages"])})

    def answer(self, item: Item, rounds: tuple[Round, Round]) -> bool:
        """Stores both rounds of an item, or nothing where it has some already; returns whether they were stored."""
        with self._database.write() as db:
            if db["rounds"].count_where("item = ?", [item.id]):
                return False
            for round_ in rounds:
                insert_round(db, round_)
        return True

    def fault(self, item: Item, reason: str) -> None:
        """Notes why an item cannot be answered; it is not tried again, and no rater gets it."""
        with self._database.write() as db:
            db["study_items"].update(item.id, {"fault": reason})

    def prompts_labelled(self, most: int = 2000) -> list[str]:
        """The last prompts of rounds that people voted on, each once, the newest `most` of them."""
        query = """
            select json_extract(r.messages, '$[#-1].content') as prompt from votes v join rounds r on r.id = v.round
            group by prompt order by max(v.id) desc limit ?
        """
        with self._database.open() as db:
            return [row["prompt"] for row in db.query(query, [most])]

    def _one(self, column: str, value: str) -> Study:
        with self._database.open() as db:
            rows = list(db["studies"].rows_where(f"{column} = ?", [value]))
        if not rows:
            raise NotFoundError(
                f"the study {str(value)[:80]!r} does not exist; `study list` and the tab Label name those that do"
            )
        decoded: dict[str, Any] = {key: json.loads(rows[0][key]) for key in ("arms", "settings")}
        return record(Study, {**rows[0], **decoded, "arms": tuple(decoded["arms"])})
