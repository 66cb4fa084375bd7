"""Preference pairs that were collected elsewhere: kept beside people's votes and never among them. Reads no files."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.errors import InputError, NotFoundError
from storage.database import DatabaseFile, now, record


@dataclass(frozen=True)
class ImportedPair:
    """A pair from line `line` of the file `source`, for a persona or, where empty, for all.

    `prompt` is a conversation as {role, content}; `extra` are the row's other plain values, by column.
    """

    source: str
    line: int
    persona: str
    prompt: list[dict[str, str]]
    chosen: str
    rejected: str
    extra: dict[str, Any]


@dataclass(frozen=True)
class Source:
    """A file that was imported, how many pairs are from it, and when."""

    source: str
    persona: str
    pairs: int
    created: str


def add_imported(database: DatabaseFile, pairs: list[ImportedPair]) -> None:
    """Stores the pairs of one file, all of them or none.

    Raises:
        InputError: pairs of a file of this name are there already.
    """
    time = now()
    with database.write() as db:
        if db["imported_pairs"].count_where("source = ?", [pairs[0].source]):
            raise InputError(
                f"pairs of a file {pairs[0].source!r} are here already; delete them first, or give the file another name"
            )
        db["imported_pairs"].insert_all(
            {
                **vars(pair),
                "created": time,
                "prompt": json.dumps(pair.prompt, ensure_ascii=False),
                "extra": json.dumps(pair.extra, ensure_ascii=False),
            }
            for pair in pairs
        )


def imported(database: DatabaseFile, persona: str | None = None) -> Iterator[ImportedPair]:
    """All imported pairs in the order in which they came; those for one persona where given."""
    with database.open() as db:
        rows = list(
            db["imported_pairs"].rows_where(
                ":persona is null or persona = :persona", {"persona": persona}, order_by="id"
            )
        )
    for row in rows:
        yield record(ImportedPair, {**row, "prompt": json.loads(row["prompt"]), "extra": json.loads(row["extra"])})


def sources(database: DatabaseFile) -> list[Source]:
    """The files that were imported, the newest first."""
    query = (
        "select source, persona, count(*) as pairs, created from imported_pairs group by source order by max(id) desc"
    )
    with database.open() as db:
        return [Source(**row) for row in db.query(query)]


def delete_imported(database: DatabaseFile, source: str) -> int:
    """Deletes the pairs of a file for good; returns how many there were.

    Raises:
        NotFoundError: there are none.
    """
    with database.write() as db:
        count = db.execute("delete from imported_pairs where source = ?", [source]).rowcount
    if not count:
        raise NotFoundError(f"no pairs of a file {source[:100]!r} are here; give the name of one that is listed")
    return count
