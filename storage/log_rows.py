"""Rows of the tables as events of the log, and back. Knows the tables that the log tells of; no files and no Hub.

Numbers that a database gave out are no keys elsewhere: an item of a study is named by its study and position.
"""

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from storage.log import BURIED, Event, Key, Tombstones
from storage.records import CHOICES

ITEM = "(select id from study_items where study = ? and position = ?)"
# UnicodeEncodeError, of half a character, is a ValueError.
BLAME_THE_ROW = (ValueError, TypeError, KeyError, OverflowError, sqlite3.IntegrityError, sqlite3.InterfaceError)
PLACE_OF_ITEM = "select study, position from study_items where id = ?"


@dataclass(frozen=True)
class Table:
    """How rows of a table are named in the log.

    key: SQL for the parts of a row's key; {row} is the row.
    where: SQL that finds the row of a key.
    own: columns that mean nothing in another database.
    parsed: columns of JSON.
    """

    key: tuple[str, ...]
    where: str
    own: tuple[str, ...] = ()
    parsed: tuple[str, ...] = ()


TABLES = {
    "studies": Table(("{row}.id",), "id = ?", parsed=("arms", "settings")),
    "study_items": Table(("{row}.study", "{row}.position"), "study = ? and position = ?", ("id",), ("messages",)),
    "raters": Table(("{row}.id",), "id = ?"),
    "bans": Table(("{row}.rater",), "rater = ?"),
    "personas": Table(("{row}.id",), "id = ?"),
    "rounds": Table(("{row}.id",), "id = ?", ("item",), ("principles", "messages", "settings")),
    "votes": Table(("{row}.round", "{row}.rater"), "round = ? and rater = ?", ("id", "counts"), ("chips",)),
    "assignments": Table(
        (
            "(select study from study_items where id = {row}.item)",
            "(select position from study_items where id = {row}.item)",
            "{row}.rater",
            "{row}.repeat",
        ),
        f"item = {ITEM} and rater = ? and repeat = ?",
        ("id", "item"),
    ),
    "tombstones": Table(("{row}.kind", "{row}.key", "{row}.created"), "kind = ? and key = ? and created = ?", ("id",)),
}


def row_of(db: Database, kind: str, key: Key) -> dict[str, Any] | None:
    """What the log tells of a row; None where there is none. A round comes with its answers and its item's place."""
    stored = _stored(db, kind, key)
    if stored is None:
        return None
    row = {name: value for name, value in stored.items() if name not in TABLES[kind].own}
    if kind == "rounds":
        place = db.execute(PLACE_OF_ITEM, [stored["item"]]).fetchone()
        row["item"] = list(place) if place else None
        answers = db["answers"].rows_where("round = ?", [stored["id"]], order_by="rowid")
        row["answers"] = [{name: value for name, value in a.items() if name != "round"} for a in answers]
    return row


def put(db: Database, event: Event) -> bool:
    """Makes a row what the event says; returns whether it could: a row that is broken or hangs in the air is left out."""
    try:
        with db.atomic():
            if event.row is None:
                take(db, event.kind, event.key)
            else:
                _put(db, event.kind, event.key, event.row)
    except BLAME_THE_ROW:
        return False
    return True


def take(db: Database, kind: str, key: Key) -> None:
    """Takes a row away; a round goes with its answers, votes and assignments."""
    if kind == "rounds":
        for table in ("assignments", "votes", "answers"):
            db.execute(f"delete from {table} where round = ?", list(key))
    db.execute(f"delete from {kind} where {TABLES[kind].where}", list(key))


def bury(db: Database, tombstones: Tombstones) -> None:
    """Takes away what was deleted elsewhere; what was made since then stays."""
    for kind, key, _ in tombstones:
        stored = _stored(db, kind, key) if len(key) == len(TABLES[kind].key) else None
        if stored is not None and tombstones.cover(kind, key, stored["created"] or ""):
            take(db, kind, key)


def tombstones_of(db: Database) -> Tombstones:
    """The tombstones that this database holds."""
    found = Tombstones()
    for row in db["tombstones"].rows_where(f"kind in ({', '.join('?' * len(BURIED))})", list(BURIED)):
        found.add(row["kind"], row["key"], row["created"] or "")
    return found


def _stored(db: Database, kind: str, key: Key) -> dict[str, Any] | None:
    return next(db.query(f"select * from {kind} where {TABLES[kind].where}", list(key)), None)


def _put(db: Database, kind: str, key: Key, row: dict[str, Any]) -> None:
    for column in TABLES[kind].parsed:
        json.loads(row[column])
    # Lines of an older program have no mix.
    if kind == "personas" and not isinstance(json.loads(row.get("mix", "[]")), list):
        raise ValueError("the mix of a persona is a list")
    if kind == "votes" and row["choice"] not in CHOICES:
        raise ValueError(f"{row['choice']!r} is no choice")
    columns = set(db[kind].columns_dict) - set(TABLES[kind].own)
    values = {name: value for name, value in row.items() if name in columns}
    if any(isinstance(value, list | dict) for value in values.values()):
        raise ValueError("a column holds one value")
    if kind == "assignments":
        values |= {"item": _item(db, key[:2]), "rater": key[2], "repeat": key[3]}
    if kind == "rounds":
        values["item"] = _item(db, row["item"]) if row.get("item") else None
    if kind == "studies" and db[kind].count_where("name = ? and id <> ?", [values["name"], key[0]]):
        values["name"] = f"{values['name']} ({key[0][:6]})"  # two replicas chose the same name
    stored = _stored(db, kind, key)
    if stored is None:
        db[kind].insert(values)
    elif changed := {name: value for name, value in values.items() if stored[name] != value}:
        db[kind].update(stored[db[kind].pks[0]], changed)
    if _stored(db, kind, key) is None:
        raise ValueError("the row is another than its key says")
    if kind == "rounds" and stored is None:
        for answer in row["answers"]:
            json.loads(answer["token_ids"])
            kept = {name: answer[name] for name in ("arm", "text", "token_ids", "finish_reason", "seconds")}
            db["answers"].insert({"round": key[0], **kept})


def _item(db: Database, place: Any) -> int:
    found = db.execute(ITEM[1:-1], list(place)).fetchone()
    if found is None:
        raise ValueError(f"the item {place!r} is not known")
    return found[0]
