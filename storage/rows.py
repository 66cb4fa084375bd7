"""Records as rows, inside a transaction of somebody else's. Knows the tables of rounds, not why one is written."""

import json
from dataclasses import asdict

from sqlite_utils import Database

from storage.database import now
from storage.records import Round


def insert_round(db: Database, round_: Round) -> None:
    """Inserts a round and its answers."""
    row = {**asdict(round_), "created": now()}
    answers = row.pop("answers")
    db["rounds"].insert(row | {key: json.dumps(row[key]) for key in ("principles", "messages", "settings")})
    db["answers"].insert_all(
        {**a, "round": round_.id, "token_ids": json.dumps(a["token_ids"])} for a in answers.values()
    )
