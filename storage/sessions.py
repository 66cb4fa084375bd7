"""When a rater labelled during one visit and how long each label took. SQL over votes; it does not know what a pace or a break is."""

from storage.database import DatabaseFile


def labels_of_session(database: DatabaseFile, rater: str, session: str) -> list[tuple[str, float | None]]:
    """Time (UTC, ISO) and seconds taken, where known, of every vote of a rater in one session, oldest first."""
    query = "select created, dwell_seconds from votes where rater = ? and session = ? order by id"
    with database.open() as db:
        return [tuple(row) for row in db.execute(query, [rater, session]).fetchall()]
