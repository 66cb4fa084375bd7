"""What surrounds a round on the tab *Compare*: its links, the conversation it belongs to, one's own rounds, and pages opened by a link.

Layout and wiring; what may be shown to whom is decided in `app.share`.
"""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.compare import Principle
from app.errors import PlumblineError
from app.label import rater_of
from app.services import Services
from app.share import document
from app.ui import compare_panes as told
from app.ui import render, share_render
from app.ui.compare_form import OWN, QUIET, Form, filling, persona_choices, preview
from app.ui.persona_mix import mix_filling
from storage.records import Round

READ_ONLY = "A round that was shared, read only. Press Compare to have its prompt answered anew."


@dataclass(frozen=True)
class RoundBar:
    """Its components. `messages` holds the conversation so far as (role, text); a comparison goes on from there."""

    messages: gr.State
    talk: gr.HTML
    fresh: gr.Button
    links: gr.HTML
    again: gr.Button
    go_on: gr.Button


def build_talk() -> dict[str, Any]:
    """Lays out the conversation so far; it stands above the answers."""
    return {
        "messages": gr.State([]),
        "talk": gr.HTML("", elem_id="talk"),
        "fresh": gr.Button("New conversation", size="sm", visible=False, elem_id="fresh"),
    }


def build_bar() -> dict[str, Any]:
    """Lays out what can be done with a round; it stands below the answers."""
    with gr.Row(elem_classes="pl-actions"):
        again = gr.Button("Again, with a new seed", size="sm", interactive=False, elem_id="again")
        go_on = gr.Button("Continue from the picked answer", size="sm", interactive=False, elem_id="go-on")
    return {"again": again, "go_on": go_on, "links": gr.HTML("", elem_id="links")}


def round_links(services: Services, round_: Round) -> str:
    """The links of a round that may be told; of its persona only where everybody may choose that."""
    persona = round_.persona if round_.persona in services.catalogue.all() else ""
    return share_render.links(round_.id, persona, document(round_))


def wire_bar(
    bar: RoundBar,
    form: Form,
    services: Services,
    demo: gr.Blocks,
    parts: dict[str, Any],
    rater: gr.BrowserState,
) -> None:
    """Connects the bar.

    Args:
        demo: the page, whose address may name a round or a persona.
        parts: `round_id`, `status` and `panes` of the tab.
    """
    status, panes = parts["status"], parts["panes"]

    def continue_from(round_id: str, secret: str) -> dict:
        try:
            messages = services.share.continued(round_id, rater_of(secret))
        except PlumblineError as error:
            return {status: render.failure(error)}
        return {
            **_talking(bar, messages),
            form.prompt: "",
            bar.go_on: gr.Button(interactive=False),
            status: render.status(
                "Say what comes next, and press Compare: both ways of answering go on from what you picked."
            ),
        }

    def open_link(secret: str, request: gr.Request) -> dict:
        asked, own = dict(request.query_params), rater_of(secret)
        try:
            if asked.get("r"):
                return opened_round(services.share.shared(asked["r"]), own)
            if asked.get("persona"):
                persona = services.catalogue.linked(asked["persona"], own)
                # Somebody else's own persona is read by its link, and answered as words written on the spot.
                value = persona.id if persona.id in services.catalogue.all(own) else OWN
                chosen = gr.Dropdown(persona_choices(services, own), value=value)
                return {form.persona: chosen, **dict(zip(form.filled, filling(persona, rater=own), strict=True))}
        except PlumblineError as error:
            return {status: render.failure(error)}
        return {status: gr.skip()}

    def opened_round(round_: Round, own: str) -> dict:
        known = services.catalogue.all(own)
        messages = [(m["role"], m["content"]) for m in round_.messages]
        if round_.persona in known:
            filled = dict(zip(form.filled, filling(known[round_.persona], messages[-1][1], own), strict=True))
            filled[form.persona] = gr.Dropdown(persona_choices(services, own), value=round_.persona)
        else:
            principle = round_.principles[0]["text"]
            mixed = mix_filling([Principle(**one) for one in round_.principles])
            filled = {
                form.persona: OWN,
                form.principle: principle,
                form.framing: "principle",
                form.prompt: messages[-1][1],
            }
            filled |= dict(zip(form.mix.fields, mixed, strict=True))
            filled[form.preview] = preview(principle, "principle", mixed)
        return {
            **filled,
            **_talking(bar, messages[:-1]),
            form.strength: round_.settings.get("ratio", 0.0),
            panes: render.panes(told.revealed_panes(round_, "")),
            bar.links: round_links(services, round_),
            status: render.status(READ_ONLY),
        }

    changed = [bar.messages, bar.talk, bar.fresh, form.prompt, bar.go_on, status]
    bar.go_on.click(continue_from, [parts["round_id"], rater], changed, **QUIET)
    bar.fresh.click(
        lambda: {**_talking(bar, []), status: render.status("A new conversation: the next prompt is its first.")},
        None,
        [bar.messages, bar.talk, bar.fresh, status],
        **QUIET,
    )
    by_link = [form.persona, *form.filled, bar.messages, bar.talk, bar.fresh, panes, bar.links, status]
    demo.load(open_link, rater, by_link, **QUIET)
    with gr.Accordion("My rounds", open=False, elem_id="my-rounds") as mine:
        past = gr.HTML(share_render.history([]), elem_id="history")
    mine.expand(lambda secret: share_render.history(services.share.history(rater_of(secret))), rater, past, **QUIET)


def _talking(bar: RoundBar, messages: list[tuple[str, str]]) -> dict:
    shown = share_render.conversation(messages)
    return {bar.messages: messages, bar.talk: shown, bar.fresh: gr.Button(visible=bool(messages))}
