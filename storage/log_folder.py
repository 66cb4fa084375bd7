"""The log's files of one process on this disk: appended to, rewritten and cleared away. Knows neither events nor the Hub.

Their names are unique, so that no two processes ever write into one file, here or in the dataset.
"""

import os
import shutil
import uuid
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from storage.files import whole_file

# Bytes; the Hub keeps text files of under 10 MB in git itself, where they can be diffed and squashed.
LARGEST = 4 * 2**20


class LogFolder:
    """A folder of this process's own. What a process that was killed left behind is cleared away first.

    Args:
        root: where every process has its folder; made where it does not exist.

    Attributes:
        path: for what is downloaded; `files` is for what is uploaded.
    """

    def __init__(self, root: Path):
        root.mkdir(parents=True, exist_ok=True)
        for lock in root.glob("*.lock"):
            _clear(lock)
        self.path = root / uuid.uuid4().hex
        self._lock = FileLock(self.path.with_suffix(".lock"), thread_local=False)
        self._lock.acquire()
        self.files = self.path / "files"
        self.files.mkdir(parents=True)
        self._name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{self.path.name}"
        self._part = 0

    def append(self, lines: bytes) -> None:
        """Adds whole lines, or nothing; begins another file where one has grown large.

        Raises:
            OSError: the disk does not take them.
        """
        if self._current.exists() and self._current.stat().st_size > LARGEST:
            self._part += 1
        with self._current.open("ab") as file:
            before = file.tell()
            try:
                file.write(lines)
                file.flush()
            except OSError:
                os.truncate(file.fileno(), before)
                raise

    @property
    def _current(self) -> Path:
        return self.files / f"{self._name}-{self._part:04}.jsonl"

    def rewrite(self, name: str, lines: bytes) -> None:
        """Puts other content into a file of this process; a name of another's is passed over."""
        path = self.files / name
        if path.exists():
            with whole_file(path) as file:
                file.write(lines)

    def close(self) -> None:
        """Takes the folder away."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()
        self.path.with_suffix(".lock").unlink(missing_ok=True)


def _clear(lock: Path) -> None:
    try:
        with FileLock(lock, timeout=0):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
    except Timeout:
        pass  # its process lives
