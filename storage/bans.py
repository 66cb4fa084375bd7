"""Raters whose votes do not count any more, and what is known of everybody who voted. SQL only; it does not know who may ban."""

from dataclasses import dataclass

from app.errors import NotAllowedError
from storage.database import DatabaseFile, now

BANNED = "select rater from bans"
VOTERS = """
    select v.rater, coalesce(r.name, '') as name, count(*) as votes, max(v.created) as last, b.rater is not null as banned,
        coalesce(b.reason, '') as reason
    from votes v left join raters r on r.id = v.rater left join bans b on b.rater = v.rater
    group by v.rater
    union all
    select b.rater, '', 0, b.created, 1, b.reason from bans b where b.rater not in (select rater from votes)
    order by votes desc, 1 limit :most
"""
KNOWN = """
    select rater from votes where substr(rater, 1, length(:start)) = :start
    union select id from raters where substr(id, 1, length(:start)) = :start
    union select rater from rounds where substr(rater, 1, length(:start)) = :start
    union select rater from bans where substr(rater, 1, length(:start)) = :start
    limit 3
"""


@dataclass(frozen=True)
class Voter:
    """Somebody who voted. `rater` is the digest of their secret, `name` what they call themselves; `reason` is why they are banned."""

    rater: str
    name: str
    votes: int
    last: str
    banned: bool
    reason: str


class BanTable:
    """Reads and writes bans.

    Args:
        database: migrated, see `Store.database`.
    """

    def __init__(self, database: DatabaseFile):
        self._database = database

    def refuse(self, rater: str) -> None:
        """Raises NotAllowedError where a rater is banned; the message is for them."""
        with self._database.open() as db:
            row = next(db["bans"].rows_where("rater = ?", [rater]), None)
        if row:
            why = f": {row['reason']}" if row["reason"] else ""
            raise NotAllowedError(
                f"the owner of this page no longer takes choices from you{why}. What you chose stays yours to see and to delete; "
                "if this is a mistake, please ask the owner"
            )

    def known(self, start: str) -> list[str]:
        """Raters whose digest begins so; three at most."""
        with self._database.open() as db:
            return [row[0] for row in db.execute(KNOWN, {"start": start}).fetchall()]

    def ban(self, rater: str, reason: str) -> None:
        """From now on a rater's votes count nowhere. Of a second ban the reason is the new one."""
        with self._database.write() as db:
            db["bans"].insert({"rater": rater, "created": now(), "reason": reason}, ignore=True)
            db["bans"].update(rater, {"reason": reason})

    def lift(self, rater: str) -> bool:
        """Their votes count again, those of before among them; returns whether they were banned."""
        with self._database.write() as db:
            return db.execute("delete from bans where rater = ?", [rater]).rowcount > 0

    def voters(self, most: int) -> list[Voter]:
        """Everybody who voted or is banned, whoever voted most first."""
        with self._database.open() as db:
            return [Voter(**{**row, "banned": bool(row["banned"])}) for row in db.query(VOTERS, {"most": most})]
