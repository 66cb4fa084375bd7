"""The tab *Compare*: ask, watch the arms stream, see the pull, vote. Layout and wiring; what happens is decided in the use cases."""

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from app import example
from app.decoding.arms import ARM_NAMES
from app.errors import PlumblineError
from app.label import rater_of
from app.services import Services
from app.ui import compare_panes as told
from app.ui import pull_render, render
from app.ui.arms_choice import in_order
from app.ui.compare_form import (
    QUIET,
    Form,
    build_principle,
    build_question,
    filling,
    request_of,
    wire_form,
)
from app.ui.persona_section import build_library, wire_personas
from app.ui.share import RoundBar, build_bar, build_talk, round_links, wire_bar
from app.ui.sweep_section import build_sweep_section

SECONDS_BETWEEN_UPDATES = 0.06
PULLS = [
    ("Shift: likelier than in the plain answer", "shift"),
    ("KL: away from the asked answer", "kl"),
    ("Off", "off"),
]
# The page's own attribute decides what the style sheet colours, so that nothing is sent to look at the other measure.
SHOW_PULL = "pull => { document.documentElement.dataset.pull = pull; }"


def build_compare_tab(
    services: Services, rater: gr.BrowserState, demo: gr.Blocks
) -> dict[str, gr.components.Component]:
    """Lays out the tab and wires it; returns the components that other parts of the page refresh.

    Args:
        services: the use cases.
        rater: the secret that the browser keeps.
        demo: the page that the tab stands in.
    """
    round_id, finished_at = gr.State(""), gr.State(0.0)
    # What a vote must not wipe out; kept for as long as somebody may still vote.
    pull_shown = gr.State(None, time_to_live=3600)

    with gr.Row(elem_classes="pl-cards"):
        cards = [
            gr.Button(f"{services.catalogue.get(id_).name}\n{prompt}", elem_classes="pl-tried")
            for id_, prompt in example.CARDS
        ]
    library = build_library(services)
    # In the order in which a phone shows it and Tab walks it; on a desk the style sheet puts the form beside the answers.
    with gr.Row(equal_height=False, elem_classes="pl-stage"):
        with gr.Column(min_width=0, elem_classes="pl-ask"):
            question = build_question(services)
        with gr.Column(min_width=0, elem_classes="pl-answers") as beside:
            talk = build_talk()
            status = gr.HTML(render.status(example.INVITATION), elem_id="status")
            panes = gr.HTML(render.panes(_worked_example()), elem_id="panes")
            with gr.Row(elem_classes="pl-votes"):
                votes = {
                    choice: gr.Button(told.vote_label(choice, False), interactive=False, elem_id=f"vote-{choice}")
                    for choice in ("first", "tie", "both_bad", "second")
                }
                undo = gr.Button("Undo", interactive=False, elem_id="undo", size="sm")
            bar = RoundBar(**talk, **build_bar())
            pull = gr.Radio(PULLS, value="shift", label="Show the pull", elem_id="pull")
            gr.HTML(pull_render.legend())
        with gr.Column(min_width=0, elem_classes="pl-form"):
            form = Form(**question, **build_principle(services))
    with beside:
        build_sweep_section(services, form, bar.messages, rater)
    run, stop = form.run, form.stop

    def compare(*values: Any) -> Iterator[dict]:
        *asked, pull, said, secret = values
        values = dict(zip(form.asked, asked, strict=True))
        blind, voted = values[form.blind], in_order(values[form.voted])
        yield {
            **{button: gr.Button(interactive=False) for button in (run, undo, bar.again, bar.go_on, *cards)},
            round_id: "",
            bar.links: "",
            pull_shown: None,
            status: render.status(told.writing(services.serving.people())),
            **{
                button: gr.Button(told.vote_label(choice, blind, voted), interactive=False)
                for choice, button in votes.items()
            },
        }
        idle = {**{button: gr.Button(interactive=True) for button in (run, *cards)}, stop: gr.Button(interactive=False)}
        try:
            request = request_of(services, asked, said, traces=pull != "off")
            asked_of = services.compare  # another model may take over meanwhile
            comparison = asked_of.start(request, rater_of(secret))
            # Stop needs the id that comes with it.
            yield {round_id: comparison.round_id, stop: gr.Button(interactive=True)}
            shown_at, progress, waited = 0.0, None, False
            for progress in asked_of.run(comparison):
                if progress.place:
                    yield {status: render.status(told.in_line(progress.place))}
                    waited = True
                    continue
                if waited:
                    waited = False
                    yield {status: render.status("Writing …")}
                if not progress.done and time.monotonic() - shown_at > SECONDS_BETWEEN_UPDATES:
                    shown_at = time.monotonic()
                    yield {panes: render.panes(told.running_panes(comparison, progress))}
        except PlumblineError as error:
            yield {**idle, status: render.failure(error)}
            return
        if blind:
            finished, whole = told.running_panes(comparison, progress), None
        else:
            whole = told.whole_pull(progress, asked_of.model.decode)
            finished = told.open_panes(progress.answers, comparison.arms, request.settings.model_dump(), pull=whole)
        yield {
            **idle,
            **{button: gr.Button(interactive=True) for button in (bar.again, *votes.values())},
            bar.links: "" if blind else round_links(services, services.store.round(comparison.round_id)),
            panes: render.panes(finished),
            pull_shown: whole,
            finished_at: time.monotonic(),
            status: render.status(told.invitation(comparison)),
        }

    def broken() -> list[Any]:
        line = "Something went wrong on our side; nothing was stored. Please try again."
        buttons = [gr.Button(interactive=False), *[gr.Button(interactive=True)] * (1 + len(cards))]
        return [render.status(line, error=True), *buttons]

    def compare_anew(*values: Any) -> Iterator[dict]:
        yield from compare(*{**dict(zip(inputs, values, strict=True)), form.seed: -1}.values())

    def vote(choice: str, id_: str, since: float, whole: pull_render.Pull | None, secret: str) -> dict:
        try:
            stands, round_ = services.label.vote(
                id_, choice, rater_of(secret), dwell_seconds=round(time.monotonic() - since, 2)
            )
        except PlumblineError as error:
            return {status: render.failure(error)}
        count = services.label.clear_choices()
        line = f"{told.thanks(stands.choice, round_)} You and others have made {count} clear choice{'' if count == 1 else 's'} so far: the tab Learn makes use of them."
        return {
            panes: render.panes(told.revealed_panes(round_, stands.choice, whole)),
            status: render.status(line),
            **{button: gr.Button(interactive=False) for button in votes.values()},
            undo: gr.Button(interactive=not round_.blind),
            bar.go_on: gr.Button(interactive=stands.choice in ("first", "second")),
            bar.links: round_links(services, round_),
        }

    def take_back(id_: str, secret: str) -> dict:
        try:
            undone = services.label.undo(id_, rater_of(secret))
        except PlumblineError as error:
            return {status: render.failure(error)}
        line = "Your choice was taken back; choose again." if undone else "There was no choice to take back."
        return {
            status: render.status(line),
            **{button: gr.Button(interactive=True) for button in votes.values()},
            **{button: gr.Button(interactive=False) for button in (undo, bar.go_on)},
        }

    wire_form(form)
    wire_personas(form, library, services, status, rater)
    pull.change(None, pull, None, js=SHOW_PULL, **QUIET)
    inputs = [*form.asked, pull, bar.messages, rater]
    after_vote = [panes, status, *votes.values(), undo, bar.go_on, bar.links]
    outputs = [*after_vote, round_id, finished_at, pull_shown, run, stop, bar.again, *cards]
    begun = {"concurrency_limit": 16, "trigger_mode": "once", **QUIET}
    running = [
        gr.on([run.click, form.prompt.submit], compare, inputs, outputs, **begun),
        bar.again.click(compare_anew, inputs, outputs, **begun),
    ]
    for card, (id_, prompt) in zip(cards, example.CARDS, strict=True):
        filled = card.click(_with_card(services, id_, prompt), None, [form.persona, *form.filled], **QUIET)
        running.append(filled.then(compare, inputs, outputs, **begun))
    for each in running:
        each.failure(broken, None, [status, stop, run, *cards], **QUIET)
    stop.click(lambda id_: services.compare.cancel(id_), round_id, None, queue=False, **QUIET)
    for choice, button in votes.items():
        handler = _with_choice(vote, choice)
        seen = [round_id, finished_at, pull_shown, rater]
        button.click(handler, seen, after_vote, **QUIET)
    undo.click(take_back, [round_id, rater], [status, *votes.values(), undo, bar.go_on], **QUIET)
    wire_bar(bar, form, services, demo, {"round_id": round_id, "status": status, "panes": panes}, rater)
    return {"persona": form.persona, "version": form.version}


def _worked_example() -> list[render.Pane]:
    shown = example.read()
    pull = pull_render.Pull(
        shown.pieces, [token["shift"] for token in shown.told], [token["kl"] for token in shown.told], shown.told
    )
    return told.open_panes(shown.answers, ARM_NAMES, {"ratio": shown.ratio}, pull=pull)


def _with_card(services: Services, persona_id: str, prompt: str) -> Any:
    return lambda: [persona_id, *filling(services.catalogue.get(persona_id), prompt)]


def _with_choice(vote: Any, choice: str) -> Any:
    return lambda round_id, since, pull, secret: vote(choice, round_id, since, pull, secret)
