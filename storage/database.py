"""One database file: a connection an operation, one transaction a write, and errors that say what to do.

It knows SQLite through sqlite-utils; it does not know which tables there are or what they mean.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from app.errors import InputError, StorageError
from storage.clock import moment

BUSY_SECONDS = 10.0


class DatabaseFile:
    """The database under a path. Connections are opened per operation: handlers run on many threads, and a sqlite3 connection belongs to one.

    Args:
        path: the file; its folder exists.
    """

    def __init__(self, path: Path):
        self.path = path
        self._writing = threading.Lock()
        self._kept: sqlite3.Connection | None = None

    def keep_open(self) -> None:
        """Holds the file open from now on, without any lock: whoever closes it as the last one writes its whole log back, ten times what a vote costs."""
        self._kept = sqlite3.connect(self.path, check_same_thread=False)
        # A connection that never read holds nothing.
        self._kept.execute("select count(*) from sqlite_master").fetchall()

    @contextmanager
    def write(self) -> Iterator[Database]:
        """A transaction that takes the write lock before it reads: SQLite lets it wait, whereas a reader that turns writer is refused."""
        # Threads of this process wait in line; SQLite itself would let them sleep and try again, for up to a second.
        with self._writing, self.open() as db:
            db.execute("begin immediate")
            yield db
            db.commit()  # after an exception closing the connection rolls back

    @contextmanager
    def open(self) -> Iterator[Database]:
        """A connection to read with, closed at the end of the block.

        Raises:
            StorageError: the file cannot be used. InputError: a text that was sent cannot be stored.
        """
        try:
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS)
            db = Database(connection)
            try:
                connection.execute("pragma foreign_keys = on")
                # What a person takes back is not left lying in the file.
                connection.execute("pragma secure_delete = on")
                # What was committed outlives the process, however it ends; only a power failure may take the last moments, and a
                # vote does not wait for the disk. The log is written back every few hundred votes: who commits then has to wait.
                connection.execute("pragma synchronous = normal")
                connection.execute("pragma wal_autocheckpoint = 4000")
                yield db
            finally:
                connection.close()
        except UnicodeEncodeError as error:
            raise InputError(
                f"the text holds {error.object[error.start]!r}, half of a character; please send whole characters"
            ) from error
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            raise StorageError(
                f"the database {str(self.path)!r} could not be used: {error}. Nothing was changed; check that the folder can be "
                "written, that the disk has room and that the file is a Plumbline database"
            ) from error


def now() -> str:
    """The time in UTC, as every table keeps it; see `clock.moment`."""
    return moment().isoformat(timespec="milliseconds")


def record(kind: type, row: dict[str, Any]) -> Any:
    """A dataclass from the columns of a row that it names."""
    return kind(**{name: row[name] for name in kind.__dataclass_fields__})
