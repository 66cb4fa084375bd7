"""The last lines of the server's own log, kept in memory for the owner; what the settings keep secret is blacked out.

It knows Python's logging; no page and no file.
"""

import logging
from collections import deque

LINES = 200
LONGEST_LINE = 500
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LogTail(logging.Handler):
    """A handler that remembers its last lines.

    Args:
        secrets: texts that never appear in a line, such as tokens; empty ones are passed over.
    """

    def __init__(self, secrets: list[str]):
        super().__init__()
        self.setFormatter(logging.Formatter(FORMAT))
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)
        self._lines: deque[str] = deque(maxlen=LINES)

    def start(self) -> None:
        """From now on the log is remembered, the owner's actions among it; it goes on to standard error as well."""
        logging.basicConfig(format=FORMAT)  # a root with a handler no longer falls back to standard error by itself
        if self not in logging.getLogger().handlers:
            logging.getLogger().addHandler(self)
        for part in ("app", "storage"):
            logging.getLogger(part).setLevel(logging.INFO)

    def stop(self) -> None:
        """From now on nothing is remembered."""
        logging.getLogger().removeHandler(self)

    def lines(self) -> list[str]:
        """The newest lines, oldest first."""
        return list(self._lines)

    def emit(self, record: logging.LogRecord) -> None:
        """Remembers a record as lines."""
        text = self.format(record)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        self._lines.extend(line[:LONGEST_LINE] for line in text.splitlines())
