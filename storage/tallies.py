"""How many votes prefer what: every count is SQLite's, over the tables that triggers keep. Knows no statistics.

People's votes only, on two answers that are whole and different. An entity is an arm with the adapter version that it answered
with, such as `linear_aligned` or `baseline @ v3`.
"""

from dataclasses import dataclass
from typing import Literal

from app.errors import NotFoundError
from storage.database import DatabaseFile
from storage.tally_triggers import OUTCOMES

Part = Literal["all", "persona", "study", "day", "week", "rater"]
PARTS: dict[Part, str] = {
    "all": "''",
    "persona": "persona",
    "study": "study",
    "day": "day",
    "week": "coalesce(date(day, 'weekday 0', '-6 days'), day)",  # its Monday
    "rater": "rater",
}
SELECTED = (
    "(:persona is null or persona = :persona) and (:study is null or study = :study) and (blind or not :blind_only)"
)


def entity(arm: str, adapter: str) -> str:
    """What an arm is called with the version that answers, as the triggers write it; the arm alone for the original model."""
    return f"{arm} @ {adapter}" if adapter else arm


@dataclass(frozen=True)
class Selection:
    """Which votes are meant. None is any; `study` is an id, and `persona` "" is a principle written on the spot."""

    persona: str | None = None
    study: str | None = None
    blind_only: bool = False

    @property
    def values(self) -> dict[str, str | bool | None]:
        """As `SELECTED` binds them."""
        return {"persona": self.persona, "study": self.study, "blind_only": self.blind_only}


@dataclass(frozen=True)
class Tally:
    """Votes between two entities, by what was chosen and where it stood, in one part (a persona, a week, ...) of all.

    one_first: `one` was preferred and stood first; the three others likewise.
    """

    part: str
    one: str
    other: str
    one_first: int
    one_second: int
    other_first: int
    other_second: int
    ties: int
    both_bad: int

    @property
    def wins(self) -> int:
        """Votes that prefer `one`."""
        return self.one_first + self.one_second

    @property
    def losses(self) -> int:
        """Votes that prefer `other`."""
        return self.other_first + self.other_second

    @property
    def decisive(self) -> int:
        """Votes that prefer one of both."""
        return self.wins + self.losses

    @property
    def preferred_first(self) -> int:
        """Decisive votes for what stood first."""
        return self.one_first + self.other_first

    @property
    def votes(self) -> int:
        """All votes, those among them that find both answers bad."""
        return self.decisive + self.ties + self.both_bad

    def turned(self) -> "Tally":
        """The same from the other's point of view."""
        return Tally(
            self.part, self.other, self.one, self.other_first, self.other_second, self.one_first, self.one_second,
            self.ties, self.both_bad,
        )  # fmt: skip


def tallies(database: DatabaseFile, selection: Selection, by: Part = "all") -> list[Tally]:
    """The counts between every two entities that met, a row a part; `one` is the name that sorts first."""
    table = "rater_tallies" if by == "rater" else "tallies"
    query = f"""
        select {PARTS[by]} as part, one, other, {", ".join(f"sum({name}) as {name}" for name in OUTCOMES)}
        from {table} where {SELECTED} group by 1, 2, 3 order by 1, 2, 3
    """
    with database.open() as db:
        return [Tally(**row) for row in db.query(query, selection.values)]


def days(database: DatabaseFile, selection: Selection) -> int:
    """From the first day with a vote to the last, both counted; 0 without any."""
    query = f"select coalesce(julianday(max(day)) - julianday(min(day)) + 1, 0) from tallies where {SELECTED}"
    with database.open() as db:
        return int(db.execute(query, selection.values).fetchone()[0])


def newest_vote(database: DatabaseFile) -> int:
    """The number of the vote that was cast last, of any selection; 0 without any."""
    with database.open() as db:
        return db.execute("select coalesce(max(id), 0) from votes").fetchone()[0]


def personas(database: DatabaseFile) -> list[str]:
    """The personas that were voted on."""
    with database.open() as db:
        return [row[0] for row in db.execute("select distinct persona from tallies order by 1").fetchall()]


def studies(database: DatabaseFile) -> dict[str, str]:
    """Id -> name of every study, oldest first."""
    with database.open() as db:
        return {row["id"]: row["name"] for row in db["studies"].rows_where(order_by="created, rowid")}


def study_id(database: DatabaseFile, study: str) -> str:
    """The id of a study, from its name or id.

    Raises:
        NotFoundError: no such study; the message names those that are.
    """
    known = studies(database)
    found = [id_ for id_, name in known.items() if study in (id_, name)]
    if not found:
        names = ", ".join(known.values())[:300] or "none yet"
        raise NotFoundError(f"the study {study[:60]!r} does not exist; there are {names}")
    return found[0]


def rater_names(database: DatabaseFile) -> dict[str, str]:
    """What raters call themselves, by id; for the owner's eyes."""
    with database.open() as db:
        return {row["id"]: row["name"] for row in db["raters"].rows_where("name <> ''")}
