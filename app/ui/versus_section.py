"""Two versions answer the same prompt side by side; which is which is told after the vote. Layout and wiring only."""

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.compare import Progress, Request
from app.decoding.arms import ARM_NAMES, DecodeSettings, seed_by_lot
from app.errors import PlumblineError
from app.label import rater_of
from app.services import Services
from app.ui import compare_panes as told
from app.ui import render
from app.ui.compare_form import FIRST_PERSONA, QUIET
from app.ui.version_menu import version_menu
from app.versus import Duel

SECONDS_BETWEEN_UPDATES = 0.06
TITLES = ("First answer", "Second answer")
HIDDEN = "One of the two versions. Which one is shown after your choice."
TEMPERATURE = 0.7


def build_versus_section(
    services: Services, scope: gr.Dropdown, changed: list[Any], rater: gr.BrowserState
) -> gr.Dropdown:
    """Lays out the accordion and wires it; returns the menu of the second version.

    Args:
        services: the use cases.
        scope: whose choices the tab is about; a persona there is asked for here, too.
        changed: the events after which there may be other versions.
        rater: the secret that the browser keeps.
    """
    round_id, finished_at = gr.State(""), gr.State(0.0)
    with gr.Accordion("Compare two versions, blind", open=False, elem_id="versus-section"):
        gr.HTML(
            '<div class="pl-preview">The same prompt, two versions, sides drawn by lot. Your choice is stored like any other: it says which version '
            "people prefer, and the next version may learn from it.</div>"
        )
        with gr.Row():
            one, other = (
                # Any value: a mixture has no entry of its own.
                gr.Dropdown(
                    version_menu(services), value="none", label=label, allow_custom_value=True, elem_id=f"versus-{key}"
                )
                for label, key in (("One version", "one"), ("The other", "other"))
            )
            persona = gr.Dropdown(
                _personas(services), value=FIRST_PERSONA, label="Judged by (persona)", elem_id="versus-persona"
            )
        prompt = gr.Textbox(
            "How do I make good tea?", label="Your prompt", lines=2, max_length=8000, elem_id="versus-prompt"
        )
        with gr.Row():
            arm = gr.Radio(
                [(render.ARM_TITLES[arm], arm) for arm in ARM_NAMES],
                value="baseline",
                label="How both answer (arm)",
                info="Plain shows what was learnt: the principle is not told",
                elem_id="versus-arm",
            )
            with gr.Column(min_width=240):
                blind = gr.Checkbox(True, label="Hide which is which until the choice (blind)", elem_id="versus-blind")
                greedy = gr.Checkbox(True, label="Always the likeliest word (greedy)", elem_id="versus-greedy")
        with gr.Row():
            start = gr.Button("Let both answer", variant="primary", elem_id="versus-start")
            stop = gr.Button("Stop", interactive=False, elem_id="versus-stop")
        status = gr.HTML(render.status("Choose two versions."), elem_id="versus-status")
        panes = gr.HTML("", elem_id="versus-panes")
        with gr.Row(elem_classes="pl-duel"):
            votes = {
                choice: gr.Button(told.CHOICES[choice], interactive=False, elem_id=f"versus-{choice}")
                for choice in ("first", "tie", "both_bad", "second")
            }

    def run(
        prompt: str, persona: str, arm: str, one: str, other: str, blind: bool, greedy: bool, secret: str
    ) -> Iterator[dict]:
        off = {button: gr.Button(interactive=False) for button in votes.values()}
        yield {**off, start: gr.Button(interactive=False), round_id: "", panes: "", status: render.status("Writing …")}
        idle = {start: gr.Button(interactive=True), stop: gr.Button(interactive=False)}
        try:
            settings = DecodeSettings(temperature=0.0 if greedy else TEMPERATURE, seed=seed_by_lot())
            request = Request(
                messages=(("user", prompt),), persona=persona, arms=(arm,), settings=settings, blind=blind
            )
            asked_as = services.catalogue.seen(persona or "", rater_of(secret)).name
            versus = services.versus  # another model may take over meanwhile
            duel = versus.start(request, one, other, rater_of(secret))
            yield {round_id: duel.round_id, stop: gr.Button(interactive=True)}
            shown_at = 0.0
            for progress in versus.run(duel):
                if progress.place:
                    yield {status: render.status(told.in_line(progress.place))}
                elif time.monotonic() - shown_at > SECONDS_BETWEEN_UPDATES or progress.done:
                    shown_at = time.monotonic()
                    yield {panes: render.panes(running_panes(duel, progress))}
        except PlumblineError as error:
            yield {**idle, status: render.failure(error)}
            return
        question = f"Which answer is better as {asked_as}?"
        on = {button: gr.Button(interactive=True) for button in votes.values()}
        yield {**idle, **on, finished_at: time.monotonic(), status: render.status(question)}

    def vote(choice: str, id_: str, since: float, secret: str) -> dict:
        try:
            dwell = round(time.monotonic() - since, 2)
            stands, round_ = services.label.vote(id_, choice, rater_of(secret), dwell_seconds=dwell)
        except PlumblineError as error:
            return {status: render.failure(error)}
        return {
            panes: render.panes(told.revealed_panes(round_, stands.choice)),
            status: render.status(told.thanks(stands.choice, round_)),
            **{button: gr.Button(interactive=False) for button in votes.values()},
        }

    def judged_by(chosen: str, secret: str) -> gr.Dropdown:
        return gr.Dropdown(_personas(services, rater_of(secret)), **({"value": chosen} if chosen else {}))

    def menus(secret: str) -> list[Any]:
        own = rater_of(secret)
        versions = [gr.Dropdown(version_menu(services, own)) for _ in range(2)]
        return [*versions, gr.Dropdown(_personas(services, own))]

    def broken() -> list[Any]:
        line = "Something went wrong on our side; nothing was stored. Please try again."
        return [render.status(line, error=True), gr.Button(interactive=True), gr.Button(interactive=False)]

    outputs = [panes, status, *votes.values()]
    asked = [prompt, persona, arm, one, other, blind, greedy, rater]
    running = start.click(
        run,
        asked,
        [*outputs, round_id, finished_at, start, stop],
        concurrency_limit=16,
        trigger_mode="once",
        **QUIET,
    )
    running.failure(broken, None, [status, start, stop], **QUIET)
    stop.click(lambda id_: services.versus.cancel(id_), round_id, None, queue=False, **QUIET)
    for choice, button in votes.items():
        button.click(_with_choice(vote, choice), [round_id, finished_at, rater], outputs, **QUIET)
    gr.on(changed, menus, rater, [one, other, persona], **QUIET)
    scope.input(judged_by, [scope, rater], persona, **QUIET)
    return other


def running_panes(duel: Duel, progress: Progress) -> list[render.Pane]:
    """The panes of two versions on their way; of a blind comparison nothing but the texts, in their hidden order."""
    if duel.blind:
        return [
            render.Pane(title, HIDDEN, progress.answers[name]) for title, name in zip(TITLES, duel.names, strict=True)
        ]
    settings = next(iter(duel.sides.values())).request.settings
    return told.open_panes(progress.answers, duel.names, settings.model_dump())


def _personas(services: Services, rater: str = "") -> list[tuple[str, str]]:
    return [(persona.name, id_) for id_, persona in services.catalogue.all(rater).items()]


def _with_choice(vote: Any, choice: str) -> Any:
    return lambda round_id, since, secret: vote(choice, round_id, since, secret)
