"""The append-only log as text: one event a line, which of many lines stands, and which must go. Knows no database and no Hub.

An event says what a row was at a time, or that it was gone; so an event may be read twice, and the latest of a key stands.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

Key = tuple[str | int, ...]
VERSION = 1
# How many parts a key has. In the order in which rows can be put: each refers to those before it only.
KINDS = {
    "studies": 1,  # id
    "study_items": 2,  # study, position
    "raters": 1,  # id
    "bans": 1,  # rater
    "personas": 1,  # id
    "rounds": 1,  # id
    "votes": 2,  # round, rater
    "assignments": 4,  # study, position, rater, repeat
    "tombstones": 3,  # kind, key, created
}
# What a tombstone's kind takes away; the parts of its key are parted by a space.
BURIED = {"vote": "votes", "round": "rounds", "rater": "raters", "persona": "personas"}


@dataclass(frozen=True)
class Event:
    """What a row was at a time (UTC, as the tables keep it); `row` is None where it was gone."""

    kind: str
    key: Key
    at: str
    row: dict[str, Any] | None

    def line(self) -> bytes:
        """The event as one line of JSON, with its end."""
        fields = {"plumbline": VERSION, "kind": self.kind, "key": self.key, "at": self.at, "row": self.row}
        return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def parse(line: bytes) -> Event | None:
    """The event of a line; None for one of a kind or version that this program does not know.

    Raises:
        ValueError: the line holds no event.
    """
    fields = json.loads(line)
    if not isinstance(fields, dict) or not isinstance(fields.get("plumbline"), int):
        raise ValueError("not a line of Plumbline's log")
    if fields["plumbline"] != VERSION or fields.get("kind") not in KINDS:
        return None
    kind, key, at, row = (fields.get(name) for name in ("kind", "key", "at", "row"))
    if not isinstance(key, list) or len(key) != KINDS[kind] or not all(isinstance(part, str | int) for part in key):
        raise ValueError(f"{key!r} is no key of {kind}")
    if not isinstance(at, str) or not (row is None or isinstance(row, dict)) or "row" not in fields:
        raise ValueError("an event needs the time at which a row was what")
    return Event(kind, tuple(key), at, row)


class Tombstones:
    """What was deleted for good: what was made until then must not come back, whatever a log says."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, Key], str] = {}

    def add(self, kind: str, key: str, created: str) -> None:
        """Takes a tombstone as its table keeps it; one of an unknown kind takes nothing away."""
        if kind in BURIED:
            place = BURIED[kind], tuple(key.split(" "))
            self._times[place] = max(created, self._times.get(place, ""))

    def cover(self, kind: str, key: Key, created: str) -> bool:
        """Whether a row that was made at a time was deleted later. A round, whose id is never used again, goes with its votes."""
        if kind in ("rounds", "votes") and ("rounds", key[:1]) in self._times:
            return True
        until = self._times.get((kind, key))
        return until is not None and created <= until

    def merge(self, others: "Tombstones") -> None:
        """Takes in what is known of elsewhere."""
        for kind, key, until in others:
            self._times[kind, key] = max(until, self._times.get((kind, key), ""))

    def named_in(self, line: bytes) -> bool:
        """Whether a line that cannot be read names something that was deleted."""
        return any(all(str(part).encode() in line for part in key) for _, key in self._times)

    def __iter__(self) -> Iterator[tuple[str, Key, str]]:
        """Every kind and key with the time until which rows of it are gone."""
        return ((kind, key, time) for (kind, key), time in self._times.items())


@dataclass(frozen=True)
class Place:
    """Where the line that stands for a key is; `created` is its row's."""

    at: str
    file: int
    offset: int
    created: str
    is_put: bool


@dataclass
class Log:
    """The lines of several files, weighed against each other; only their places are kept in memory.

    Args:
        files: in any order.

    Attributes:
        standing: by kind, the place of the latest line of every key; of equal times the last that was read.
        tombstones: of all files.
        unreadable: how many lines hold no event.
    """

    files: list[Path]
    standing: dict[str, dict[Key, Place]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    tombstones: Tombstones = field(default_factory=Tombstones)
    unreadable: int = 0
    _overtaken: list[tuple[str, Key, Place]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for number, path in enumerate(self.files):
            for offset, line in _lines(path):
                try:
                    event = parse(line)
                except ValueError:  # also what is no UTF-8
                    self.unreadable += 1
                    continue
                if event is not None:
                    self._weigh(event, number, offset)

    def _weigh(self, event: Event, number: int, offset: int) -> None:
        if event.kind == "tombstones":
            self.tombstones.add(*map(str, event.key))
        created = str((event.row or {}).get("created") or "")
        place = Place(event.at, number, offset, created, event.row is not None)
        other = self.standing[event.kind].get(event.key)
        later, earlier = (other, place) if other is not None and other.at > event.at else (place, other)
        self.standing[event.kind][event.key] = later
        if earlier is not None:
            self._overtaken.append((event.kind, event.key, earlier))

    def covers(self, kind: str, key: Key, place: Place) -> bool:
        """Whether the row that a line holds was deleted for good."""
        return place.is_put and self.tombstones.cover(kind, key, place.created)

    def dead(self) -> int:
        """How many lines hold what was deleted for good; also such as were overtaken."""
        lines = [(kind, key, place) for kind, places in self.standing.items() for key, place in places.items()]
        return sum(self.covers(*line) for line in lines + self._overtaken)

    def events(self, kind: str) -> Iterator[Event]:
        """The events of a kind that stand and are not deleted, the oldest first."""
        living = (place for key, place in self.standing[kind].items() if not self.covers(kind, key, place))
        ordered = sorted(living, key=lambda place: (place.at, place.file, place.offset))
        for number, places in groupby(ordered, key=lambda place: place.file):
            with self.files[number].open("rb") as file:
                for place in places:
                    file.seek(place.offset)
                    yield parse(file.readline())

    def kept(self, number: int) -> Iterator[bytes]:
        """The lines of a file that are to stay: those that stand, and those that this program does not understand.

        What was overtaken goes, since a text may have been taken out of its row; and so does what was deleted.
        """
        for offset, line in _lines(self.files[number]):
            try:
                event = parse(line)
            except ValueError:
                if not self.tombstones.named_in(line):
                    yield line
                continue
            if event is None:
                yield line
                continue
            place = self.standing[event.kind][event.key]
            if (place.file, place.offset) == (number, offset) and not self.covers(event.kind, event.key, place):
                yield line


def _lines(path: Path) -> Iterable[tuple[int, bytes]]:
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield offset, line
            offset += len(line)
