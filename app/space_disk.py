"""Whether the data folder outlives a restart: a Space's own disk does not, a volume that is mounted into it does. Knows no storage."""

import os
from pathlib import Path


def is_wiped(folder: Path) -> bool:
    """Whether this is a Space (the Hub sets SPACE_ID there) and no part of the folder's path is a mounted volume."""
    if not os.environ.get("SPACE_ID"):
        return False
    place = folder.absolute()
    return not any(os.path.ismount(part) for part in (place, *place.parents[:-1]))
