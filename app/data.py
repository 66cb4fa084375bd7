"""The use case *take the data along*: votes to files for training and study, with a card; and looking through what was collected.

Here storage and the wording of prompts meet; it knows no SQL, no model and no page.
"""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.data_card import Tally, card
from app.errors import InputError, StorageError
from app.prompts import Message, chat
from storage.browse import Opened, Page, Wanted, opened, page
from storage.export import (
    ai_preference_rows,
    beside_annotators,
    demonstration_rows,
    preference_rows,
    unpaired_rows,
    vote_rows,
)
from storage.export_columns import columns_of
from storage.export_files import write_rows
from storage.files import whole_file
from storage.store import Store
from storage.tallies import study_id
from storage.voted import study_names, voted

ROWS = {
    "preference": preference_rows,
    "unpaired": unpaired_rows,
    "demonstrations": demonstration_rows,
    "votes": vote_rows,
}


class ExportRequest(BaseModel):
    """What to export, and as what.

    with_principle: the principle stands in the prompt, as the prompted arm saw it.
    persona, study: only these, the persona by id, the study by name or id; empty for all.
    with_ai_votes: judges' choices, too; they are preferences and belong to no study.
    license: an identifier of the Hugging Face hub's, for the card.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["preference", "unpaired", "demonstrations", "votes"] = "preference"
    file_type: Literal["jsonl", "parquet", "csv"] = "jsonl"
    with_principle: bool = False
    persona: str = ""
    study: str = ""
    with_ai_votes: bool = False
    license: str = Field("unknown", pattern=r"^[a-z0-9][a-z0-9.+-]{0,59}$")

    @property
    def file_name(self) -> str:
        """What the data file is called beside its card."""
        return f"{self.format}.{self.file_type}"


class Data:
    """Exports, and looks through, what was collected. It holds other people's words: whoever asks has to be the owner.

    Args:
        store: rounds and votes.
        authorise: raises NotAllowedError where a token is not the owner's.
    """

    def __init__(self, store: Store, authorise: Callable[[str], None]):
        self._store, self._authorise = store, authorise

    def export_file(self, request: ExportRequest, path: Path, token: str = "") -> int:
        """Writes the rows to one file, whole or not at all; returns their number.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            InputError, NotFoundError: there is no such export or study.
            StorageError: the file cannot be written.
        """
        self._authorise(token)
        _check(request)
        return self._write(request, path, Tally())

    def export_folder(self, request: ExportRequest, folder: Path, token: str = "") -> int:
        """Writes the rows and their card into a folder, which `datasets.load_dataset` opens; returns the number of rows.

        Args:
            request: what to export.
            folder: new, empty, or with nothing but an earlier export of the same name.
            token: the owner's, where one is set.

        Raises:
            As `export_file`; InputError: other files stand in the folder.
        """
        self._authorise(token)
        _check(request)
        try:
            folder.mkdir(exist_ok=True)
            there = {path.name for path in folder.iterdir()}
        except OSError as error:
            raise StorageError(
                f"the folder {str(folder)!r} cannot be made or read ({error.strerror}); choose one in a folder that exists"
            ) from error
        if there and there != {request.file_name, "README.md"}:
            names = ", ".join(sorted(there))[:100]
            raise InputError(f"the folder {str(folder)!r} holds {names}; choose a new one, so that nothing is mixed up")
        # Here and not above: no page needs statsmodels to begin.
        from app.card_measures import card_measures

        database, tally = self._store.database, Tally()
        study = study_id(database, request.study) if request.study else None
        measured = card_measures(database, request.persona or None, study)
        rows = self._write(request, folder / request.file_name, tally)
        told = {key: str(value) for key, value in request.model_dump().items() if key != "license"}
        columns = columns_of(request.format, request.with_ai_votes)
        text = card(tally, columns, request.file_name, request.format, rows, told, request.license, measured)
        with whole_file(folder / "README.md") as file:
            file.write(text.encode())
        return rows

    def export_zip(self, request: ExportRequest, path: Path, token: str = "") -> int:
        """Writes what `export_folder` does as one zip; returns the number of rows. Raises as it does."""
        self._authorise(token)
        with TemporaryDirectory(prefix="plumbline-export-") as made:
            folder = Path(made) / "export"
            rows = self.export_folder(request, folder, token)
            with whole_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for part in sorted(folder.iterdir()):
                    archive.write(part, part.name)
        return rows

    def find(self, wanted: Wanted, number: int = 0, token: str = "") -> Page:
        """A page of the rounds that are wanted, the newest first; pages count from 0.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            InputError: the search holds no word, or is too long.
        """
        self._authorise(token)
        return page(self._store.database, wanted, number)

    def opened(self, round_id: str, token: str = "") -> Opened:
        """A round with everything that made it, and its votes.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            NotFoundError: no such round.
        """
        self._authorise(token)
        return opened(self._store, round_id)

    def _write(self, request: ExportRequest, path: Path, tally: Tally) -> int:
        columns = columns_of(request.format, request.with_ai_votes)
        return write_rows(self._rows(request, tally), columns, request.file_type, path)

    def _rows(self, request: ExportRequest, tally: Tally) -> Iterator[dict[str, Any]]:
        database, persona = self._store.database, request.persona or None
        study = study_id(database, request.study) if request.study else None
        prompted = with_principles if request.with_principle else None
        votes = tally.over(voted(database, persona, study))
        rows = ROWS[request.format](votes, prompted, study_names(database))
        if not request.with_ai_votes:
            yield from rows
            return
        yield from beside_annotators(rows)
        if study is None:
            yield from ai_preference_rows(self._store.ai_votes(persona), prompted)


def _check(request: ExportRequest) -> None:
    if request.with_ai_votes and request.format != "preference":
        raise InputError(
            f"judges' votes were asked for in the format {request.format!r}; they are preferences: choose 'preference'"
        )


def with_principles(messages: list[Message], principles: list[dict[str, Any]]) -> list[Message]:
    """The chat that the prompted arm was given. Of several principles, it was given each for itself; here those that it was to follow
    stand one after another."""
    followed = [principle["text"] for principle in principles if principle["weight"] > 0]
    return chat(messages, " ".join(followed) or None)
