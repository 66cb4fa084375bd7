"""The tab *Data*: look through the rounds, open one, and the ways in and out. Layout and wiring only."""

from typing import Any

import gradio as gr

from app.decoding.arms import OFFERED_ARMS
from app.errors import PlumblineError
from app.services import Services
from app.ui import data_render, render
from app.ui.data_exchange import build_exchange
from app.ui.sync_line import sync_line
from storage.browse import NOT_VOTED, Page, Wanted, choices_to_filter
from storage.records import CHOICES

ANY = "*"
CHOICE_NAMES = {"first": "first better", "second": "second better", "tie": "both as good", "both_bad": "both bad"}
BY_WORDS, BY_MEANING = "these words", "this meaning (of prompts)"
MOST_BY_MEANING = 100


def build_data_tab(services: Services, tab: gr.Tab) -> None:
    """Lays out the tab and wires it; when it is opened, it shows what there is now."""
    needs_token = services.settings.admin_token is not None
    gr.HTML(data_render.INTRO)
    kept = gr.HTML("", elem_id="sync-line")
    token = gr.Textbox(
        label="Owner's token",
        type="password",
        visible=needs_token,
        info="Prompts and reasons are other people's words",
        elem_id="data-token",
    )
    with gr.Row():
        text = gr.Textbox(label="Find", placeholder="words, or a prompt in your own words", elem_id="find")
        how = gr.Radio([BY_WORDS, BY_MEANING], value=BY_WORDS, label="by", elem_id="find-by")
    with gr.Row():
        persona, study, version = (
            # Any value: Gradio would compare it with the list as it was when the page was built.
            gr.Dropdown([("any", ANY)], value=ANY, label=label, allow_custom_value=True, elem_id=f"data-{key}")
            for label, key in (("Persona", "persona"), ("Study", "study"), ("Version", "version"))
        )
        choices = [("any", ANY), *((CHOICE_NAMES[c], c) for c in CHOICES), ("not voted on", NOT_VOTED)]
        choice = gr.Dropdown(choices, value=ANY, label="Choice", elem_id="data-choice")
        arms = [("any", ANY), *((render.ARM_TITLES[arm], arm) for arm in OFFERED_ARMS)]
        arm = gr.Dropdown(arms, value=ANY, label="Shown (arm)", elem_id="data-arm")
        rater = gr.Textbox(label="Voted by", placeholder="how a pseudonym begins", max_lines=1, elem_id="data-rater")
    with gr.Row():
        show = gr.Button("Show", variant="primary", elem_id="data-show")
        newer, older = gr.Button("Back", elem_id="data-newer"), gr.Button("Further", elem_id="data-older")
    number = gr.State(0)
    table = gr.HTML("", elem_id="data-rounds")
    which = gr.Dropdown([], value=None, label="Open a round", allow_custom_value=True, elem_id="data-open")
    one = gr.HTML("", elem_id="data-round")

    def find(wanted: int, token: str, *filters: str | None) -> dict:
        try:
            found = _page(services, wanted, token or "", *filters)
        except PlumblineError as error:
            return {table: render.failure(error), which: gr.Dropdown([], value=None), one: ""}
        entries = [data_render.choice_of(entry) for entry in found.entries]
        return {
            table: data_render.listed(found, persona_names(services)),
            which: gr.Dropdown(entries, value=None),
            number: found.number,
            one: "",
        }

    def open_(round_id: str | None, token: str) -> str:
        if not round_id:
            return ""
        try:
            return data_render.opened(services.data.opened(round_id, token or ""), persona_names(services))
        except PlumblineError as error:
            return render.failure(error)

    def refreshed(token: str, *filters: str | None) -> dict:
        if needs_token and not token:
            return {table: "", which: gr.Dropdown([], value=None), one: ""}
        shown = find(0, token, *filters)
        if number in shown:
            menus = _menus(services)
            shown |= {menu: gr.Dropdown(menus[key]) for menu, key in ((persona, "persona"), (study, "study"), (version, "version"))}  # fmt: skip
        return shown

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    filters = [token, text, how, persona, study, choice, arm, version, rater]
    outputs = [number, table, which, one]
    tab.select(lambda: sync_line(services.sync.status(), services.sync.loses_all), None, kept, **quiet)
    tab.select(refreshed, filters, [*outputs, persona, study, version], **quiet)
    for trigger in (show.click, text.submit, token.submit):
        trigger(lambda *values: find(0, *values), filters, outputs, **quiet)
    newer.click(lambda at, *values: find(at - 1, *values), [number, *filters], outputs, **quiet)
    older.click(lambda at, *values: find(at + 1, *values), [number, *filters], outputs, **quiet)
    which.input(open_, [which, token], one, **quiet)
    build_exchange(services, token, tab)


def persona_names(services: Services) -> dict[str, str]:
    """What a person calls each persona."""
    return {id_: persona.name for id_, persona in services.catalogue.all().items()}


def _page(
    services: Services,
    number: int,
    token: str,
    text: str | None,
    how: str | None,
    persona: str | None,
    study: str | None,
    choice: str | None,
    arm: str | None,
    version: str | None,
    rater: str | None,
) -> Page:
    text = (text or "").strip()
    ids = None
    if text and how == BY_MEANING:
        ids = tuple(found.round_id for found in services.rounds.like(text, MOST_BY_MEANING, token))
    wanted = Wanted(
        persona=_asked(persona),
        study=_asked(study),
        choice=_asked(choice),
        arm=_asked(arm),
        version=_asked(version),
        rater=(rater or "").strip() or None,
        words=text if text and how != BY_MEANING else None,
        ids=ids,
    )
    return services.data.find(wanted, number, token)


def _asked(value: str | None) -> str | None:
    return None if value == ANY else value


def _menus(services: Services) -> dict[str, list[tuple[str, str]]]:
    there, names = choices_to_filter(services.store.database), persona_names(services)
    empty = {"persona": "own words", "study": "", "version": "the original model"}
    return {
        key: [("any", ANY), *((names.get(value, value) or empty[key], value) for value in there[key])] for key in there
    }
