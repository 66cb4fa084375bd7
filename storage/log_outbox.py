"""What has changed and is not yet in the dataset: written by triggers in the transaction of the change itself.

So nothing that was acknowledged can be missed, however the process ends. It knows the database; no files and no Hub.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlite_utils import Database

from storage.database import DatabaseFile, now
from storage.log import KINDS, Event, Log
from storage.log_rows import TABLES, bury, put, row_of, tombstones_of

NOW = "strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00'"  # as `now` writes it
AT_ONCE = 500
# Rows of these kinds hold a person's words or name, or what was said of them, and are deleted because somebody wants them gone.
PERSONAL = ("rounds", "raters", "bans", "personas")


@dataclass(frozen=True)
class SyncState:
    """How far the sync has come; of an empty dataset: it is off. `waiting` counts changes that are not yet in the dataset."""

    dataset: str = ""
    last_synced: str = ""
    fault: str = ""
    unreadable: int = 0
    compact: bool = False
    waiting: int = 0

    def described(self) -> dict[str, Any]:
        """For the API and the command line."""
        names = ("dataset", "last_synced", "waiting", "fault", "unreadable")
        return {"on": bool(self.dataset), **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True)
class Batch:
    """Some changes as events; `last` is the number of the last one, to go on after it."""

    events: list[Event]
    last: int

    @property
    def deletes(self) -> bool:
        """Whether something was deleted that must not stand in the dataset any more."""
        return any(e.kind == "tombstones" or (e.row is None and e.kind in PERSONAL) for e in self.events)


class Outbox:
    """Changes on their way to a dataset, and what came from there.

    Args:
        database: with the newest schema.
    """

    def __init__(self, database: DatabaseFile):
        self._database = database

    # --- on and off

    def turn_on(self, dataset: str) -> None:
        """From now on every change is noted; all rows that there are, too, for a dataset that is new here, and of kinds that were not noted
        before.
        """
        with self._database.write() as db:
            known = next(db["sync"].rows, None)
            noted = {trigger.name for trigger in db.triggers}
            if is_new := known is None or known["dataset"] != dataset:
                db["sync"].upsert(
                    {"id": 1, "dataset": dataset, "last_synced": "", "fault": "", "unreadable": 0}, pk="id"
                )
                db.execute("delete from outbox")
            _drop_triggers(db)
            for kind in KINDS:
                _make_triggers(db, kind)
                if is_new or f"outbox_{kind}_insert" not in noted:
                    db.execute(
                        f"insert into outbox (at, kind, key) select {NOW}, '{kind}', {_key(kind, 't')} from {kind} t"
                    )

    def turn_off(self) -> None:
        """No change is noted any more, and none waits."""
        with self._database.write() as db:
            _drop_triggers(db)
            db.execute("delete from outbox")
            db.execute("delete from sync")

    def state(self) -> SyncState:
        """How far the sync has come, as every process of this data folder sees it."""
        with self._database.open() as db:
            row = next(db["sync"].rows, None)
            if row is None:
                return SyncState()
            del row["id"]
            return SyncState(**{**row, "compact": bool(row["compact"])}, waiting=db["outbox"].count)

    # --- to the dataset

    def batches(self, after: int) -> Iterator[Batch]:
        """All changes after a number, in portions; of several changes of a row only what it is now."""
        while (batch := self._batch(after)) is not None:
            yield batch
            after = batch.last

    def _batch(self, after: int) -> Batch | None:
        query = """
            select max(id) as id, max(at) as at, kind, key
            from (select * from outbox where id > ? order by id limit ?) group by kind, key order by 1
        """
        with self._database.open() as db, db.atomic():  # one snapshot: people vote meanwhile
            rows = list(db.query(query, [after, AT_ONCE]))
            if not rows:
                return None
            keys = [tuple(json.loads(row["key"])) for row in rows]
            events = [
                Event(row["kind"], key, row["at"], row_of(db, row["kind"], key))
                for row, key in zip(rows, keys, strict=True)
            ]
        return Batch(events, rows[-1]["id"])

    def sent(self, upto: int, deletes: bool) -> None:
        """The dataset holds all changes up to a number; whether things were deleted with them is remembered."""
        with self._database.write() as db:
            db.execute("delete from outbox where id <= ?", [upto])
            db.execute("update sync set compact = max(compact, ?)", [int(deletes)])

    def compacted(self) -> None:
        """Nothing that was deleted stands in the dataset any more."""
        with self._database.write() as db:
            db.execute("update sync set compact = 0")

    def succeeded(self) -> None:
        """The dataset was reached just now."""
        with self._database.write() as db:
            db.execute("update sync set last_synced = ?, fault = ''", [now()])

    def failed(self, fault: str) -> None:
        """The dataset was not reached, and why."""
        with self._database.write() as db:
            db.execute("update sync set fault = ?", [fault])

    # --- from the dataset

    def replay(self, log: Log) -> int:
        """Brings in what the log knows and this database does not; what changed here since then stands.

        What comes in is not noted as a change. May be done again at any time.

        Returns:
            How many lines were left out: they hold no event, or their row is broken or refers to one that is not there.
        """
        with self._database.open() as db:
            log.tombstones.merge(tombstones_of(db))
        left_out = log.unreadable
        for kind in KINDS:
            events = log.events(kind)
            while portion := list(islice(events, AT_ONCE)):
                left_out += self._bring_in(portion)
        with self._database.write() as db:
            # A page of the file that is freed is overwritten, so that deleted words do not stay on the disk.
            db.execute("pragma secure_delete = on")
            before = _last_number(db)
            bury(db, log.tombstones)
            db.execute("delete from outbox where id > ?", [before])
            db.execute("update sync set unreadable = ?, compact = max(compact, ?)", [left_out, int(log.dead() > 0)])
        return left_out

    def _bring_in(self, events: list[Event]) -> int:
        with self._database.write() as db:
            before = _last_number(db)
            done = [put(db, event) for event in events if not _changed_since(db, event)]
            db.execute("delete from outbox where id > ?", [before])  # only this transaction can have added them
        return done.count(False)


def _changed_since(db: Database, event: Event) -> bool:
    parts = ", ".join("?" * len(event.key))
    query = f"select 1 from outbox where kind = ? and key = json_array({parts}) and at >= ?"
    return db.execute(query, [event.kind, *event.key, event.at]).fetchone() is not None


def _last_number(db: Database) -> int:
    row = db.execute("select seq from sqlite_sequence where name = 'outbox'").fetchone()
    return row[0] if row else 0


def _key(kind: str, row: str) -> str:
    return f"json_array({', '.join(TABLES[kind].key).format(row=row)})"


def _make_triggers(db: Database, kind: str) -> None:
    told = [f"[{column.name}]" for column in db[kind].columns if column.name not in TABLES[kind].own]
    old, new = (", ".join(f"{row}.{column}" for column in told) for row in ("old", "new"))
    # Other triggers write what means nothing elsewhere, or a row as it is (a ban does, to count votes anew); that is no change.
    changed = f"when ({old}) is not ({new})"
    for event, row, when in (("insert", "new", ""), ("update", "new", changed), ("delete", "old", "")):
        db.execute(
            f"create trigger outbox_{kind}_{event} after {event} on {kind} {when} begin "
            f"insert into outbox (at, kind, key) values ({NOW}, '{kind}', {_key(kind, row)}); end"
        )


def _drop_triggers(db: Database) -> None:
    for kind in KINDS:
        for event in ("insert", "update", "delete"):
            db.execute(f"drop trigger if exists outbox_{kind}_{event}")
