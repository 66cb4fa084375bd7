"""Adapter versions that are one rater's own: listed, and taken away for good. SQL only; the files are the caller's."""

from storage.database import DatabaseFile
from storage.records import Version
from storage.rows import version_of

# The row stays, so that no number is used twice; nothing in it tells of the rater any more.
RETIRE = (
    "delete from version_pairs where version in (select id from versions where rater = :rater and rater <> '')",
    "update versions set deleted = strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00', rater = '', metrics = '{}' "
    "where rater = :rater and rater <> ''",
)


def own_versions(database: DatabaseFile, rater: str | None = None) -> list[Version]:
    """Every version that is a rater's own, of one rater where given, newest first."""
    query = "deleted = '' and rater <> '' and (:rater is null or rater = :rater)"
    with database.open() as db:
        rows = list(db["versions"].rows_where(query, {"rater": rater}, order_by="rowid desc"))
    return [version_of(row) for row in rows]


def retire(database: DatabaseFile, versions: list[Version]) -> list[str]:
    """Takes versions away; returns those it took: one that the owner has put into use meanwhile is a rater's own no longer."""
    taken = []
    with database.write() as db:
        for version in versions:
            values = {"rater": version.rater, "id": version.id}
            if db.execute(f"{RETIRE[1]} and id = :id", values).rowcount:
                db.execute("delete from version_pairs where version = :id", values)
                taken.append(version.id)
    return taken
