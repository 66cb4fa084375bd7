"""The tab *Insights*: what people prefer, how sure that is, and what else decides. Layout and wiring only."""

from typing import Any

import gradio as gr

from app.errors import PlumblineError
from app.services import Services
from app.ui import insights_render, render
from app.ui.api import errors_for_the_client, may_publish

ALL = "*"  # no persona's id, which begin with a letter, and not "", which are principles written on the spot
POLL_SECONDS = 2.0


def build_insights_tab(services: Services, tab: gr.Tab) -> None:
    """Lays out the tab and wires it; figures are made when it is opened."""
    gr.HTML(
        '<div class="pl-card"><h3>What do people prefer?</h3>Only votes of people on two whole and different answers are counted; a '
        "judge's never. Every figure stands with the number of votes it comes from and the range in which the truth lies with 95 % "
        "certainty (confidence interval).</div>"
    )
    with gr.Row():
        # Any value: Gradio would compare it with the list as it was when the page was built; the use case checks it itself.
        persona = gr.Dropdown([("all personas", ALL)], value=ALL, label="Persona", allow_custom_value=True, elem_id="insights-persona")  # fmt: skip
        study = gr.Dropdown([("all votes", "")], value="", label="Study", allow_custom_value=True, elem_id="insights-study")  # fmt: skip
        blind = gr.Checkbox(
            False, label="Blind votes only", info="Those that did not see which was which", elem_id="insights-blind"
        )
        token = gr.Textbox(
            label="Owner's token",
            type="password",
            visible=services.settings.admin_token is not None,
            info="Rows of single raters are the owner's here",
            elem_id="insights-token",
        )
        again = gr.Button("Look again", elem_id="insights-again")
    shown = gr.HTML("", elem_id="insights")
    timer = gr.Timer(POLL_SECONDS, active=False)

    def look(persona: str | None, study: str | None, blind: bool, token: str) -> dict:
        try:
            selection = services.insights.selection(None if persona in (ALL, None) else persona, study or "", blind)
            found = services.insights.report(selection, raters=may_publish(services, token), token=token)
        except PlumblineError as error:
            return {shown: render.failure(error), timer: gr.Timer(active=False)}
        return {
            shown: insights_render.report(found, _persona_names(services)),
            timer: gr.Timer(active=found.computing),
        }

    def opened(*values: Any) -> dict:
        personas, studies = services.insights.choices()
        names = _persona_names(services)
        known = [(names.get(id_, id_) or insights_render.ON_THE_SPOT, id_) for id_ in personas]
        return {
            persona: gr.Dropdown([("all personas", ALL), *known]),
            study: gr.Dropdown([("all votes", ""), *((name, id_) for id_, name in studies.items())]),
            **look(*values),
        }

    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    filters = [persona, study, blind, token]
    gr.on([tab.select, again.click], opened, filters, [persona, study, shown, timer], **quiet)
    gr.on([persona.input, study.input, blind.input, token.submit], look, filters, [shown, timer], **quiet)
    timer.tick(look, filters, [shown, timer], **quiet)


def add_insights_endpoint(services: Services) -> None:
    """Adds `/insights` to the page that is being built."""

    def insights(
        persona: str = "", study: str = "", blind_only: bool = False, raters: bool = False, token: str = ""
    ) -> dict[str, Any]:
        """Statistics of people's votes on two whole and different answers; annotators' are never among them.

        Args:
            persona: id of a persona that was voted on, or empty for all.
            study: name or id of a study, or empty for all votes.
            blind_only: leave out votes that saw which arm was which.
            raters: the rows of single raters, too.
            token: the owner's, where one is set; rows of single raters ask for it.

        Returns:
            quick: counts and Wilson intervals of this moment (shares as value, n and interval). slow: regression, Bradley-Terry,
            intervals over raters, agreement, with `made`; null until it was computed in the background. computing: whether it is.
        """
        with errors_for_the_client():
            selection = services.insights.selection(persona or None, study, blind_only)
            return services.insights.report(selection, raters, token).described()

    gr.api(insights, api_name="insights", concurrency_limit=16)


def _persona_names(services: Services) -> dict[str, str]:
    return services.catalogue.names()
