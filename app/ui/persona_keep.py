"""Keeping a persona: name, save, offer, link, delete. Layout, and what it shows for a persona; the wiring is `persona_section`'s."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.catalogue import AnyPersona
from app.ui import persona_render
from storage.records import SavedPersona


@dataclass(frozen=True)
class Keep:
    """The fields; `filled` are those that a persona fills, in the order of `keep_filling`."""

    name: gr.Textbox
    offered: gr.Checkbox
    save: gr.Button
    delete: gr.Button
    told: gr.HTML
    result: gr.HTML

    @property
    def filled(self) -> list[gr.components.Component]:
        return [self.name, self.offered, self.delete, self.told]


def build_keep() -> Keep:
    """Lays the fields out, folded away."""
    with gr.Accordion("Keep or share this persona", open=False, elem_id="keep"):
        name = gr.Textbox(
            label="Its name",
            info="Under a name of yours it is changed, under a new one it is saved anew",
            max_lines=1,
            max_length=60,
            elem_id="persona-name",
        )
        offered = gr.Checkbox(
            False,
            label="Offer it to everybody",
            info="The owner of this page looks at it first",
            elem_id="offer-persona",
        )
        with gr.Row():
            save = gr.Button("Save persona", elem_id="save-persona", min_width=120, scale=2)
            delete = gr.Button("Delete", elem_id="delete-persona", min_width=80, scale=1, interactive=False)
        told = gr.HTML(persona_render.kept(None), elem_id="persona-kept")
        result = gr.HTML("", elem_id="persona-result")
    return Keep(name, offered, save, delete, told, result)


def keep_filling(persona: AnyPersona | None, rater: str) -> list[Any]:
    """What the fields show for a persona; only one's own can be deleted and has a link to give away."""
    own = persona if isinstance(persona, SavedPersona) and bool(rater) and persona.rater == rater else None
    if own is None:
        return ["", False, gr.Button(interactive=False), persona_render.kept(None)]
    return [own.name, own.public_wanted, gr.Button(interactive=True), persona_render.kept(own)]
