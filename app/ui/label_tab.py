"""The tab *Label*: choose a study, agree, and judge two answers after another, blind. Layout and wiring; what happens is decided in the use cases.

What a browser sends is the id of the round that it shows and a choice by side. It is told which arm was which only by *reveal*.
"""

import time
from typing import Any

import gradio as gr

from app.errors import PlumblineError
from app.services import Services
from app.studies import Task, Waiting
from app.ui import label_render, render
from app.ui.label_raters import build_raters_section, rater_id
from app.ui.study_form import build_study_form

SECONDS_BETWEEN_LOOKS = 3.0
BUTTONS = {"first": "First", "second": "Second", "tie": "Tie", "both_bad": "Both bad"}
NEITHER = ""
NOTED = {
    "first": "Noted: the first is better.",
    "second": "Noted: the second is better.",
    "tie": "Noted: equally good.",
    "both_bad": "Noted: both are bad.",
}
WELCOME = (
    "Two answers to one prompt, side by side: say which is better. Nobody here knows which way of answering made which."
)


def build_label_tab(services: Services, rater: gr.BrowserState, tab: gr.Tab) -> None:
    """Lays out the tab and wires it.

    Args:
        services: the use cases.
        rater: the secret that the browser keeps.
        tab: that it stands in; opening it brings everything up to date.
    """
    consent = services.raters.consent
    # Fixed keys, so that both outlive the server; neither keeps a secret of the server's.
    kept_study = gr.BrowserState("", storage_key="plumbline-study", secret="plumbline")  # noqa: S106
    session = gr.BrowserState("", storage_key="plumbline-session", secret="plumbline")  # noqa: S106
    # When the task was shown; the server's clock, for a browser could say anything.
    shown_at = gr.State(0.0)
    # The browser sends the round that it shows, not the one that the server would hand out next: a late press is then known as late.
    shown = gr.Textbox("", visible="hidden", label="round", elem_id="label-round")
    look_again = gr.Timer(SECONDS_BETWEEN_LOOKS, active=False)

    study = gr.Dropdown([], value=None, label="Study", elem_id="label-study", filterable=False)
    overview = gr.HTML(label_render.studies([], ""), elem_id="label-overview")
    status = gr.HTML(render.status(WELCOME), elem_id="label-status")

    with gr.Column(visible=False, elem_id="label-enter") as entrance:
        gr.HTML(label_render.consent(consent.text, consent.version))
        name = gr.Textbox(
            label="Your name, if you like",
            info="Shown to the owner of the study only",
            max_lines=1,
            max_length=60,
            elem_id="label-name",
        )
        agree = gr.Button("I agree, begin", variant="primary", elem_id="label-agree")

    with gr.Column(visible=False, elem_id="label-room") as room:
        with gr.Row(visible=False, elem_id="label-break", equal_height=True) as break_row:
            reminder = gr.HTML("")
            dismiss = gr.Button("Dismiss", size="sm", scale=0, min_width=100, elem_id="label-dismiss")
        progress = gr.HTML("", elem_id="label-progress")
        task = gr.HTML("", elem_id="label-task")
        with gr.Row(elem_classes="pl-labelbar"):
            votes = {
                choice: gr.Button(
                    words,
                    variant="primary" if choice in ("first", "second") else "secondary",
                    elem_id=f"label-{choice}",
                )
                for choice, words in BUTTONS.items()
            }
            skip = gr.Button("Skip", elem_id="label-skip")
            undo = gr.Button("Undo", elem_id="label-undo")
        with gr.Column(visible=False) as details:
            chips = gr.CheckboxGroup(
                list(label_render.CHIPS),
                label="Why? Pick what fits, before you choose (optional)",
                elem_id="label-chips",
            )
            reason = gr.Textbox(
                label="In your own words (optional)", lines=1, max_lines=4, max_length=2000, elem_id="label-reason"
            )
            with gr.Accordion("Neither is quite right? Edit an answer", open=False, elem_id="label-edit"):
                side = gr.Radio(
                    [("Neither", NEITHER), ("First", "first"), ("Second", "second")],
                    value=NEITHER,
                    label="Which one to start from",
                    elem_id="label-side",
                )
                edited = gr.Textbox(
                    label="As it should be (a demonstration); saved with your choice",
                    lines=4,
                    max_length=8000,
                    elem_id="label-edited",
                )
        with gr.Row(elem_classes="pl-keys"):
            hotkeys = gr.Checkbox(
                True, label="Use the keyboard: 1, 2, 0, 9, s, u", elem_id="label-hotkeys", min_width=240
            )
            gr.HTML(label_render.help_list(), elem_id="label-help")
        with gr.Column(visible=False) as end:
            reveal = gr.Button("Reveal which was which", elem_id="label-reveal")
            revealed = gr.HTML("", elem_id="label-revealed")

    def listed(chosen: str) -> gr.HTML:
        """The open studies, and the chosen one also where it is closed."""
        studies = [item for item in services.studies.all() if item.state == "open" or item.id == chosen]
        return gr.HTML(label_render.studies(studies, chosen), visible=True)

    def show(who: str, study_id: str, session_id: str, seen: str, line: str = "") -> dict[Any, Any]:
        """Everything of the room as it is for this rater now; what they have begun to write about the round they see stays."""
        found = services.studies.next(study_id, who)
        visit = services.visits.now(who, session_id)
        has_task = isinstance(found, Task)
        updates: dict[Any, Any] = {
            entrance: gr.Column(visible=False),
            room: gr.Column(visible=True),
            overview: gr.HTML(visible=False) if has_task else listed(study_id),
            details: gr.Column(visible=has_task),
            end: gr.Column(visible=found is None),
            look_again: gr.Timer(active=isinstance(found, Waiting)),
            break_row: gr.Row(visible=has_task and visit.wants_break),
            reminder: label_render.reminder(visit),
            session: visit.session,
            status: render.status(line),
            **{button: gr.Button(visible=has_task) for button in (*votes.values(), skip)},
        }
        if not has_task:
            text = label_render.FINISHED if found is None else label_render.WAITING
            return {**updates, shown: "", progress: "", task: label_render.message(*text), revealed: ""}
        updates |= {progress: label_render.progress(found.done, found.total, visit)}
        if found.round_id == seen:
            return updates
        fresh = {chips: [], reason: "", side: NEITHER, edited: "", shown_at: time.monotonic(), revealed: ""}
        return {**updates, **fresh, shown: found.round_id, task: label_render.task(found)}

    def arrive(
        study_id: str, session_id: str, seen: str, secret: str, profile: gr.OAuthProfile | None
    ) -> dict[Any, Any]:
        """The list of studies, and the room or the way into it."""
        studies = services.studies.all()
        ids = [item.id for item in studies]
        chosen = study_id if study_id in ids else next((item.id for item in studies if item.state == "open"), None)
        names = [(item.name if item.state == "open" else f"{item.name} (closed)", item.id) for item in studies]
        lists = {
            study: gr.Dropdown(names, value=chosen, visible=bool(names)),
            overview: listed(chosen or ""),
            kept_study: chosen or "",
        }
        closed = {
            entrance: gr.Column(visible=False),
            room: gr.Column(visible=False),
            look_again: gr.Timer(active=False),
        }
        who = rater_id(services, secret, profile)
        if not chosen or not who:
            return {**lists, **closed, status: render.status(WELCOME)}
        if services.raters.get(who).consent_version != consent.version:
            return {**lists, **closed, entrance: gr.Column(visible=True), status: render.status(WELCOME)}
        try:
            return {**lists, **show(who, chosen, session_id, seen)}
        except PlumblineError as error:
            return {**lists, **closed, status: render.failure(error)}

    def come(
        kept: str, session_id: str, seen: str, secret: str, profile: gr.OAuthProfile | None, request: gr.Request
    ) -> dict[Any, Any]:
        """Opening the tab: with the study of a rater's link, `?study=...`, else the one that this browser labelled last."""
        linked = "" if seen else request.query_params.get("study", "")
        return arrive(linked or kept, session_id, seen, secret, profile)

    def enter(
        name: str, study_id: str, session_id: str, secret: str, profile: gr.OAuthProfile | None
    ) -> dict[Any, Any]:
        who = rater_id(services, secret, profile)
        try:
            services.raters.enter(who, name, consent.version, "huggingface" if profile else "browser")
        except PlumblineError as error:
            return {status: render.failure(error)}
        return arrive(study_id, session_id, "", secret, profile)

    def vote(choice: str, seen: str, since: float, picked: list[str], words: str, from_side: str, text: str,
             study_id: str, session_id: str, secret: str, profile: gr.OAuthProfile | None) -> dict[Any, Any]:  # fmt: skip
        who = rater_id(services, secret, profile)
        try:
            stands, _ = services.label.vote(
                seen, choice, who, words, round(time.monotonic() - since, 2) if since else None, chips=tuple(picked),
                edited_side=from_side if text else "", edited=text if from_side else "", session=session_id,
            )  # fmt: skip
            before = "" if stands.choice == choice else "You had chosen here already, and that stands. "
            return show(who, study_id, session_id, seen, before + NOTED[stands.choice])
        except PlumblineError as error:
            # What the page shows may be over: skipped in another tab, closed, or all labels deleted.
            return {**arrive(study_id, session_id, seen, secret, profile), status: render.failure(error)}

    def pass_over(
        seen: str, study_id: str, session_id: str, secret: str, profile: gr.OAuthProfile | None
    ) -> dict[Any, Any]:
        who = rater_id(services, secret, profile)
        try:
            services.studies.skip(seen, who)
            return show(who, study_id, session_id, seen, "Skipped: somebody else may get it.")
        except PlumblineError as error:
            return {**arrive(study_id, session_id, seen, secret, profile), status: render.failure(error)}

    def take_back(
        seen: str, study_id: str, session_id: str, secret: str, profile: gr.OAuthProfile | None
    ) -> dict[Any, Any]:
        who = rater_id(services, secret, profile)
        try:
            found = services.studies.undo(study_id, who)
            undone = isinstance(found, Task) and found.round_id != seen
            line = "Your last choice is taken back; choose again." if undone else "There is no choice to take back."
            return show(who, study_id, session_id, seen, line)
        except PlumblineError as error:
            return {status: render.failure(error)}

    def rest(study_id: str, seen: str, secret: str, profile: gr.OAuthProfile | None) -> dict[Any, Any]:
        """Ends the visit: count and pace begin anew, with or without a break."""
        return show(rater_id(services, secret, profile), study_id, "", seen)

    def tell(study_id: str, secret: str, profile: gr.OAuthProfile | None) -> dict[Any, Any]:
        try:
            rounds = services.studies.reveal(study_id, rater_id(services, secret, profile))
        except PlumblineError as error:
            return {status: render.failure(error)}
        return {revealed: label_render.revealed(rounds), status: render.status("Both sides are named below.")}

    quiet = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    place = [study, session]
    moving = [
        *(
            study,
            overview,
            kept_study,
            status,
            entrance,
            room,
            details,
            end,
            look_again,
            break_row,
            reminder,
            session,
            shown,
        ),
        *(shown_at, progress, task, chips, reason, side, edited, revealed, *votes.values(), skip),
    ]
    tab.select(come, [kept_study, session, shown, rater], moving, **quiet)
    study.input(arrive, [*place, shown, rater], moving, **quiet)
    look_again.tick(arrive, [*place, shown, rater], moving, **quiet)
    gr.on([agree.click, name.submit], enter, [name, *place, rater], moving, **quiet)
    said = [shown, shown_at, chips, reason, side, edited, *place, rater]
    for choice, button in votes.items():
        button.click(vote, [gr.State(choice), *said], moving, **quiet)
    skip.click(pass_over, [shown, *place, rater], moving, **quiet)
    undo.click(take_back, [shown, *place, rater], moving, **quiet)
    dismiss.click(rest, [study, shown, rater], moving, **quiet)
    reveal.click(tell, [study, rater], [revealed, status], **quiet)
    # These two never leave the browser.
    side.input(None, side, edited, js=TEXT_OF_SIDE, **quiet)
    hotkeys.input(None, hotkeys, None, js="on => localStorage.setItem('plumbline-hotkeys', on ? 'on' : 'off')", **quiet)
    tab.select(None, None, hotkeys, js="() => localStorage.getItem('plumbline-hotkeys') !== 'off'", **quiet)

    again = {"fn": arrive, "inputs": [*place, gr.State(""), rater], "outputs": moving, **quiet}
    build_raters_section(services, rater, again)
    build_study_form(services, rater, again)


TEXT_OF_SIDE = """side => document.querySelectorAll('#label-task .pl-two .pl-text')[{first: 0, second: 1}[side]]?.textContent ?? ''"""
