"""Files that are whole or not there: written beside their place and moved into it. Knows neither what they hold nor who asks."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from app.errors import StorageError


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """An open file that stands at `path` once the block has ended well; otherwise what stood there before still does.

    Raises:
        StorageError: the file cannot be written.
    """
    partial = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            partial = Path(file.name)
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
