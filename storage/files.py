"""Files that are whole or not there: written beside their place and moved into it. Knows neither what they hold nor who asks.

What a killed process left half written is known by the number of that process in its name.
"""

import glob
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from app.errors import StorageError

PARTIAL = re.compile(r"\.partial-(\d+)")
_being_written: set[Path] = set()


def partial_name(name: str) -> str:
    """What stands for a name while this process writes it."""
    return f".{name}.partial-{os.getpid()}"


def abandoned(folder: Path, name: str = "*") -> list[Path]:
    """What stands half written for a name, a glob pattern, by a process that is no more; also of this process's own number, which
    in a container every start has."""
    found = (path for path in sorted(folder.glob(f".{name}.partial-*")) if path not in _being_written)
    return [path for path in found if (number := PARTIAL.search(path.name)) and not _is_running(int(number[1]))]


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """An open file that stands at `path` once the block has ended well; otherwise what stood there before still does.

    What a killed process left of the same file is cleared away.

    Raises:
        StorageError: the file cannot be written.
    """
    partial = None
    try:
        for left in abandoned(path.parent, glob.escape(path.name)):
            left.unlink(missing_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{partial_name(path.name)}-", delete=False) as file:
            partial = Path(file.name)
            _being_written.add(partial)
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise StorageError(
            f"the export could not be written to {str(path)!r} ({error.strerror}); choose a folder that exists and can be written"
        ) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
            _being_written.discard(partial)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return process != os.getpid()
