"""The endpoints of the data: export and import. Thin: checks and work are the use cases'."""

import shutil
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

from app.data import ExportRequest
from app.errors import InputError, checked
from app.import_pairs import ImportReport
from app.services import Services
from app.ui.api import errors_for_the_client

KEPT_SECONDS = 3600


def add_data_endpoints(services: Services) -> None:
    """Adds `/export` and `/import_pairs` to the page that is being built."""

    def export(
        token: str = "",
        with_ai_votes: bool = False,
        format: str = "preference",
        file_type: str = "jsonl",
        with_principle: bool = False,
        persona: str = "",
        study: str = "",
        license: str = "unknown",
        with_card: bool = False,
    ) -> str:
        """The votes as a file for training or study.

        Args:
            token: the owner's, where one is set.
            with_ai_votes: judges' choices, too; their rows name an `annotator`. Only with the format preference.
            format: preference (TRL's, for DPO), unpaired (KTO), demonstrations (edited answers) or votes (raw).
            file_type: jsonl, parquet or csv.
            with_principle: the principle in the prompt, as the prompted arm saw it.
            persona: id of a persona, or empty for all.
            study: name of a study, or empty for all.
            license: for the card, an identifier such as cc-by-4.0.
            with_card: a zip of the data and its dataset card.

        Returns:
            A file to download.
        """
        request = {
            "format": format,
            "file_type": file_type,
            "with_principle": with_principle,
            "persona": persona,
            "study": study,
            "with_ai_votes": with_ai_votes,
            "license": license,
        }
        with errors_for_the_client():
            return exported(services, request, token, with_card)[0]

    def import_pairs(file: str | None, persona: str = "", skip_bad: bool = False, token: str = "") -> dict[str, Any]:
        """Keeps preference pairs that were collected elsewhere; /refresh learns from them with `with_imported`.

        Args:
            file: JSON lines or Parquet in TRL's preference format.
            persona: id of a persona that they are for, or empty for all.
            skip_bad: leave out rows that hold no pair, in place of refusing the file.
            token: the owner's, where one is set.

        Returns:
            source: the file's name; pairs; bad: how many rows were left out; skipped: the first of them, with line and reason.
        """
        with errors_for_the_client():
            report = brought(services, file, persona, skip_bad, token)
        return {**vars(report), "skipped": list(report.skipped)}

    # Files need components; they are on no page.
    token, format_, file_type, persona, study, license_ = (
        gr.Textbox(value, visible=False, label=label)
        for label, value in (
            ("token", ""),
            ("format", "preference"),
            ("file_type", "jsonl"),
            ("persona", ""),
            ("study", ""),
            ("license", "unknown"),
        )
    )
    with_ai_votes, with_principle, with_card, skip_bad = (
        gr.Checkbox(False, visible=False, label=label)
        for label in ("with_ai_votes", "with_principle", "with_card", "skip_bad")
    )
    given, told = gr.File(visible=False, label="file"), gr.JSON(visible=False, label="report")
    taken = gr.File(visible=False, label="export")
    inputs = [token, with_ai_votes, format_, file_type, with_principle, persona, study, license_, with_card]
    gr.on([], export, inputs, taken, api_name="export")
    gr.on([], import_pairs, [given, persona, skip_bad, token], told, api_name="import_pairs")


def exported(services: Services, request: dict[str, Any], token: str, with_card: bool) -> tuple[str, int]:
    """The path of an export, which Gradio may serve, and its number of rows; asks for the owner first."""
    services.learn.authorise(token)
    wanted = checked(ExportRequest, **{**request, "persona": request["persona"] or "", "study": request["study"] or ""})
    folder = _fresh_folder()
    if with_card:
        path = folder / f"plumbline-{wanted.format}.zip"
        return str(path), services.data.export_zip(wanted, path, token)
    # The name that the endpoint's file has always had.
    path = folder / ("preferences.jsonl" if wanted.file_name == "preference.jsonl" else wanted.file_name)
    return str(path), services.data.export_file(wanted, path, token)


def brought(services: Services, file: str | None, persona: str | None, skip_bad: bool, token: str) -> ImportReport:
    """What an uploaded file's import did."""
    services.learn.authorise(token)
    if not file:
        raise InputError("no file was given; choose JSON lines or Parquet in TRL's preference format")
    if persona:
        services.catalogue.get(persona)
    return services.imports.add(Path(file), persona or "", token, skip_bad)


@cache
def _root() -> Path:
    return Path(tempfile.mkdtemp(prefix="plumbline-export-"))


def _fresh_folder() -> Path:
    """A folder of this export's own. Gradio keeps a copy of what it serves; those of older exports are of no more use."""
    for old in _root().iterdir():
        if time.time() - old.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=_root()))
