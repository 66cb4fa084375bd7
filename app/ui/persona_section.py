"""Choosing and keeping personas on the tab *Compare*: the library's cards, what is similar, save, offer, delete. Layout and wiring."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.catalogue import AnyPersona
from app.errors import PlumblineError
from app.label import rater_of
from app.persona_search import common_tags, find, similar
from app.services import Services
from app.ui import persona_render, render
from app.ui.compare_form import OWN, QUIET, Form, filling, persona_choices, preview
from app.ui.persona_keep import keep_filling
from app.ui.persona_mix import principles_in

ALL = ""
FEWEST_CHARACTERS = 4  # below them nothing is similar to anything
# The next thing to do, and on a phone far from the cards.
GO_ON = "() => document.getElementById('compare')?.focus()"


@dataclass(frozen=True)
class Library:
    """The cards and what finds them."""

    section: gr.Accordion
    words: gr.Textbox
    tag: gr.Radio
    cards: gr.HTML


def build_library(services: Services) -> Library:
    """Lays the library out, folded away: the product's own personas; people's come with the visitor."""
    known = services.catalogue.library
    label = f"Persona library: {len(known)} ways of answering to choose from"
    with gr.Accordion(label, open=False, elem_id="library") as section:
        with gr.Row():
            words = gr.Textbox(
                label="Find by name, tag or meaning",
                placeholder="calm, for children, no more than one line …",
                max_lines=1,
                max_length=200,
                elem_id="library-words",
                min_width=260,
            )
            tag = gr.Radio(_tags(services, ""), value=ALL, label="Tag", elem_id="library-tag", min_width=260)
        cards = gr.HTML("", elem_id="library-cards", js_on_load=persona_render.CHOOSE)
    return Library(section, words, tag, cards)


def wire_personas(form: Form, library: Library, services: Services, status: gr.HTML, rater: gr.BrowserState) -> None:
    """Connects the menu, the cards, the line of similar ones and the fields that keep a persona with the form.

    Args:
        status: where it is told what was chosen.
    """
    keep, catalogue = form.keep, services.catalogue

    def chosen(persona: AnyPersona, own: str) -> dict:
        menu = gr.Dropdown(persona_choices(services, own), value=persona.id)
        return {form.persona: menu, **dict(zip(form.filled, filling(persona, rater=own), strict=True))}

    def choose_from_menu(persona_id: str, secret: str) -> dict:
        own = rater_of(secret)
        if persona_id == OWN:
            return dict(zip(keep.filled, keep_filling(None, own), strict=True))
        try:
            persona = catalogue.seen(persona_id, own)
        except PlumblineError as error:
            return {status: render.failure(error)}
        return dict(zip(form.filled, filling(persona, rater=own), strict=True))

    def choose_card(before: str, before_id: str, secret: str, event: gr.EventData) -> dict:
        own = rater_of(secret)
        try:
            persona = catalogue.seen(_pressed(event), own)
        except PlumblineError as error:
            return {status: render.failure(error)}
        line = f"{persona.name} is chosen. Press Compare."
        if before.strip() and before.strip() != getattr(catalogue.all(own).get(before_id), "principle", ""):
            line += f" Your own words were: “{before.strip()}”"
        return {**chosen(persona, own), library.section: gr.Accordion(open=False), status: render.status(line)}

    def listed(words: str, tag: str, persona_id: str, secret: str) -> str:
        try:
            return persona_render.cards(find(catalogue, words or "", tag or ALL, rater_of(secret)), persona_id)
        except PlumblineError as error:
            return render.failure(error)

    def unfolded(words: str, tag: str, persona_id: str, secret: str) -> list[Any]:
        tags = _tags(services, rater_of(secret))
        tag = tag if tag in {value for _, value in tags} else ALL
        return [gr.Radio(tags, value=tag), listed(words, tag, persona_id, secret)]

    def similar_line(principle: str, secret: str) -> str:
        if len(principle.strip()) < FEWEST_CHARACTERS:
            return persona_render.similar([])
        try:
            return persona_render.similar(similar(catalogue, principle, rater_of(secret)))
        except PlumblineError:
            return persona_render.similar([])  # what is wrong with the principle stands in the line above already

    def save(name: str, offered: bool, ratio: float, principle: str, framing: str, *values: Any) -> dict:
        *mixed, secret = values
        own = rater_of(secret)
        try:
            first, *others = principles_in(principle, framing, mixed)
            mix = [one.model_dump() for one in others]
            saved = catalogue.save(
                name, first.text, first.framing, ratio, own, weight=first.weight, mix=mix, offered=offered
            )
        except PlumblineError as error:
            return {keep.result: render.failure(error)}
        return {
            form.persona: gr.Dropdown(persona_choices(services, own), value=saved.id),
            **dict(zip(keep.filled, keep_filling(saved, own), strict=True)),
            keep.result: render.status(f"The persona {saved.name} is saved."),
        }

    def delete(persona_id: str, secret: str) -> dict:
        own = rater_of(secret)
        try:
            catalogue.delete(persona_id, own)
        except PlumblineError as error:
            return {keep.result: render.failure(error)}
        return {
            form.persona: gr.Dropdown(persona_choices(services, own), value=OWN),
            **dict(zip(keep.filled, keep_filling(None, own), strict=True)),
            keep.result: render.status("Deleted. Its words still stand above, should you want to save it again."),
        }

    everything = [form.persona, *form.filled, library.section, status]
    form.persona.input(choose_from_menu, [form.persona, rater], [*form.filled, status], **QUIET)
    before = [form.principle, form.persona, rater]
    for cards in (library.cards, form.similar):
        cards.click(choose_card, before, everything, **QUIET).success(None, None, None, js=GO_ON, **QUIET)
    form.similar.input(
        similar_line, [form.principle, rater], form.similar, trigger_mode="always_last", concurrency_limit=2, **QUIET
    )
    shown = [library.words, library.tag, form.persona, rater]
    # Not `input`: Gradio's text box gives that event for keys, not for text that is pasted.
    for trigger in (library.words.change, library.tag.change):
        trigger(listed, shown, library.cards, trigger_mode="always_last", **QUIET)
    library.section.expand(unfolded, shown, [library.tag, library.cards], **QUIET)
    for field in (form.principle, form.framing, *form.mix.fields):
        field.change(_preview, form.principles, form.preview, trigger_mode="always_last", **QUIET)
    after = [form.persona, *keep.filled, keep.result]
    written = [keep.name, keep.offered, form.strength, *form.principles, rater]
    keep.save.click(save, written, after, **QUIET)
    keep.delete.click(delete, [form.persona, rater], after, **QUIET)


def _preview(principle: str, framing: str, *mixed: Any) -> str:
    return preview(principle, framing, mixed)


def _pressed(event: gr.EventData) -> str:
    """The persona that a card names; it comes from the browser, so it may be anything."""
    data = event._data
    return str(data.get("persona", "")) if isinstance(data, dict) else ""


def _tags(services: Services, rater: str) -> list[tuple[str, str]]:
    return [("all", ALL), *((tag, tag) for tag in common_tags(services.catalogue, rater))]
