"""The tab *Learn*: what choices teach, choices to a new version, and everything that can be done with versions. Layout and wiring only."""

from collections.abc import Iterator

import gradio as gr

from app.errors import PlumblineError
from app.label import rater_of
from app.refresh.pairs import FEWEST_PAIRS, FEWEST_PROMPTS
from app.services import Services
from app.ui import learn_render, render
from app.ui.blend_section import build_blend_section
from app.ui.compare_form import QUIET
from app.ui.online_section import build_online_section
from app.ui.refresh_section import build_refresh_section, wire_refresh_section
from app.ui.timeline_section import build_timeline_section, shown_timeline, wire_timeline_section
from app.ui.version_menu import version_menu
from app.ui.versions_section import build_versions_section
from app.ui.versus_section import build_versus_section

ALL = ""


def build_learn_tab(
    services: Services, rater: gr.BrowserState, tab: gr.Tab, compare_version: gr.Dropdown
) -> dict[str, gr.components.Component]:
    """Lays out the tab and wires it; returns the components that other parts of the page refresh.

    Args:
        services: the use cases.
        rater: the secret that the browser keeps.
        tab: the tab that it stands in; what it shows is brought up to date when it is opened.
        compare_version: what answers on the tab Compare.
    """
    needs_token = services.settings.admin_token is not None
    gr.HTML(
        f'<div class="pl-card"><h3>Learn from choices</h3>Every clear choice becomes a pair: this answer rather than that one. From {FEWEST_PAIRS} pairs on '
        f"{FEWEST_PROMPTS} prompts on, a small add-on to the model (a LoRA adapter, trained with DPO) learns what was preferred, "
        "<b>without the principle in the prompt</b>: the plain model takes on the taste. It takes seconds to a minute, and nothing is overwritten.</div>"
    )
    with gr.Row(equal_height=True, elem_classes="pl-scope"):
        scope = gr.Dropdown(_scopes(services), value=ALL, label="Choices of", min_width=300, elem_id="scope")
        count = gr.HTML(learn_render.count(0, 0), elem_id="pair-count")
    taught = gr.HTML(learn_render.EMPTY, elem_id="taught")
    token = gr.Textbox(
        label="Owner's token",
        type="password",
        visible=needs_token,
        info="Publishing, rollback and adapter files are the owner's here",
        elem_id="token",
    )
    refresh = build_refresh_section(services)
    versions = build_timeline_section(services, _scope_names(services))
    table, chosen = versions["table"], versions["chosen"]

    def lists(scope: str) -> dict:
        return {
            table: shown_timeline(services, _scope_names(services)),
            chosen: gr.Dropdown(version_menu(services), value=services.versions.in_use(scope) or "none"),
        }

    def teach(wanted: str) -> Iterator[dict]:
        found = services.learned.texts(wanted or None)
        yield {
            count: learn_render.count(found.pairs, found.prompts),
            taught: learn_render.taught(found, None, measuring=True),
        }
        if found.pairs:
            try:
                shown = learn_render.taught(found, services.learned.fidelity(wanted or None), measuring=False)
            except PlumblineError as error:
                shown = learn_render.taught(found, None, measuring=False) + render.failure(error)
            yield {taught: shown}

    shown = [table, chosen]
    gr.on([tab.select, scope.input], lists, scope, shown, **QUIET)
    tab.select(lambda secret: gr.Dropdown(_scopes(services, rater_of(secret))), rater, scope, **QUIET)
    gr.on([tab.select, scope.input], teach, scope, [count, taught], trigger_mode="always_last", **QUIET)
    wire_refresh_section(services, refresh, scope, token, shown, lists)
    wire_timeline_section(services, versions, scope, token, shown, lists, lambda: _scope_names(services))
    build_online_section(services, scope, token, rater, shown, lists)
    other_versions = [table.change, tab.select]
    side = build_versus_section(services, scope, other_versions, rater)
    build_blend_section(services, other_versions, compare_version, side, rater)
    build_versions_section(services, scope, token, table, shown, lists)
    return {"table": table}


def _scope_names(services: Services) -> dict[str, str]:
    return {ALL: "all personas", **services.catalogue.names()}


def _scopes(services: Services, rater: str = "") -> list[tuple[str, str]]:
    return [("all personas", ALL), *((p.name, id_) for id_, p in services.catalogue.all(rater).items())]
