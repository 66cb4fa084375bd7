"""The part *Studies* of the tab Owner: how far they are, and how to close one. Layout and wiring only."""

from typing import Any

import gradio as gr

from app.errors import PlumblineError
from app.services import Services
from app.ui import label_render, render
from app.ui.compare_form import QUIET
from app.ui.owner_section import OwnerSection


def build_studies_section(services: Services, key: gr.State) -> OwnerSection:
    """Lays out the section and wires it; `key` is what signing in left."""
    with gr.Accordion("Studies", open=False, elem_id="owner-studies-section"):
        line = gr.HTML("", elem_id="owner-studies-status")
        overview = gr.HTML("", elem_id="owner-studies")
        with gr.Row(elem_classes="pl-beside"):
            # Any value: Gradio would compare it with the list as it was when the page was built; the use case checks it.
            chosen = gr.Dropdown([], value=None, label="Open studies", allow_custom_value=True, elem_id="owner-study")
            close = gr.Button("Close it: no more labels", scale=0, min_width=260, elem_id="owner-study-close")

    def refreshed(given: str) -> dict[Any, Any]:
        services.authority.authorise(given)
        found = services.studies.all()
        return {
            overview: label_render.studies(found, "", links=True) if found else render.status("There is no study yet."),
            chosen: gr.Dropdown([(s.name, s.id) for s in found if s.state == "open"], value=None),
            line: "",
        }

    def end(study: str | None, given: str) -> dict[Any, Any]:
        try:
            services.studies.close(study or "", given)
            return {**refreshed(given), line: render.status("The study is closed: it hands nothing out any more.")}
        except PlumblineError as error:
            return {line: render.failure(error)}

    outputs = [line, overview, chosen]
    close.click(end, [chosen, key], outputs, **QUIET)
    return OwnerSection(outputs, refreshed)
