"""The part of the tab *Learn* that brings, takes away and deletes adapter versions. Layout and wiring only."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from app.errors import InputError, PlumblineError
from app.services import Services
from app.ui import render
from app.ui.versions_api import added, packed


def build_versions_section(
    services: Services,
    scope: gr.Dropdown,
    token: gr.Textbox,
    table: gr.HTML,
    shown: list[Any],
    lists: Callable[[str], dict],
) -> None:
    """Lays out the accordion and wires it.

    Args:
        services: the use cases.
        scope, token: whose versions, and the owner's token, as the tab asks for them.
        table: the table of versions; when it changes, the menu here does.
        shown: the tab's components that `lists` gives new values for, by scope.
        lists: see `shown`.
    """
    with gr.Accordion("Bring or take away a version", open=False):
        gr.HTML(
            '<div class="pl-preview">A version is a small file beside the model, a <b>PEFT adapter</b> (LoRA). It can be taken along, used in other '
            "programs, and brought back. One that is brought from elsewhere is not measured here, and answers only once you choose it above.</div>"
        )
        with gr.Row():
            # Any value: Gradio would compare it with the list as it was when the page was built; the use case checks the name itself.
            which = gr.Dropdown(
                _names(services), value=None, label="Version", allow_custom_value=True, elem_id="manage-version"
            )
            download = gr.Button("Prepare a download", elem_id="download-version")
            sure = gr.Checkbox(False, label="Yes, delete it for good", elem_id="delete-sure")
            delete = gr.Button("Delete it", variant="stop", elem_id="delete-version")
        file = gr.File(
            label="To download: the adapter and its card", visible=False, interactive=False, elem_id="version-file"
        )
        with gr.Row():
            given = gr.File(
                label="A zip of adapter_config.json and adapter_model.safetensors",
                file_types=[".zip"],
                elem_id="given-version",
            )
            upload = gr.Button("Bring it", elem_id="upload-version")
        result = gr.HTML("", elem_id="manage-result")

    def take(version: str | None, token: str) -> dict:
        try:
            path = packed(services, _chosen(version), token)
        except PlumblineError as error:
            return {result: render.failure(error), file: gr.File(None, visible=False)}
        return {result: render.status(f"Version {version} is ready."), file: gr.File(path, visible=True)}

    def remove(version: str | None, sure: bool, scope: str, token: str) -> dict:
        try:
            if not sure:
                raise InputError("a deleted version does not come back; tick the box beside the button first")
            services.manage.delete(_chosen(version), token)
        except PlumblineError as error:
            return {result: render.failure(error)}
        return {result: render.status(f"Version {version} was deleted."), **changed(scope)}

    def bring(path: str | None, scope: str, token: str) -> dict:
        try:
            version = added(services, path, scope, token)
        except PlumblineError as error:
            return {result: render.failure(error)}
        told = f"It is version {version} now, and not in use; choose it above to answer with it."
        return {result: render.status(told), given: None, **changed(scope)}

    def changed(scope: str) -> dict:
        return {which: gr.Dropdown(_names(services), value=None), sure: False, **lists(scope)}

    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    outputs = [result, which, sure, *shown]
    download.click(take, [which, token], [result, file], **quiet)
    delete.click(remove, [which, sure, scope, token], outputs, **quiet)
    upload.click(bring, [given, scope, token], [*outputs, given], **quiet)
    table.change(lambda: gr.Dropdown(_names(services)), None, which, **quiet)


def _names(services: Services) -> list[str]:
    return [version.id for version in services.store.versions()]


def _chosen(version: str | None) -> str:
    if not version:
        raise InputError("no version was chosen; choose one from the list")
    return version
