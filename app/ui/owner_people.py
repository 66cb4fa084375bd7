"""The part *People* of the tab Owner: who voted, who chooses against everybody else, and whose votes do not count. Layout and wiring."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from app.errors import PlumblineError
from app.services import Services
from app.ui import owner_render, render
from app.ui.compare_form import QUIET
from app.ui.owner_section import OwnerSection


def build_people_section(services: Services, key: gr.State) -> OwnerSection:
    """Lays out the section and wires it; `key` is what signing in left."""
    with gr.Accordion("People and bans", open=False, elem_id="owner-people-section"):
        line = gr.HTML("", elem_id="owner-people-status")
        people = gr.HTML("", elem_id="owner-people")
        with gr.Row(elem_classes="pl-beside"):
            rater = gr.Textbox(
                label="Rater", info="How the pseudonym begins", max_lines=1, max_length=24, elem_id="owner-rater"
            )
            reason = gr.Textbox(
                label="Reason",
                info="The rater is told it; their votes no longer count",
                max_lines=1,
                max_length=300,
                elem_id="owner-reason",
            )
            ban = gr.Button("Ban this rater", scale=0, min_width=160, elem_id="owner-ban")
            lift = gr.Button("Lift the ban", scale=0, min_width=150, elem_id="owner-lift")

    def refreshed(given: str) -> dict[Any, Any]:
        return {people: owner_render.people(services.bans.people(given)), line: ""}

    def act(given: str, action: Callable[[], str], told: str) -> dict[Any, Any]:
        try:
            whose = action()
            return {**refreshed(given), line: render.status(told.format(whose[:12]))}
        except PlumblineError as error:
            return {line: render.failure(error)}

    def shut_out(typed: str, why: str, given: str) -> dict[Any, Any]:
        told = "{} is banned: their votes count nowhere, and new ones are refused."
        return act(given, lambda: services.bans.ban(typed, why, given), told)

    def let_in(typed: str, given: str) -> dict[Any, Any]:
        return act(given, lambda: services.bans.lift(typed, given), "{} is let in again, with all of their votes.")

    outputs = [line, people]
    ban.click(shut_out, [rater, reason, key], outputs, **QUIET)
    lift.click(let_in, [rater, key], outputs, **QUIET)
    return OwnerSection([line, people], refreshed)
