"""Full-text search over prompts, answers and reasons, by SQLite's FTS5. Knows words, not meanings; see `app.rounds` for those."""

from dataclasses import dataclass

from app.errors import InputError
from storage.database import DatabaseFile

LONGEST_SEARCH = 500
HITS = "select rowid from texts_fts where texts_fts match :words"
QUERY = """
    select t.round, t.part, t.key, snippet(texts_fts, 0, '', '', ' … ', 24) as passage
    from texts_fts join texts t on t.id = texts_fts.rowid
    where texts_fts match :words order by texts_fts.rank, t.id desc limit :most
"""


@dataclass(frozen=True)
class Hit:
    """A place where the words stand: the round, the part of it ("prompt", "answer", "reason" or "edited") and the passage.

    key: of an answer its arm, of a reason or an edited answer the rater, of a prompt the number of the message.
    """

    round: str
    part: str
    key: str
    passage: str


def as_phrases(text: str) -> str:
    """A person's words as an FTS5 query: each has to be there, and no sign in them is an operator.

    Raises:
        InputError: nothing to search for, or too much.
    """
    if len(text) > LONGEST_SEARCH:
        raise InputError(f"the search has {len(text)} characters; it may have {LONGEST_SEARCH} at most")
    # Without letters and digits a phrase is empty, and finds nothing at all.
    words = [word.replace("\0", "") for word in text.split() if any(map(str.isalnum, word))]
    if not words:
        raise InputError(f"the search is {text[:40]!r}; it must hold at least one word or number")
    return " ".join('"' + word.replace('"', '""') + '"' for word in words)


def search(database: DatabaseFile, text: str, most: int = 50) -> list[Hit]:
    """Where all the words of a text stand together, the best match first; without regard to case and accents.

    Raises:
        InputError: as `as_phrases`.
    """
    with database.open() as db:
        return [Hit(**row) for row in db.query(QUERY, {"words": as_phrases(text), "most": most})]
