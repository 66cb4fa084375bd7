"""The part of the tab *Data* that takes labels along and brings them: export and import. Layout and wiring only."""

from typing import Any

import gradio as gr

from app.errors import InputError, PlumblineError
from app.services import Services
from app.ui import data_render, render
from app.ui.data_api import brought, exported
from storage.export_files import FILE_TYPES

FORMAT_NAMES = {
    "preference": "pairs, one preferred (preference, for DPO)",
    "unpaired": "single answers, good or bad (unpaired, for KTO)",
    "demonstrations": "answers as people rewrote them (demonstrations)",
    "votes": "every vote as it was cast (votes)",
}


def build_exchange(services: Services, token: gr.Textbox, tab: gr.Tab) -> None:
    """Lays out both accordions and wires them.

    Args:
        services: the use cases.
        token: the owner's, as the tab asks for it.
        tab: when it is opened, the menus follow what there is now.
    """
    names = services.catalogue.all()
    everyone = [("all personas", ""), *((persona.name, id_) for id_, persona in names.items())]
    with gr.Accordion("Take the choices along (export)", open=False):
        with gr.Row():
            format_ = gr.Dropdown(
                [(shown, name) for name, shown in FORMAT_NAMES.items()],
                value="preference",
                label="What",
                elem_id="export-format",
            )
            file_type = gr.Dropdown(list(FILE_TYPES), value="jsonl", label="As", elem_id="export-type")
            only = gr.Dropdown(everyone, value="", label="Of", allow_custom_value=True, elem_id="export-persona")
            study = gr.Textbox(label="Of the study", placeholder="all", elem_id="export-study")
        with gr.Row():
            with_principle = gr.Checkbox(False, label="The principle in the prompt", elem_id="export-principle")
            with_ai_votes = gr.Checkbox(False, label="Judges' choices, too", elem_id="export-judges")
            with_card = gr.Checkbox(True, label="With a dataset card, as a zip", elem_id="export-card")
            license_ = gr.Textbox("unknown", label="Licence, for the card", elem_id="export-license")
        prepare = gr.Button("Prepare a download", elem_id="export")
        made = gr.HTML("", elem_id="export-result")
        file = gr.File(label="To download", visible=False, interactive=False, elem_id="export-file")
    with gr.Accordion("Bring choices from elsewhere (import)", open=False):
        gr.HTML(
            '<div class="pl-preview">A file of preference pairs in <b>TRL\'s format</b>: prompt, chosen and rejected, as texts or messages; '
            "JSON lines or Parquet. They stay apart from the votes, and are learnt from where that is asked for.</div>"
        )
        with gr.Row():
            given = gr.File(label="A file of pairs", file_types=[".jsonl", ".json", ".parquet"], elem_id="import-file")
            whom = gr.Dropdown(everyone, value="", label="For", allow_custom_value=True, elem_id="import-persona")
            skip_bad = gr.Checkbox(False, label="Leave out rows that cannot be read", elem_id="import-skip")
        bring = gr.Button("Bring them", elem_id="import")
        report = gr.HTML("", elem_id="import-result")
        there = gr.HTML("", elem_id="import-sources")
        with gr.Row():
            which = gr.Dropdown([], value=None, label="Brought file", allow_custom_value=True, elem_id="import-source")
            sure = gr.Checkbox(False, label="Yes, delete its pairs for good", elem_id="import-sure")
            delete = gr.Button("Delete them", variant="stop", elem_id="import-delete")

    def take(token: str, with_card: bool, license_: str, study: str, **request: Any) -> dict:
        wanted = {**request, "license": (license_ or "").strip() or "unknown", "study": (study or "").strip()}
        try:
            path, rows = exported(services, wanted, token or "", with_card)
        except PlumblineError as error:
            return {made: render.failure(error), file: gr.File(None, visible=False)}
        return {made: render.status(f"Ready: {data_render.many(rows, 'row')}."), file: gr.File(path, visible=True)}

    def add(path: str | None, persona: str | None, skip_bad: bool, token: str) -> dict:
        try:
            done = brought(services, path, persona, skip_bad, token or "")
        except PlumblineError as error:
            return {report: render.failure(error)}
        return {report: data_render.imported(done), given: None, **listed(token)}

    def remove(source: str | None, sure: bool, token: str) -> dict:
        try:
            if not sure:
                raise InputError("deleted pairs do not come back; tick the box beside the button first")
            count = services.imports.delete(source or "", token or "")
        except PlumblineError as error:
            return {report: render.failure(error)}
        return {report: render.status(f"Deleted: {data_render.many(count, 'pair')} of {source}."), **listed(token)}

    def listed(token: str) -> dict:
        found = services.imports.sources(token or "")
        shown = data_render.sources(found, {id_: persona.name for id_, persona in services.catalogue.all().items()})
        return {there: shown, which: gr.Dropdown([s.source for s in found], value=None), sure: False}

    def refreshed(token: str) -> dict:
        if services.settings.admin_token is not None and not token:
            return {there: "", which: gr.Dropdown([], value=None), sure: False}
        try:
            return listed(token)
        except PlumblineError:
            return {there: "", which: gr.Dropdown([], value=None), sure: False}  # the rounds above say what is wrong

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    wanted = {
        "token": token,
        "with_card": with_card,
        "license_": license_,
        "study": study,
        "format": format_,
        "file_type": file_type,
        "with_principle": with_principle,
        "persona": only,
        "with_ai_votes": with_ai_votes,
    }
    prepare.click(
        lambda *values: take(**dict(zip(wanted, values, strict=True))), list(wanted.values()), [made, file], **quiet
    )
    lists = [there, which, sure]
    bring.click(add, [given, whom, skip_bad, token], [report, given, *lists], **quiet)
    delete.click(remove, [which, sure, token], [report, *lists], **quiet)
    tab.select(refreshed, token, lists, **quiet)
