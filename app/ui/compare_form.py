"""What is asked and how, on the tab *Compare*: persona, prompt, strength and the folded settings. Knows no round and no answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.catalogue import AnyPersona
from app.compare import Request, principles_of
from app.decoding.arms import DecodeSettings, seed_by_lot
from app.errors import PlumblineError, checked
from app.prompts import frame
from app.services import Services
from app.ui import persona_render, render
from app.ui.arms_choice import build_arms_choice, chosen_arms
from app.ui.persona_keep import Keep, build_keep, keep_filling
from app.ui.persona_mix import EMPTY, FRAMING_LABELS, Mix, build_mix, mix_filling, principles_in

OWN = ""
FIRST_PERSONA = "pirate"
PLAIN_MIX = (1.0, *EMPTY, *EMPTY, *EMPTY)
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
    similar: gr.HTML
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
    arms: gr.Dropdown
    voted: gr.Dropdown
    mix: Mix
    keep: Keep

    @property
    def principles(self) -> list[gr.components.Component]:
        return [self.principle, self.framing, *self.mix.fields]

    @property
    def filled(self) -> list[gr.components.Component]:
        said = [self.principle, self.framing, self.strength, self.preview, self.prompt]
        return [*said, *self.examples, *self.mix.fields, *self.keep.filled]

    @property
    def asked(self) -> list[gr.components.Component]:
        return [
            *(self.prompt, self.persona, self.principle, self.framing, self.strength),
            *(self.temperature, self.top_p, self.budget, self.length, self.seed, self.blind, self.version),
            *(self.arms, self.voted),
            *self.mix.fields,
        ]


def build_question(services: Services) -> dict[str, Any]:
    """Lays out what comes before the answers on every screen: what is asked, and who answers."""
    start = services.catalogue.all()[FIRST_PERSONA]
    made: dict[str, Any] = {}
    made["prompt"] = gr.Textbox(
        start.example_prompts[0], label="Your prompt", lines=2, max_length=8000, elem_id="prompt"
    )
    with gr.Row(elem_classes="pl-examples"):
        made["examples"] = [gr.Button(text, size="sm", elem_classes="pl-example") for text in _examples(start)]
    made["persona"] = gr.Dropdown(
        persona_choices(services), value=start.id, label="Persona", elem_id="persona", filterable=True
    )
    with gr.Row():
        made["run"] = gr.Button("Compare", variant="primary", elem_id="compare", min_width=120, scale=2)
        made["stop"] = gr.Button("Stop", interactive=False, elem_id="stop", min_width=80, scale=1)
    return made


def build_principle(services: Services) -> dict[str, Any]:
    """Lays out what may be changed: the principle, how strongly it pulls, and what is folded away."""
    start = services.catalogue.all()[FIRST_PERSONA]
    made: dict[str, Any] = {}
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
    made["preview"] = gr.HTML(preview(start.principle, start.framing), elem_id="preview")
    made["similar"] = gr.HTML(persona_render.similar([]), elem_id="similar", js_on_load=persona_render.CHOOSE_AND_ASK)
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
    return {**made, "mix": build_mix(), "keep": build_keep(), **_build_settings(services)}


def _build_settings(services: Services) -> dict[str, Any]:
    made: dict[str, Any] = {}
    with gr.Accordion("More settings", open=False, elem_id="settings"):
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
            version_choices(services),
            value="published",
            label="Answers come from",
            info="Or a mixture in your own words, such as v3*1.5",
            allow_custom_value=True,
            elem_id="version",
        )
        made |= build_arms_choice()
    return made


def wire_form(form: Form) -> None:
    """Connects the example prompts with the prompt."""
    for button in form.examples:
        button.click(lambda text: text, button, form.prompt, **QUIET)


def filling(persona: AnyPersona, prompt: str = "", rater: str = "") -> list[Any]:
    """What the form shows for a persona, in the order of `Form.filled`.

    Args:
        prompt: in place of the persona's first example.
        rater: who looks at it; one's own persona can be deleted and given away.
    """
    shown, mix = _examples(persona), mix_filling(principles_of(persona))
    return [
        *(persona.principle, persona.framing, persona.ratio, preview(persona.principle, persona.framing, mix)),
        *(prompt or shown[0], *shown, *mix, *keep_filling(persona, rater)),
    ]


def preview(principle: str, framing: str, mixed: Sequence[Any] = PLAIN_MIX) -> str:
    """The principles as they will stand in the prompts, or what is wrong with them."""
    try:
        asked = principles_in(principle, framing, mixed)
        return persona_render.added([{"text": frame(p.text, p.framing), "weight": p.weight} for p in asked])
    except PlumblineError as error:
        return render.failure(error)


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
    prompt, persona, principle, framing, ratio, temperature, top_p, budget, length, seed, blind, version, *rest = asked
    arms, voted, *mixed = rest
    settings = checked(
        DecodeSettings,
        ratio=ratio,
        temperature=temperature,
        top_p=top_p,
        kl_budget=budget or None,
        max_new_tokens=length,
        seed=seed_by_lot() if seed is None or seed == -1 else seed,
    )
    principles = principles_in(principle, framing, mixed)
    is_unchanged = persona != OWN and principles == principles_of(services.catalogue.get(persona))
    return Request(
        messages=(*map(tuple, said), ("user", prompt)),
        persona=persona if is_unchanged else OWN,
        principles=() if is_unchanged else principles,
        settings=settings,
        adapter=None if version == "published" else version,
        blind=blind,
        **chosen_arms(arms, voted, blind=blind),
        traces=traces and not blind,
    )


def refreshed_choices(services: Services, rater: str) -> list[gr.Dropdown]:
    """The persona and version menus as they are now: the rater's own among them, and what others may have learnt."""
    return [gr.Dropdown(persona_choices(services, rater)), gr.Dropdown(version_choices(services, rater))]


def persona_choices(services: Services, rater: str = "") -> list[tuple[str, str]]:
    """The persona menu of a rater."""
    return [*((p.name, id_) for id_, p in services.catalogue.all(rater).items()), ("Write my own", OWN)]


def version_choices(services: Services, rater: str = "") -> list[tuple[str, str]]:
    """The menu of versions: those that anybody may use, and the rater's own."""
    learnt = [
        (f"{v.id}: {'your own, ' if v.rater else ''}learnt from {v.pairs_train} choices", v.id)
        for v in services.versions.listed(rater)
    ]
    return [("what is published for the persona", "published"), ("the original model", "none"), *learnt]


def _examples(persona: AnyPersona) -> list[str]:
    everyday = ("How do I make tea?", "Why is the sky blue?", "How do I start running?")
    return [*getattr(persona, "example_prompts", ()), *everyday][:3]
