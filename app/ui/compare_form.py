"""What is asked and how, on the tab *Compare*: persona, prompt, strength and the folded settings. Knows no round and no answer."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.compare import Principle, Request
from app.decoding.arms import DecodeSettings
from app.errors import PlumblineError, checked
from app.label import rater_of
from app.prompts import FRAMINGS, frame
from app.services import Services
from app.ui import render
from personas import Persona
from storage.records import SavedPersona

OWN = ""
FIRST_PERSONA = "pirate"
FRAMING_LABELS = {"answer_as": "Answer as …", "the_reader_is": "The reader is …", "principle": "As I wrote it"}
QUIET = {"api_visibility": "private", "show_progress": "hidden"}


@dataclass(frozen=True)
class Form:
    """The components of the form.

    filled: those that a persona or a round fills, in the order of `filling`.
    asked: what a comparison is asked with, in the order of `request_of`.
    """

    persona: gr.Dropdown
    principle: gr.Textbox
    framing: gr.Radio
    preview: gr.HTML
    prompt: gr.Textbox
    examples: list[gr.Button]
    run: gr.Button
    stop: gr.Button
    strength: gr.Slider
    blind: gr.Checkbox
    temperature: gr.Slider
    top_p: gr.Slider
    budget: gr.Slider
    length: gr.Slider
    seed: gr.Number
    version: gr.Dropdown
    name: gr.Textbox
    save: gr.Button

    @property
    def filled(self) -> list[gr.components.Component]:
        return [self.principle, self.framing, self.strength, self.preview, self.prompt, *self.examples]

    @property
    def asked(self) -> list[gr.components.Component]:
        return [
            *(self.prompt, self.persona, self.principle, self.framing, self.strength),
            *(self.temperature, self.top_p, self.budget, self.length, self.seed, self.blind, self.version),
        ]


def build_question(services: Services) -> dict[str, Any]:
    """Lays out what is always visible: who answers, what is asked, how strongly."""
    start = services.catalogue.all()[FIRST_PERSONA]
    made: dict[str, Any] = {}
    made["prompt"] = gr.Textbox(
        start.example_prompts[0], label="Your prompt", lines=2, max_length=8000, elem_id="prompt"
    )
    with gr.Row(elem_classes="pl-examples"):
        made["examples"] = [gr.Button(text, size="sm", elem_classes="pl-example") for text in _examples(start)]
    with gr.Row():
        made["run"] = gr.Button("Compare", variant="primary", elem_id="compare", min_width=120, scale=2)
        made["stop"] = gr.Button("Stop", interactive=False, elem_id="stop", min_width=80, scale=1)
    made["persona"] = gr.Dropdown(
        persona_choices(services), value=start.id, label="Persona", elem_id="persona", filterable=True
    )
    made["principle"] = gr.Textbox(
        start.principle,
        label="Principle",
        info="Who answers, who reads, or what a good answer is: in your own words",
        lines=2,
        max_length=2000,
        elem_id="principle",
    )
    made["framing"] = gr.Radio(
        [(label, key) for key, label in FRAMING_LABELS.items()],
        value=start.framing,
        label="How it enters the prompt",
        elem_id="framing",
    )
    made["preview"] = gr.HTML(render.preview(frame(start.principle, start.framing)))
    made["strength"] = gr.Slider(
        0,
        5,
        value=start.ratio,
        step=0.25,
        label="Strength of the pull (ratio)",
        info="0 is the asked model; 2 is a good start; too much breaks the language",
        elem_id="ratio",
    )
    made["blind"] = gr.Checkbox(
        False, label="Hide which is which (blind): two answers, sides drawn by lot", elem_id="blind"
    )
    return made


def build_settings(services: Services) -> dict[str, Any]:
    """Lays out what is folded away."""
    made: dict[str, Any] = {}
    with gr.Accordion("More settings", open=False):
        made["temperature"] = gr.Slider(
            0, 2, value=0.5, step=0.05, label="Temperature", info="0 always takes the likeliest word"
        )
        made["top_p"] = gr.Slider(
            0.05, 1, value=0.8, step=0.05, label="Nucleus (top_p)", info="Share of probability that may be drawn from"
        )
        made["budget"] = gr.Slider(
            0, 3, value=0, step=0.1, label="Limit of the pull (KL budget, nats a token)", info="0 means no limit"
        )
        made["length"] = gr.Slider(8, 400, value=160, step=8, label="Longest answer (max_new_tokens)")
        # Not None: Gradio's number field turns that into 0 as soon as it is shown.
        made["seed"] = gr.Number(
            -1, label="Seed", info="-1: drawn by lot each time", precision=0, minimum=-1, elem_id="seed"
        )
        made["version"] = gr.Dropdown(
            version_choices(services), value="published", label="Answers come from", elem_id="version"
        )
        made["name"] = gr.Textbox(
            label="Save this persona under a name", max_lines=1, max_length=60, elem_id="persona-name"
        )
        made["save"] = gr.Button("Save persona", elem_id="save-persona")
    return made


def wire_form(form: Form, services: Services, status: gr.HTML, rater: gr.BrowserState) -> None:
    """Connects the form's parts with each other; `status` tells what was saved."""

    def choose_persona(persona_id: str) -> list[Any]:
        return [gr.skip()] * len(form.filled) if persona_id == OWN else filling(services.catalogue.get(persona_id))

    def save_persona(name: str, principle: str, framing: str, ratio: float, secret: str) -> list[Any]:
        try:
            saved = services.catalogue.save(name, principle, framing, ratio, rater_of(secret))
        except PlumblineError as error:
            return [gr.skip(), render.failure(error)]
        return [
            gr.Dropdown(persona_choices(services), value=saved.id),
            render.status(f"The persona {saved.name} is saved."),
        ]

    form.persona.input(choose_persona, form.persona, form.filled, **QUIET)
    # Not `input`: Gradio's text box gives that event for keys, not for text that is pasted.
    for trigger in (form.principle.change, form.framing.change):
        trigger(preview, [form.principle, form.framing], form.preview, trigger_mode="always_last", **QUIET)
    for button in form.examples:
        button.click(lambda text: text, button, form.prompt, **QUIET)
    written = [form.name, form.principle, form.framing, form.strength, rater]
    form.save.click(save_persona, written, [form.persona, status], **QUIET)


def filling(persona: Persona | SavedPersona, prompt: str = "") -> list[Any]:
    """What the form shows for a persona, in the order of `Form.filled`; with a prompt in place of its first example."""
    shown = _examples(persona)
    return [
        *(persona.principle, persona.framing, persona.ratio, preview(persona.principle, persona.framing)),
        *(prompt or shown[0], *shown),
    ]


def preview(principle: str, framing: str) -> str:
    """The principle as it will stand in the prompt, or what is wrong with it."""
    try:
        return render.preview(frame(principle, framing))
    except PlumblineError as error:
        return render.failure(error)


def is_unchanged(services: Services, persona_id: str, principle: str, framing: str) -> bool:
    """Whether the fields still say what the persona says."""
    persona = services.catalogue.get(persona_id)
    return (persona.principle, persona.framing) == (principle.strip(), framing) and framing in FRAMINGS


def request_of(
    services: Services, asked: Sequence[Any], said: Sequence[tuple[str, str]], traces: bool = False
) -> Request:
    """What the form asks for.

    Args:
        asked: values in the order of `Form.asked`.
        said: the conversation so far, as (role, text).
        traces: whether the pull is to be seen; a blind comparison never shows it.

    Raises:
        InputError, NotFoundError: a value is out of bounds, or the persona does not exist.
    """
    prompt, persona, principle, framing, ratio, temperature, top_p, budget, length, seed, blind, version = asked
    settings = checked(
        DecodeSettings,
        ratio=ratio,
        temperature=temperature,
        top_p=top_p,
        kl_budget=budget or None,
        max_new_tokens=length,
        seed=random.SystemRandom().randrange(2**31) if seed is None or seed == -1 else seed,
    )
    known = persona if persona != OWN and is_unchanged(services, persona, principle, framing) else OWN
    return Request(
        messages=(*map(tuple, said), ("user", prompt)),
        persona=known,
        principles=() if known else (Principle(text=principle, framing=framing),),
        settings=settings,
        adapter=None if version == "published" else version,
        blind=blind,
        traces=traces and not blind,
    )


def refreshed_choices(services: Services, secret: str = "") -> list[gr.Dropdown]:
    """The persona and version menus as they are now: others may have saved or learnt something, and a rater has versions of their own."""
    return [gr.Dropdown(persona_choices(services)), gr.Dropdown(version_choices(services, rater_of(secret)))]


def persona_choices(services: Services) -> list[tuple[str, str]]:
    """The persona menu."""
    return [*((p.name, id_) for id_, p in services.catalogue.all().items()), ("Write my own", OWN)]


def version_choices(services: Services, rater: str = "") -> list[tuple[str, str]]:
    """The menu of versions: those that anybody may use, and the rater's own."""
    learnt = [
        (f"{v.id}: {'your own, ' if v.rater else ''}learnt from {v.pairs_train} choices", v.id)
        for v in services.versions.listed(rater)
    ]
    return [("what is published for the persona", "published"), ("the original model", "none"), *learnt]


def _examples(persona: Persona | SavedPersona) -> list[str]:
    everyday = ("How do I make good coffee?", "Why is the sky blue?", "How do I save money?")
    return [*getattr(persona, "example_prompts", ()), *everyday][:3]
