"""What was put into use before: the history of publications of one scope. SQL only."""

from storage.database import DatabaseFile

HISTORY = """
    select p.version from publications p left join versions v on v.id = p.version
    where p.scope = :scope and (p.version = '' or v.model_revision = :model) order by p.id desc
"""


def history(database: DatabaseFile, scope: str, model_revision: str) -> list[str]:
    """The versions that were chosen for a scope, newest first; "" is the original model. Other models' are passed over."""
    with database.open() as db:
        return [row[0] for row in db.execute(HISTORY, {"scope": scope, "model": model_revision}).fetchall()]
