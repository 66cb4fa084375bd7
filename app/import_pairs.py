"""The use case *bring labels*: preference files that were collected elsewhere, kept to learn from. Whole, or with the bad rows named.

Files and storage meet here; it knows no SQL, no model and no page. What is brought decides what is learnt: it is the owner's to bring.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.errors import InputError
from app.refresh.pair_files import read_lines, told
from storage.imported import ImportedPair, Source, add_imported, delete_imported, sources
from storage.store import Store

FAULTS_TOLD = 20
LONGEST_NAME = 200


@dataclass(frozen=True)
class ImportReport:
    """What an import did. `skipped` are sentences with the line of each row that was left out, `FAULTS_TOLD` at most; `bad` counts all."""

    source: str
    pairs: int
    bad: int
    skipped: tuple[str, ...]


class ImportPairs:
    """Imports files of pairs, lists and deletes them.

    Args:
        store: where they are kept.
        authorise: raises NotAllowedError where a token is not the owner's.
    """

    def __init__(self, store: Store, authorise: Callable[[str], None]):
        self._store, self._authorise = store, authorise

    def add(self, path: Path, persona: str = "", token: str = "", skip_bad: bool = False) -> ImportReport:
        """Keeps the pairs of a file in TRL's preference format, JSON lines or Parquet; all of them or none.

        Args:
            path: the file; its name is the pairs' source.
            persona: whom they are for; empty for all.
            token: the owner's, where one is set.
            skip_bad: leave out rows that hold no pair, in place of refusing the file.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            NotFoundError: there is no such file.
            InputError: a row holds no pair (with its line), none does, the file is too large, or its name is taken.
        """
        self._authorise(token)
        source = path.name
        if len(source) > LONGEST_NAME:
            raise InputError(f"the file's name has {len(source)} characters; it may have {LONGEST_NAME} at most")
        pairs, faults, bad = [], [], 0
        for line in read_lines(path):
            if line.pair is not None:
                pair = line.pair
                pairs.append(
                    ImportedPair(source, line.number, persona, pair.messages, pair.chosen, pair.rejected, line.extra)
                )
                continue
            bad += 1
            if bad <= FAULTS_TOLD:
                faults.append(told(source, line))
        if bad and not skip_bad:
            raise InputError(
                f"nothing was imported: {bad} of {bad + len(pairs)} rows of {source!r} hold no pair. {'. '.join(faults[:3])}. "
                "Mend them, or ask for bad rows to be left out"
            )
        if not pairs:
            raise InputError(f"the pairs file {source!r} holds no pairs; {'. '.join(faults[:3]) or 'it is empty'}")
        add_imported(self._store.database, pairs)
        return ImportReport(source, len(pairs), bad, tuple(faults))

    def sources(self, token: str = "") -> list[Source]:
        """The files that were imported, the newest first.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
        """
        self._authorise(token)
        return sources(self._store.database)

    def delete(self, source: str, token: str = "") -> int:
        """Deletes the pairs of a file for good; returns how many there were.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            NotFoundError: there are none.
        """
        self._authorise(token)
        return delete_imported(self._store.database, source)
