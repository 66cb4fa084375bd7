"""The tab *Owner*: sign in, see how the server is doing, decide what answers, who counts and what is studied. Layout and wiring only.

It stands on every page and is shown where the address says `?owner`; it holds nothing before somebody signs in, and every handler asks
the use cases, which authorise by the key that signing in left on the server.
"""

import os
from typing import Any

import gradio as gr

from app.errors import PlumblineError
from app.services import Services
from app.ui import owner_render, render
from app.ui.compare_form import QUIET
from app.ui.owner_limits import build_limits_section
from app.ui.owner_people import build_people_section
from app.ui.owner_personas import build_personas_section
from app.ui.owner_studies import build_studies_section
from app.ui.owner_versions import build_versions_section

SECONDS_BETWEEN_LOOKS = 5.0
WELCOME = "For the owner of this page: sign in with the token that PLUMBLINE_ADMIN_TOKEN holds."


def shown_to_owners(request: gr.Request) -> gr.Tab:
    """The tab, shown where the address asks for it. It is no secret: without the token it is empty."""
    return gr.Tab(visible="owner" in request.query_params)


def build_owner_tab(services: Services, tab: gr.Tab) -> None:
    """Lays out the tab and wires it.

    Args:
        services: the use cases.
        tab: that it stands in.
    """
    # Kept on the server for this session; the browser never holds it.
    key = gr.State("")
    line = gr.HTML(render.status(WELCOME), elem_id="owner-status")
    with gr.Row(elem_classes="pl-beside") as entrance:
        token = gr.Textbox(label="Owner's token", type="password", max_lines=1, elem_id="owner-token")
        enter = gr.Button("Sign in", variant="primary", scale=0, min_width=140, elem_id="owner-enter")
        # A Space whose card does not ask for `hf_oauth` has no client, and Gradio would refuse to start.
        if services.settings.space_id and os.environ.get("OAUTH_CLIENT_ID"):
            gr.LoginButton("Sign in with Hugging Face", scale=0, min_width=240, elem_id="owner-login")
    with gr.Column(visible=False, elem_id="owner-inside") as inside:
        gauges = gr.HTML("", elem_id="owner-gauges")
        versions = build_versions_section(services, key)
        people = build_people_section(services, key)
        studies = build_studies_section(services, key)
        personas = build_personas_section(services, key)
        limits = build_limits_section(services, key)
        gr.HTML(
            '<div class="pl-card"><h3>Exports</h3>Everything that was collected is taken out, searched and imported on the tab <b>Data</b>, and '
            "studies are made on the tab <b>Label</b>; both ask for the token.</div>"
        )
        with gr.Accordion("The server's log", open=False, elem_id="owner-log-section") as logged:
            log = gr.HTML("", elem_id="owner-log")
            look = gr.Button("Look again", size="sm", elem_id="owner-log-again")
        leave = gr.Button("Sign out", size="sm", elem_id="owner-leave")
    timer = gr.Timer(SECONDS_BETWEEN_LOOKS, active=False)
    sections = (versions, people, studies, personas, limits)
    filled = [component for section in sections for component in section.components]

    def signed_in(given: str) -> dict[Any, Any]:
        shown: dict[Any, Any] = {}
        for section in sections:
            shown |= section.refreshed(given)
        return {
            key: given,
            token: "",
            entrance: gr.Row(visible=False),
            inside: gr.Column(visible=True),
            timer: gr.Timer(active=True),
            gauges: owner_render.gauges(services.owner.gauges(given)),
            line: render.status("You are the owner here; this page signs you out after twelve hours."),
            **shown,
        }

    def sign_in(typed: str, profile: gr.OAuthProfile | None) -> dict[Any, Any]:
        try:
            return signed_in(services.authority.sign_in(typed, profile.username if profile else ""))
        except PlumblineError as error:
            return {line: render.failure(error), token: ""}

    def opened(given: str, profile: gr.OAuthProfile | None) -> dict[Any, Any]:
        try:
            return signed_in(given or services.authority.sign_in("", profile.username if profile else ""))
        except PlumblineError:  # nothing was typed yet; what is missing is said once something is
            return {line: render.status(WELCOME), **shut()}

    def sign_out(given: str) -> dict[Any, Any]:
        services.authority.sign_out(given)
        return {line: render.status("You are signed out."), **shut()}

    def shut() -> dict[Any, Any]:
        emptied = {component: _empty(component) for component in [*filled, gauges, log]}
        return {
            key: "",
            entrance: gr.Row(visible=True),
            inside: gr.Column(visible=False),
            timer: gr.Timer(active=False),
            **emptied,
        }

    def measured(given: str) -> dict[Any, Any]:
        try:
            return {gauges: owner_render.gauges(services.owner.gauges(given))}
        except PlumblineError as error:  # the key is too old
            return {line: render.failure(error), **shut()}

    def logs(given: str) -> str:
        try:
            return owner_render.log(services.owner.log(given))
        except PlumblineError as error:
            return render.failure(error)

    outputs = [key, token, entrance, inside, timer, gauges, line, log, *filled]
    gr.on([enter.click, token.submit], sign_in, token, outputs, **QUIET)
    tab.select(opened, key, outputs, **QUIET)
    leave.click(sign_out, key, outputs, **QUIET)
    timer.tick(measured, key, outputs, **QUIET)
    gr.on([logged.expand, look.click], logs, key, log, **QUIET)


def _empty(component: gr.components.Component) -> Any:
    return "" if isinstance(component, gr.HTML) else gr.Dropdown([], value=None)
