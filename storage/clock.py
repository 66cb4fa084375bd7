"""The time as rows keep it: UTC, and later each time it is asked for, though the machine's clock be set back. Knows no tables.

What was deleted until some time must not take away what is made afterwards, so no two rows of a process share a time.
"""

import threading
from datetime import UTC, datetime, timedelta

TICK = timedelta(milliseconds=1)  # the finest difference that a row keeps

_lock = threading.Lock()
_last = datetime.min.replace(tzinfo=UTC)


def wall() -> datetime:
    """What the machine's clock says, in UTC."""
    return datetime.now(UTC)


def moment() -> datetime:
    """The time in UTC, later than any that this process was told before."""
    global _last
    with _lock:
        _last = max(wall(), _last + TICK)
        return _last
