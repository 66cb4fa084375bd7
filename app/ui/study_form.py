"""The part *Make a study* of the tab Label, for the owner of the page: prompts, personas, two arms; all studies, and how to close one. Layout and wiring."""

from pathlib import Path
from typing import Any

import gradio as gr

from app.decoding.arms import OFFERED_ARMS, DecodeSettings, seed_by_lot
from app.errors import PlumblineError, checked
from app.label import rater_of
from app.services import Services
from app.study_prompts import read_study_prompts
from app.ui import label_render, render
from app.ui.render import ARM_TITLES


def build_study_form(services: Services, rater: gr.BrowserState, again: dict[str, Any]) -> None:
    """Lays out the form and wires it.

    Args:
        services: the use cases.
        rater: the secret that the browser keeps; one's own personas can be asked with.
        again: the event, as keywords, that brings the room up to date after a study was made or closed.
    """
    usual = DecodeSettings()
    needs_token = services.settings.admin_token is not None
    arms = [(f"{ARM_TITLES[arm]} ({arm})", arm) for arm in OFFERED_ARMS]
    with gr.Accordion("Make a study (for the owner of this page)", open=False, elem_id="study-form") as section:
        line = gr.HTML("", elem_id="study-status")
        token = gr.Textbox(label="Owner's token", type="password", visible=needs_token, elem_id="study-token")
        with gr.Row(equal_height=False):
            with gr.Column(min_width=300):
                name = gr.Textbox(label="Name", max_lines=1, max_length=80, elem_id="study-name")
                prompts = gr.Textbox(label="Prompts", info="One a line", lines=6, max_lines=12, elem_id="study-prompts")
                file = gr.File(
                    label="Or a text file with one prompt a line (JSON lines with “prompt” work, too)",
                    file_types=[".txt", ".jsonl"],
                    height=150,
                    elem_id="study-file",
                )
            with gr.Column(min_width=300):
                personas = gr.Dropdown(
                    _personas(services),
                    value=[],
                    multiselect=True,
                    label="Personas",
                    info="Every prompt is asked with each",
                    elem_id="study-personas",
                )
                with gr.Row():
                    one = gr.Dropdown(
                        arms,
                        value="baseline",
                        label="This way of answering (arm)",
                        min_width=140,
                        elem_id="study-arm-a",
                    )
                    two = gr.Dropdown(
                        arms, value="linear_aligned", label="Against this one", min_width=140, elem_id="study-arm-b"
                    )
                with gr.Row():
                    overlap = gr.Number(
                        1,
                        label="People an item",
                        info="How many label each (overlap)",
                        precision=0,
                        minimum=1,
                        min_width=140,
                        elem_id="study-overlap",
                    )
                    repeat = gr.Slider(
                        0,
                        0.5,
                        value=0.1,
                        step=0.05,
                        label="Shown again",
                        info="Share that comes back, sides exchanged",
                        min_width=140,
                    )
                far_first = gr.Checkbox(
                    False,
                    label="Begin with prompts unlike those labelled already (farthest first)",
                    elem_id="study-far-first",
                )
        with gr.Accordion("How the answers are written", open=False), gr.Row():
            ratio = gr.Slider(0, 5, value=usual.ratio, step=0.25, label="Strength of the pull (ratio)", min_width=160)
            temperature = gr.Slider(0, 2, value=usual.temperature, step=0.05, label="Temperature", min_width=160)
            length = gr.Slider(
                8, 400, value=usual.max_new_tokens, step=8, label="Longest answer (max_new_tokens)", min_width=160
            )
            seed = gr.Number(-1, label="Seed", info="-1: drawn by lot", precision=0, minimum=-1, min_width=120)
            version = gr.Dropdown(_versions(services), value="published", label="Answers come from", min_width=200)
        create = gr.Button("Make the study", variant="primary", elem_id="study-create")
        with gr.Row(elem_classes="pl-beside"):
            chosen = gr.Dropdown(_open_studies(services), value=None, label="Open studies", elem_id="study-open")
            close = gr.Button("Close it: no more labels", scale=0, min_width=240, elem_id="study-close")
        overview = gr.HTML(label_render.studies(services.studies.all(), "", links=True), elem_id="study-overview")

    def refreshed(secret: str) -> dict[Any, Any]:
        return {
            personas: gr.Dropdown(_personas(services, rater_of(secret))),
            version: gr.Dropdown(_versions(services)),
            chosen: gr.Dropdown(_open_studies(services), value=None),
            overview: label_render.studies(services.studies.all(), "", links=True),
        }

    def make(token: str, called: str, typed: str, path: str | None, asked_as: list[str], one: str, two: str, overlap: float, repeat: float,
             far_first: bool, ratio: float, temperature: float, length: int, seed: float | None, source: str, secret: str) -> dict[Any, Any]:  # fmt: skip
        try:
            settings = checked(
                DecodeSettings, ratio=ratio, temperature=temperature, max_new_tokens=length,
                seed=seed_by_lot() if seed in (None, -1) else seed,
            )  # fmt: skip
            for persona in asked_as:
                services.catalogue.seen(persona, rater_of(secret))
            made = services.studies.create(
                called, _prompts(typed, path), asked_as, (one, two), overlap=int(overlap or 0), repeat=repeat, settings=settings,
                adapter=None if source == "published" else source, token=token, far_first=far_first,
            )  # fmt: skip
            services.studies.prepare()
        except PlumblineError as error:
            return {line: render.failure(error)}
        text = f"The study {made.name} is made; its answers are being written from now on, and labelling can begin with the first."
        return {line: render.status(text), name: "", prompts: "", file: None, **refreshed(secret)}

    def end(study_id: str | None, token: str, secret: str) -> dict[Any, Any]:
        try:
            services.studies.close(study_id or "", token)
        except PlumblineError as error:
            return {line: render.failure(error)}
        return {
            line: render.status(
                "The study is closed: it hands nothing out any more; whoever labelled in it may see what was which."
            ),
            **refreshed(secret),
        }

    quiet = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    lists = [personas, version, chosen, overview]
    section.expand(refreshed, rater, lists, **quiet)
    fields = [
        token,
        name,
        prompts,
        file,
        personas,
        one,
        two,
        overlap,
        repeat,
        far_first,
        ratio,
        temperature,
        length,
        seed,
        version,
        rater,
    ]
    # In the queue: the order by meaning reads every prompt first.
    create.click(make, fields, [line, name, prompts, file, *lists], **{**quiet, "queue": True}).then(**again)
    close.click(end, [chosen, token, rater], [line, *lists], **quiet).then(**again)


def _personas(services: Services, rater: str = "") -> list[tuple[str, str]]:
    return [(persona.name, id_) for id_, persona in services.catalogue.all(rater).items()]


def _versions(services: Services) -> list[tuple[str, str]]:
    learnt = [(version.id, version.id) for version in services.versions.listed()]
    return [("what is published for the persona", "published"), ("the original model", "none"), *learnt]


def _open_studies(services: Services) -> list[tuple[str, str]]:
    return [(item.name, item.id) for item in services.studies.all() if item.state == "open"]


def _prompts(typed: str, path: str | None) -> list[str]:
    """What was typed, a prompt a line, and what stands in the file."""
    lines = [line.strip() for line in typed.splitlines() if line.strip()]
    return [*lines, *(read_study_prompts(Path(path)) if path else [])]
