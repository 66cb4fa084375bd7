"""The part *Limits* of the tab Owner: what visitors may do, how often it was too much, and how to change it. Layout and wiring."""

from typing import Any

import gradio as gr

from app.errors import InputError, PlumblineError
from app.limit_settings import LimitSettings
from app.services import Services
from app.ui import owner_render, render
from app.ui.compare_form import QUIET
from app.ui.owner_section import OwnerSection


def build_limits_section(services: Services, key: gr.State) -> OwnerSection:
    """Lays out the section and wires it; `key` is what signing in left."""
    with gr.Accordion("Limits", open=False, elem_id="owner-limits-section"):
        line = gr.HTML("", elem_id="owner-limits-status")
        shown = gr.HTML("", elem_id="owner-limits")
        with gr.Row(elem_classes="pl-beside"):
            which = gr.Dropdown(list(LimitSettings.model_fields), label="Limit", elem_id="owner-limit")
            value = gr.Textbox(
                label="From now on",
                info="Such as 60/minute;1000/day, or off; the wider ones are plain numbers",
                max_lines=1,
                max_length=80,
                elem_id="owner-limit-value",
            )
            change = gr.Button("Change it until the next start", scale=0, min_width=270, elem_id="owner-limit-change")

    def refreshed(given: str) -> dict[Any, Any]:
        services.authority.authorise(given)
        return {shown: owner_render.limits(services.limits.describe()), line: ""}

    def set_to(name: str | None, typed: str, given: str) -> dict[Any, Any]:
        try:
            if not name:
                raise InputError("no limit was chosen; choose one first")
            services.limits.override(given, **{name: typed})
            return {**refreshed(given), line: render.status(f"The limit {name} is {typed} until the next start.")}
        except PlumblineError as error:
            return {line: render.failure(error)}

    change.click(set_to, [which, value, key], [line, shown], **QUIET)
    return OwnerSection([line, shown], refreshed)
