"""What one rater asked and chose, newest first: queries over the store's database. Knows no page and no rule of who may see what."""

from dataclasses import dataclass

from storage.database import DatabaseFile, record

OF_RATER = """
    select r.id, r.created, json_extract(r.messages, '$[#-1].content') as prompt, r.persona, r.blind, coalesce(v.choice, '') as choice
    from rounds r left join votes v on v.round = r.id and v.rater = r.rater
    where r.rater = :rater and r.item is null order by r.rowid desc limit :most
"""


@dataclass(frozen=True)
class Past:
    """One round of a rater's own. `choice` is empty where they have not voted."""

    id: str
    created: str
    prompt: str
    persona: str
    blind: bool
    choice: str


def rounds_of(database: DatabaseFile, rater: str, most: int) -> list[Past]:
    """The newest rounds that a rater asked for, but for those of a study; at most so many."""
    with database.open() as db:
        rows = list(db.query(OF_RATER, {"rater": rater, "most": most}))
    return [record(Past, {**row, "blind": bool(row["blind"])}) for row in rows]


def choice_of(database: DatabaseFile, round_id: str, rater: str) -> str:
    """What a rater chose on a round; empty where they have not."""
    with database.open() as db:
        return next((row["choice"] for row in db["votes"].rows_where("round = ? and rater = ?", [round_id, rater])), "")


def is_voted(database: DatabaseFile, round_id: str) -> bool:
    """Whether anybody has voted on a round."""
    with database.open() as db:
        return db["votes"].count_where("round = ?", [round_id]) > 0
