"""A file of JSON lines that a killed process leaves whole: a line is kept once it has ended, and what was cut short is done again.

It knows files; it knows nothing of what the lines say.
"""

import json
import os
from pathlib import Path
from typing import Any

from app.errors import InputError


class Journal:
    """One piece of work a line, by a key.

    Args:
        path: the file; its last line is cut off where it did not end.

    Raises:
        InputError: a line in the middle is no JSON object with a key.
    """

    def __init__(self, path: Path):
        self._path = path
        self.done: dict[str, Any] = {}
        written = path.read_bytes() if path.exists() else b""
        whole = written.rfind(b"\n") + 1
        if whole < len(written):
            os.truncate(path, whole)
        for number, line in enumerate(written[:whole].splitlines(), start=1):
            try:
                entry = json.loads(line)
                self.done[entry["key"]] = entry["value"]
            except (ValueError, TypeError, KeyError) as error:
                raise InputError(
                    f"line {number} of {str(path)!r} is none of an evaluation ({error}); choose another folder"
                ) from error

    def add(self, key: str, value: Any) -> None:
        """Keeps one piece of work; it is on its way to the disk when this returns."""
        line = json.dumps({"key": key, "value": value}, ensure_ascii=False) + "\n"
        with self._path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self.done[key] = value
