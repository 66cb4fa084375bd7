"""The store: every read and write of rounds, votes, personas and versions. One connection an operation, one transaction a write.

It knows SQLite through sqlite-utils and the records; it does not know what a model, an adapter's weights or a page is.
"""

import json
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from app.errors import InputError, NotFoundError, StorageError
from storage.assignments import mark_done
from storage.bans import BANNED
from storage.database import DatabaseFile, now, record
from storage.migrations import migrations
from storage.records import CHOICES, AIVote, Round, SavedPersona, Version, Vote
from storage.rows import round_of, version_of, vote_of
from storage.saved_personas import PersonaTable

LONGEST_REASON = 2000
OF_PERSONA = "select id from rounds where :persona is null or persona = :persona"
COUNTED = f"from votes where round in ({OF_PERSONA}) and rater not in ({BANNED})"
# The last publication of a scope stands; one of another model's version does not end it, see `Store.published`.
IN_USE = """
    select distinct p.version, p.scope from publications p join versions v on v.id = p.version where not exists (
        select 1 from publications q left join versions w on w.id = q.version
        where q.scope = p.scope and q.id > p.id and (q.version = '' or w.model_revision = v.model_revision))
    order by p.scope
"""


class Store:
    """The database under a data folder, migrated to the newest schema when it is opened.

    Args:
        folder: the data folder; made where it does not exist.

    Raises:
        StorageError: the folder or the database cannot be read or written; the message says what to do.
    """

    def __init__(self, folder: Path):
        self.path = folder / "plumbline.db"
        self.database = DatabaseFile(self.path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"the data folder {str(folder)!r} cannot be made ({error.strerror}); set PLUMBLINE_DATA to a folder that can be written"
            ) from error
        with self.database.write() as db:
            migrations.apply(db)
        with self.database.open() as db:
            try:
                db.enable_wal()
            except sqlite3.OperationalError as error:
                # SQLite does not wait for this lock: while others use the file, a later opening changes the mode.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
            self.database.keep_open()

    # --- rounds and votes

    def add_round(self, round_: Round) -> None:
        """Stores a round with all its answers, or nothing."""
        with self.database.write() as db:
            insert_round(db, round_)

    def round(self, round_id: str) -> Round:
        """The round with its answers.

        Raises:
            NotFoundError: no such round.
        """
        with self.database.open() as db:
            rows = list(db["rounds"].rows_where("id = ?", [round_id]))
            if not rows:
                raise NotFoundError(
                    f"the round {round_id[:40]!r} does not exist; it may have been deleted: start a new comparison"
                )
            answers = list(db["answers"].rows_where("round = ?", [round_id], order_by="rowid"))
        return round_of(rows[0], answers)

    def last_prompts(self) -> list[tuple[str, str]]:
        """Id and last prompt of every round, oldest first."""
        query = "select id, json_extract(messages, '$[#-1].content') as prompt from rounds order by created, rowid"
        with self.database.open() as db:
            return [(row["id"], row["prompt"]) for row in db.query(query)]

    def vote(self, vote: Vote) -> Vote:
        """Records a vote in one transaction. The first vote of a rater on a round stands; a repeat returns it.

        Raises:
            InputError: the choice is none of the four, or the reason is too long or no text that can be stored.
            NotFoundError: no such round, or one of a study that was not handed to this rater.
        """
        if vote.choice not in CHOICES:
            raise InputError(f"the choice is {str(vote.choice)[:40]!r}; it must be one of {', '.join(CHOICES)}")
        if len(vote.reason) > LONGEST_REASON:
            raise InputError(f"the reason is {len(vote.reason)} characters long; it may have {LONGEST_REASON} at most")
        self.round(vote.round)
        with self.database.write() as db:
            db["votes"].insert({**asdict(vote), "chips": json.dumps(vote.chips), "created": now()}, ignore=True)
            row = next(db["votes"].rows_where("round = ? and rater = ?", [vote.round, vote.rater]))
            mark_done(db, vote.round, vote.rater)
        return vote_of(row)

    def undo_vote(self, round_id: str, rater: str) -> bool:
        """Takes a vote back; returns whether there was one."""
        with self.database.write() as db:
            return db.execute("delete from votes where round = ? and rater = ?", [round_id, rater]).rowcount > 0

    def votes(self, persona: str | None = None) -> list[tuple[Vote, Round]]:
        """All votes that are not of a banned rater, oldest first, each with its round; of one persona where given."""
        values = {"persona": persona}
        with self.database.open() as db, db.atomic():  # one snapshot: people vote and undo meanwhile
            votes = list(db.query(f"select * {COUNTED} order by id", values))
            rounds = {
                row["id"]: row for row in db.query(f"select * from rounds where id in (select round {COUNTED})", values)
            }
            answers: dict[str, list[dict]] = {key: [] for key in rounds}
            for row in db.query(
                f"select * from answers where round in (select round {COUNTED}) order by rowid", values
            ):
                answers[row["round"]].append(row)
        records = {key: round_of(row, answers[key]) for key, row in rounds.items()}
        return [(vote_of(row), records[row["round"]]) for row in votes]

    def count_decisive(self, persona: str | None = None) -> int:
        """How many votes prefer one of two different answers; counted by the database, see `export.decisive`."""
        query = """
            select coalesce(sum(one_first + one_second + other_first + other_second), 0) from tallies
            where :persona is null or persona = :persona
        """
        with self.database.open() as db:
            return db.execute(query, {"persona": persona}).fetchone()[0]

    def counts(self) -> dict[str, int]:
        """How many rounds, votes, personas and versions are stored."""
        with self.database.open() as db:
            counts = {name: db[name].count for name in ("rounds", "votes", "personas")}
            return {**counts, "versions": db["versions"].count_where("deleted = ''")}

    def conversations(self, persona: str | None = None, most: int = 500) -> list[list[dict[str, str]]]:
        """The different conversations of the newest rounds, newest first; of one persona where given."""
        query = f"select messages from rounds where id in ({OF_PERSONA}) group by messages order by max(rowid) desc limit :most"
        with self.database.open() as db:
            return [json.loads(row["messages"]) for row in db.query(query, {"persona": persona, "most": most})]

    # --- annotators' votes

    def add_ai_votes(self, votes: list[AIVote]) -> None:
        """Stores what an annotator chose, all of it or nothing."""
        with self.database.write() as db:
            db["ai_votes"].insert_all(
                {**asdict(vote), "created": now(), "messages": json.dumps(vote.messages)} for vote in votes
            )

    def ai_votes(self, persona: str | None = None) -> list[AIVote]:
        """All votes of annotators, oldest first; of one persona where given. `votes` never holds them."""
        with self.database.open() as db:
            rows = list(
                db["ai_votes"].rows_where(":persona is null or persona = :persona", {"persona": persona}, order_by="id")
            )
        return [record(AIVote, {**row, "messages": json.loads(row["messages"])}) for row in rows]

    # --- personas

    def save_persona(self, persona: SavedPersona) -> None:
        """As `PersonaTable.save`."""
        PersonaTable(self.database).save(persona)

    def personas(self) -> list[SavedPersona]:
        """All saved personas, oldest first; most of them are private."""
        return PersonaTable(self.database).all()

    # --- versions

    def next_version_id(self) -> str:
        """The name of the next version: one more than the highest that ever was."""
        with self.database.open() as db:
            numbers = [int(row["id"][1:]) for row in db["versions"].rows_where(select="id")]
        return f"v{max(numbers, default=0) + 1}"

    def add_version(self, version: Version, publish: bool, rounds: dict[str, bool] | None = None) -> None:
        """Stores a version and, with `publish`, makes it the one in use for its scope; both or neither.

        Args:
            rounds: the rounds that its pairs came from, and whether a round's were kept aside.
        """
        row = {**asdict(version), "created": now()}
        pairs = [{"version": version.id, "round": id_, "held_out": aside} for id_, aside in (rounds or {}).items()]
        with self.database.write() as db:
            db["versions"].insert(row | {key: json.dumps(row[key]) for key in ("settings", "metrics")})
            db["version_pairs"].insert_all(pairs)
            if publish:
                db["publications"].insert({"created": now(), "scope": version.scope, "version": version.id})

    def versions(self, rater: str = "") -> list[Version]:
        """All versions of the page and, where given, a rater's own, newest first; none that was deleted."""
        with self.database.open() as db:
            rows = list(db["versions"].rows_where("deleted = '' and rater in ('', ?)", [rater], order_by="rowid desc"))
        return [version_of(row) for row in rows]

    def version(self, version_id: str) -> Version:
        """One version.

        Raises:
            NotFoundError: no such version.
        """
        with self.database.open() as db:
            return version_of(_version_row(db, version_id))

    def rounds_of(self, version_id: str) -> dict[str, bool]:
        """The rounds that a version's pairs came from, and whether a round's were kept aside."""
        with self.database.open() as db:
            rows = list(db["version_pairs"].rows_where("version = ?", [version_id], order_by="rowid"))
        return {row["round"]: bool(row["held_out"]) for row in rows}

    def uses(self) -> dict[str, list[str]]:
        """The versions that answer somewhere, each with the scopes that chose it."""
        used: dict[str, list[str]] = {}
        with self.database.open() as db:
            for version, scope in db.execute(IN_USE).fetchall():
                used.setdefault(version, []).append(scope)
        return used

    def delete_version(self, version_id: str) -> None:
        """Marks a version as deleted; its number is not used again.

        Raises:
            NotFoundError: no such version.
            InputError: it is in use; the message says where.
        """
        with self.database.write() as db:
            _version_row(db, version_id)
            used = [
                scope or "all personas" for version, scope in db.execute(IN_USE).fetchall() if version == version_id
            ]
            if used:
                raise InputError(
                    f"the adapter version {version_id!r} is in use for {', '.join(used)[:200]}; "
                    "choose another version or the original model there first, then delete it"
                )
            db["versions"].update(version_id, {"deleted": now()})

    def deleted_versions(self) -> list[str]:
        """The ids of all versions that were deleted."""
        with self.database.open() as db:
            return [row["id"] for row in db["versions"].rows_where("deleted <> ''", select="id", order_by="rowid")]

    def publish(self, scope: str, version_id: str) -> None:
        """From now on `scope` answers with this version; "" goes back to the original model. A rater's own version becomes the page's."""
        with self.database.write() as db:
            if version_id:
                _version_row(db, version_id)  # in the same transaction: it may be deleted meanwhile
                db["versions"].update(version_id, {"rater": ""})
            db["publications"].insert({"created": now(), "scope": scope, "version": version_id})

    def published(self, scope: str, model_revision: str | None = None) -> str:
        """The version in use for a persona: its own, else the one for all; "" is the original model.

        With `model_revision`, publications of other models' versions are passed over: each model keeps its own.
        """
        query = """
            select p.version from publications p left join versions v on v.id = p.version
            where p.scope = ? and (p.version = '' or ? is null or v.model_revision = ?) order by p.id desc limit 1
        """
        with self.database.open() as db:
            for candidate in dict.fromkeys((scope, "")):
                if row := db.execute(query, [candidate, model_revision, model_revision]).fetchone():
                    return row[0]
        return ""


def insert_round(db: Database, round_: Round) -> None:
    """Inserts a round and its answers, within somebody else's transaction."""
    row = {**asdict(round_), "created": now()}
    answers = row.pop("answers")
    db["rounds"].insert(row | {key: json.dumps(row[key]) for key in ("principles", "messages", "settings")})
    db["answers"].insert_all(
        {**a, "round": round_.id, "token_ids": json.dumps(a["token_ids"])} for a in answers.values()
    )


def _version_row(db: Database, version_id: str) -> dict[str, Any]:
    rows = list(db["versions"].rows_where("id = ?", [version_id]))
    if not rows or rows[0]["deleted"]:
        fault = "was deleted" if rows else "does not exist"
        raise NotFoundError(
            f"the adapter version {version_id[:40]!r} {fault}; give one that is listed, or 'none' for the original model"
        )
    return rows[0]
