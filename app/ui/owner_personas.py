"""The part *Personas* of the tab Owner: what people offer to everybody, and what everybody sees besides the library. Layout and wiring."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from app.errors import PlumblineError
from app.services import Services
from app.ui import owner_render, render
from app.ui.compare_form import QUIET
from app.ui.owner_section import OwnerSection


def build_personas_section(services: Services, key: gr.State) -> OwnerSection:
    """Lays out the section and wires it; `key` is what signing in left."""
    with gr.Accordion("Personas that people offer", open=False, elem_id="owner-personas-section"):
        line = gr.HTML("", elem_id="owner-personas-status")
        offered = gr.HTML("", elem_id="owner-personas")
        with gr.Row(elem_classes="pl-beside"):
            # Any value: Gradio would compare it with the list as it was when the page was built; the use case checks it.
            chosen = gr.Dropdown([], value=None, label="Persona", allow_custom_value=True, elem_id="owner-persona")
            approve = gr.Button("Offer it to everybody", scale=0, min_width=210, elem_id="owner-approve")
            hide = gr.Button("Hide it", scale=0, min_width=110, elem_id="owner-hide")
            delete = gr.Button("Delete it", variant="stop", scale=0, min_width=120, elem_id="owner-persona-delete")

    def refreshed(given: str) -> dict[Any, Any]:
        waiting, approved = services.offers.waiting(given), services.offers.approved(given)
        names = [(f"{p.name} (waits)", p.id) for p in waiting] + [(p.name, p.id) for p in approved]
        return {
            offered: owner_render.personas(waiting, approved),
            chosen: gr.Dropdown(names, value=None),
            line: "",
        }

    def act(action: Callable[[str, str], None], told: str) -> Callable[[str | None, str], dict[Any, Any]]:
        def done(persona: str | None, given: str) -> dict[Any, Any]:
            try:
                action(persona or "", given)
                return {**refreshed(given), line: render.status(told)}
            except PlumblineError as error:
                return {line: render.failure(error)}

        return done

    outputs = [line, offered, chosen]
    for button, action, told in (
        (approve, services.offers.approve, "Everybody is offered it from now on."),
        (hide, services.offers.hide, "It is its author's own again; they may change and offer it anew."),
        (delete, services.offers.delete, "It is deleted, with its link."),
    ):
        button.click(act(action, told), [chosen, key], outputs, **QUIET)
    return OwnerSection(outputs, refreshed)
