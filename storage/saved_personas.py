"""Personas that people saved: whose they are, what they hold, and whether everybody is offered them. Knows no owner's token and no page."""

import json
from dataclasses import asdict
from typing import Any

from sqlite_utils import Database

from app.errors import InputError
from storage.database import DatabaseFile, now, record
from storage.records import SavedPersona


class PersonaTable:
    """Reads, writes and deletes saved personas.

    Args:
        database: migrated, see `Store.database`.
    """

    def __init__(self, database: DatabaseFile):
        self._database = database

    def all(self) -> list[SavedPersona]:
        """All saved personas, oldest first."""
        with self._database.open() as db:
            return [_persona_of(row) for row in db["personas"].rows_where(order_by="created, id")]

    def save(self, persona: SavedPersona) -> None:
        """Stores a persona; one of the same id is replaced by its own rater only, and keeps its link.

        Raises:
            InputError: another person's persona has this id.
        """
        row = {**asdict(persona), "mix": json.dumps(persona.mix), "created": now()}
        with self._database.write() as db:
            known = _row(db, persona.id)
            if known is not None and known["rater"] != persona.rater:
                raise InputError(
                    f"the name {persona.name!r} is taken by somebody else's persona; please choose another"
                )
            if known is not None:
                row["link"] = known["link"]
            db["personas"].upsert(row, pk="id")

    def mark(self, persona_id: str, wanted: bool, approved: bool) -> bool:
        """Notes whether a persona is offered to everybody and whether the owner agreed; returns whether there is such a one."""
        with self._database.write() as db:
            changed = db.execute(
                "update personas set public_wanted = ?, public_approved = ? where id = ?",
                [wanted, approved, persona_id],
            )
            return changed.rowcount > 0

    def delete(self, persona_id: str) -> bool:
        """Deletes a persona, and its copies elsewhere by a tombstone; returns whether there was one."""
        with self._database.write() as db:
            if not db.execute("delete from personas where id = ?", [persona_id]).rowcount:
                return False
            db["tombstones"].insert({"created": now(), "kind": "persona", "key": persona_id})
        return True


def _persona_of(row: dict[str, Any]) -> SavedPersona:
    flags = {name: bool(row[name]) for name in ("public_wanted", "public_approved")}
    return record(SavedPersona, {**row, **flags, "mix": tuple(json.loads(row["mix"]))})


def _row(db: Database, persona_id: str) -> dict[str, Any] | None:
    return next(db["personas"].rows_where("id = ?", [persona_id]), None)
