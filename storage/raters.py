"""Raters: who agreed to what, what they labelled, and how it is deleted for good. Knows no secrets, only their digests, and no page."""

import json
import logging
import sqlite3
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from storage.database import DatabaseFile, now, record
from storage.private_versions import RETIRE
from storage.records import Rater

logger = logging.getLogger(__name__)

LABELS = """
    select v.*, r.messages, f.text as first_text, t.text as second_text from votes v join rounds r on r.id = v.round
    left join answers f on f.round = r.id and f.arm = r.first_arm left join answers t on t.round = r.id and t.arm = r.second_arm
    where v.rater = ? order by v.id desc
"""
# What nobody else has to do with: the rater asked for it, and no vote is left on it once theirs are gone.
OWN_ROUNDS = "select id from rounds where rater = :rater and item is null and id not in (select round from votes)"
DELETIONS = (
    f"delete from ai_votes where messages in (select messages from rounds where id in ({OWN_ROUNDS})) "
    f"and messages not in (select messages from rounds where id not in ({OWN_ROUNDS}))",
    f"delete from version_pairs where round in ({OWN_ROUNDS})",
    f"delete from answers where round in ({OWN_ROUNDS})",
    f"delete from rounds where id in ({OWN_ROUNDS})",
    *RETIRE,
    "update rounds set rater = '' where rater = :rater",  # somebody else voted on it: theirs to keep, and now nobody's question
    "delete from raters where id = :rater",
)


@dataclass(frozen=True)
class Deleted:
    """How much was deleted."""

    votes: int
    rounds: int


class RaterTable:
    """Reads, writes and deletes raters.

    Args:
        database: migrated, see `Store.database`.
    """

    def __init__(self, database: DatabaseFile):
        self._database = database

    def get(self, rater: str) -> Rater:
        """A rater; one who never entered has agreed to nothing."""
        with self._database.open() as db:
            row = next(db["raters"].rows_where("id = ?", [rater]), None)
        return record(Rater, row) if row else Rater(rater)

    def save(self, rater: Rater) -> Rater:
        """Stores a rater with what they agreed to; a second time the name and the consent are the new ones."""
        with self._database.write() as db:
            known = next(db["raters"].rows_where("id = ?", [rater.id]), None)
            row = {
                "id": rater.id,
                "created": known["created"] if known else now(),
                "name": rater.name,
                "kind": rater.kind,
                "consent_version": rater.consent_version,
                "consented": now(),
            }
            db["raters"].upsert(row, pk="id")
        return record(Rater, row)

    def labels(self, rater: str) -> list[dict[str, Any]]:
        """A rater's votes, the newest first: the vote's columns, the conversation, and both texts as they stood; no arms."""
        with self._database.open() as db:
            rows = list(db.query(LABELS, [rater]))
        return [{**row, "messages": json.loads(row["messages"]), "chips": json.loads(row["chips"])} for row in rows]

    def delete(self, rater: str) -> Deleted:
        """Deletes a rater's votes, tasks and consent, their own versions, and the rounds that they asked for and nobody else voted on,
        for good. The versions' files are the caller's to remove, see `Store.deleted_versions`.

        What is deleted is overwritten in the database file, and the write-ahead log is emptied. Tombstones tell copies elsewhere.
        """
        values = {"rater": rater}
        with self._database.write() as db:
            votes = [row["round"] for row in db.query("select round from votes where rater = :rater", values)]
            db.execute("delete from votes where rater = :rater", values)
            db.execute("delete from assignments where rater = :rater", values)
            rounds = [row["id"] for row in db.query(OWN_ROUNDS, values)]
            for statement in DELETIONS:
                db.execute(statement, values)
            _bury(db, "vote", [f"{round_id} {rater}" for round_id in votes])
            _bury(db, "round", rounds)
            _bury(db, "rater", [rater])
            if sqlite3.sqlite_version_info < (3, 42):  # later ones have an option of the index for it
                for index in db.table_names(fts5=True):  # a deleted word stays in an index until its parts are merged
                    db.execute(f"insert into [{index}]([{index}]) values ('optimize')")
        self._empty_log()
        return Deleted(len(votes), len(rounds))

    def _empty_log(self) -> None:
        with self._database.open() as db:
            busy = db.execute("pragma wal_checkpoint(truncate)").fetchone()[0]
        if busy:
            logger.warning("somebody reads the database: what was deleted stands in its log until the next checkpoint")


def _bury(db: Database, kind: str, keys: list[str]) -> None:
    db["tombstones"].insert_all({"created": now(), "kind": kind, "key": key} for key in keys)
