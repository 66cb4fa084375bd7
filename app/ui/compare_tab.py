"""The tab *Compare*: choose a persona, ask, watch the arms stream, vote. Layout and wiring; what happens is decided in the use cases."""

import random
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.compare import Comparison, Principle, Progress, Request
from app.decoding.arms import ARM_NAMES, DecodeSettings
from app.errors import PlumblineError, checked
from app.label import rater_of
from app.prompts import FRAMINGS, frame
from app.services import Services
from app.ui import render
from app.ui.render import ARM_EXPLANATIONS, ARM_TITLES, Pane

SECONDS_BETWEEN_UPDATES = 0.06
OWN = ""
FIRST_PERSONA = "pirate"
FRAMING_LABELS = {"answer_as": "Answer as …", "the_reader_is": "The reader is …", "principle": "As I wrote it"}
HIDDEN = "One of the two ways of answering. Which one is shown after your choice."
CHOICES = {"first": "First is better", "second": "Second is better", "tie": "Equally good", "both_bad": "Both are bad"}


def build_compare_tab(services: Services, rater: gr.BrowserState) -> dict[str, gr.components.Component]:
    """Lays out the tab and wires it; returns the components that other parts of the page refresh."""
    personas = services.catalogue.all()
    start = personas[FIRST_PERSONA]
    round_id, finished_at = gr.State(""), gr.State(0.0)

    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=320):
            persona = gr.Dropdown(
                _persona_choices(services), value=start.id, label="Persona", elem_id="persona", filterable=True
            )
            principle = gr.Textbox(
                start.principle,
                label="Principle",
                info="Who answers, who reads, or what a good answer is: in your own words",
                lines=2,
                max_length=2000,
                elem_id="principle",
            )
            framing = gr.Radio(
                [(label, key) for key, label in FRAMING_LABELS.items()],
                value=start.framing,
                label="How it enters the prompt",
                elem_id="framing",
            )
            preview = gr.HTML(render.preview(frame(start.principle, start.framing)))
        with gr.Column(scale=5, min_width=320):
            prompt = gr.Textbox(
                start.example_prompts[0], label="Your prompt", lines=2, max_length=8000, elem_id="prompt"
            )
            with gr.Row():
                examples = [gr.Button(text, size="sm", elem_classes="pl-example") for text in _examples(start)]
            strength = gr.Slider(
                0,
                5,
                value=start.ratio,
                step=0.25,
                label="Strength of the pull (ratio)",
                info="0 is the asked model; 2 is a good start; too much breaks the language",
                elem_id="ratio",
            )
            blind = gr.Checkbox(
                False, label="Hide which is which (blind): two answers, sides drawn by lot", elem_id="blind"
            )
            with gr.Row():
                run = gr.Button("Compare", variant="primary", elem_id="compare")
                stop = gr.Button("Stop", interactive=False, elem_id="stop")
    with gr.Accordion("More settings", open=False):
        with gr.Row():
            temperature = gr.Slider(
                0, 2, value=0.5, step=0.05, label="Temperature", info="0 always takes the likeliest word"
            )
            top_p = gr.Slider(
                0.05,
                1,
                value=0.8,
                step=0.05,
                label="Nucleus (top_p)",
                info="Share of probability that may be drawn from",
            )
            budget = gr.Slider(
                0, 3, value=0, step=0.1, label="Limit of the pull (KL budget, nats a token)", info="0 means no limit"
            )
        with gr.Row():
            length = gr.Slider(8, 400, value=160, step=8, label="Longest answer (max_new_tokens)")
            # Not None: Gradio's number field turns that into 0 as soon as it is shown.
            seed = gr.Number(-1, label="Seed", info="-1: drawn by lot each time", precision=0, minimum=-1)
            version = gr.Dropdown(
                _version_choices(services), value="published", label="Answers come from", elem_id="version"
            )
        with gr.Row():
            name = gr.Textbox(
                label="Save this persona under a name", max_lines=1, max_length=60, elem_id="persona-name"
            )
            save = gr.Button("Save persona", elem_id="save-persona")

    status = gr.HTML(render.status("Press Compare: three answers are written side by side."), elem_id="status")
    panes = gr.HTML(render.panes(_open_panes({}, ARM_NAMES)), elem_id="panes")
    with gr.Row(elem_classes="pl-votes"):
        votes = {
            choice: gr.Button(_vote_label(choice, False), interactive=False, elem_id=f"vote-{choice}")
            for choice in ("first", "tie", "both_bad", "second")
        }
        undo = gr.Button("Undo", interactive=False, elem_id="undo", size="sm")

    def choose_persona(persona_id: str) -> list[Any]:
        if persona_id == OWN:
            return [gr.skip()] * (5 + len(examples))
        chosen = services.catalogue.get(persona_id)
        shown = _examples(chosen)
        return [
            chosen.principle,
            chosen.framing,
            chosen.ratio,
            _preview(chosen.principle, chosen.framing),
            shown[0],
            *shown,
        ]

    def compare(prompt: str, persona_id: str, principle: str, framing: str, ratio: float, temperature: float, top_p: float, budget: float,
                length: int, seed: float | None, blind: bool, version: str, secret: str) -> Iterator[dict]:  # fmt: skip
        yield {
            run: gr.Button(interactive=False),
            undo: gr.Button(interactive=False),
            round_id: "",
            status: render.status(_writing(services.serving.people())),
            **{button: gr.Button(_vote_label(choice, blind), interactive=False) for choice, button in votes.items()},
        }
        idle = {run: gr.Button(interactive=True), stop: gr.Button(interactive=False)}
        try:
            settings = checked(
                DecodeSettings, ratio=ratio, temperature=temperature, top_p=top_p, kl_budget=budget or None, max_new_tokens=length,
                seed=random.SystemRandom().randrange(2**31) if seed is None or seed == -1 else seed,
            )  # fmt: skip
            known = persona_id if persona_id != OWN and _is_unchanged(services, persona_id, principle, framing) else OWN
            own = () if known else (Principle(text=principle, framing=framing),)
            adapter = None if version == "published" else version
            request = Request(
                messages=(("user", prompt),),
                persona=known,
                principles=own,
                settings=settings,
                adapter=adapter,
                blind=blind,
            )
            comparison = services.compare.start(request, rater_of(secret))
            # Stop needs the id that comes with it.
            yield {round_id: comparison.round_id, stop: gr.Button(interactive=True)}
            shown_at, progress, waited = 0.0, None, False
            for progress in services.compare.run(comparison):
                if progress.place:
                    yield {status: render.status(_in_line(progress.place))}
                    waited = True
                    continue
                if waited:
                    waited = False
                    yield {status: render.status("Writing …")}
                if progress.done or time.monotonic() - shown_at > SECONDS_BETWEEN_UPDATES:
                    shown_at = time.monotonic()
                    yield {panes: render.panes(_panes_of(comparison, progress))}
        except PlumblineError as error:
            yield {**idle, status: render.failure(error)}
            return
        buttons = {button: gr.Button(interactive=True) for button in votes.values()}
        yield {**idle, **buttons, finished_at: time.time(), status: render.status(_invitation(comparison, blind))}

    def broken() -> list[Any]:
        line = "Something went wrong on our side; nothing was stored. Please try again."
        return [gr.Button(interactive=True), gr.Button(interactive=False), render.status(line, error=True)]

    def vote(choice: str, id_: str, since: float, secret: str) -> list[Any]:
        try:
            stands, round_ = services.label.vote(
                id_, choice, rater_of(secret), dwell_seconds=round(time.time() - since, 2)
            )
        except PlumblineError as error:
            return [gr.skip(), render.failure(error), *[gr.skip()] * 5]
        revealed = _revealed(round_, stands.choice)
        count = services.label.clear_choices()
        line = f"{_thanks(stands.choice, round_)} You and others have made {count} clear choice{'' if count == 1 else 's'} so far: the tab Learn makes use of them."
        return [
            render.panes(revealed),
            render.status(line),
            *[gr.Button(interactive=False)] * 4,
            gr.Button(interactive=not round_.blind),
        ]

    def take_back(id_: str, secret: str) -> list[Any]:
        try:
            undone = services.label.undo(id_, rater_of(secret))
        except PlumblineError as error:
            return [render.failure(error), *[gr.skip()] * 5]
        line = "Your choice was taken back; choose again." if undone else "There was no choice to take back."
        return [render.status(line), *[gr.Button(interactive=True)] * 4, gr.Button(interactive=False)]

    def save_persona(name: str, principle: str, framing: str, ratio: float, secret: str) -> list[Any]:
        try:
            saved = services.catalogue.save(name, principle, framing, ratio, rater_of(secret))
        except PlumblineError as error:
            return [gr.skip(), render.failure(error)]
        return [
            gr.Dropdown(_persona_choices(services), value=saved.id),
            render.status(f"The persona {saved.name} is saved."),
        ]

    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    persona.input(choose_persona, persona, [principle, framing, strength, preview, prompt, *examples], **quiet)
    # Not `input`: Gradio's text box gives that event for keys, not for text that is pasted.
    for trigger in (principle.change, framing.change):
        trigger(_preview, [principle, framing], preview, trigger_mode="always_last", **quiet)
    for button in examples:
        button.click(lambda text: text, button, prompt, **quiet)
    inputs = [
        prompt,
        persona,
        principle,
        framing,
        strength,
        temperature,
        top_p,
        budget,
        length,
        seed,
        blind,
        version,
        rater,
    ]
    outputs = [panes, status, round_id, finished_at, run, stop, undo, *votes.values()]
    running = gr.on(
        [run.click, prompt.submit], compare, inputs, outputs, concurrency_limit=16, trigger_mode="once", **quiet
    )
    running.failure(broken, None, [run, stop, status], **quiet)
    stop.click(services.compare.cancel, round_id, None, queue=False, **quiet)
    for choice, button in votes.items():
        handler = _with_choice(vote, choice)
        button.click(handler, [round_id, finished_at, rater], [panes, status, *votes.values(), undo], **quiet)
    undo.click(take_back, [round_id, rater], [status, *votes.values(), undo], **quiet)
    save.click(save_persona, [name, principle, framing, strength, rater], [persona, status], **quiet)
    return {"persona": persona, "version": version}


def refreshed_choices(services: Services) -> list[gr.Dropdown]:
    """The persona and version menus as they are now: others may have saved or learnt something."""
    return [gr.Dropdown(_persona_choices(services)), gr.Dropdown(_version_choices(services))]


def _with_choice(vote: Any, choice: str) -> Any:
    return lambda round_id, since, secret: vote(choice, round_id, since, secret)


def _persona_choices(services: Services) -> list[tuple[str, str]]:
    return [*((p.name, id_) for id_, p in services.catalogue.all().items()), ("Write my own", OWN)]


def _version_choices(services: Services) -> list[tuple[str, str]]:
    learnt = [(f"{v.id}: learnt from {v.pairs_train} choices", v.id) for v in services.versions.listed()]
    return [("what is published for the persona", "published"), ("the original model", "none"), *learnt]


def _examples(persona: Any) -> list[str]:
    everyday = ("How do I make good coffee?", "Why is the sky blue?", "How do I save money?")
    return [*getattr(persona, "example_prompts", ()), *everyday][:3]


def _preview(principle: str, framing: str) -> str:
    try:
        return render.preview(frame(principle, framing))
    except PlumblineError as error:
        return render.failure(error)


def _is_unchanged(services: Services, persona_id: str, principle: str, framing: str) -> bool:
    persona = services.catalogue.get(persona_id)
    return (persona.principle, persona.framing) == (principle.strip(), framing) and framing in FRAMINGS


def _open_panes(answers: dict, arms: tuple[str, ...], picked: str = "") -> list[Pane]:
    return [Pane(ARM_TITLES[arm], ARM_EXPLANATIONS[arm], answers.get(arm), arm, arm == picked) for arm in arms]


def _panes_of(comparison: Comparison, progress: Progress) -> list[Pane]:
    if not comparison.request.blind:
        return _open_panes(progress.answers, comparison.arms)
    sides = (comparison.first_arm, comparison.second_arm)
    return [
        Pane(title, HIDDEN, progress.answers[arm])
        for title, arm in zip(("First answer", "Second answer"), sides, strict=True)
    ]


def _revealed(round_: Any, choice: str) -> list[Pane]:
    picked = {"first": round_.first_arm, "second": round_.second_arm}.get(choice, "")
    arms = (
        (round_.first_arm, round_.second_arm)
        if round_.blind
        else tuple(arm for arm in ARM_NAMES if arm in round_.answers)
    )
    return _open_panes(round_.answers, arms, picked)


def _vote_label(choice: str, blind: bool) -> str:
    if blind or choice in ("tie", "both_bad"):
        return CHOICES[choice]
    return f"{ARM_TITLES['baseline' if choice == 'first' else 'linear_aligned']} is better"


def _writing(others: int) -> str:
    return "Writing …" if others == 0 else f"Writing … {others} other{'' if others == 1 else 's'} at the same time."


def _in_line(place: int) -> str:
    return f"Others are being answered just now. You are number {place} in line."


def _invitation(comparison: Comparison, blind: bool) -> str:
    source = f"the learnt version {comparison.adapter}" if comparison.adapter else "the original model"
    question = "Which answer is better?" if blind else "Which is better, Plain or Aligned?"
    return f"Written by {source}. {question}"


def _thanks(choice: str, round_: Any) -> str:
    if choice in ("first", "second"):
        arm = round_.first_arm if choice == "first" else round_.second_arm
        return f"You preferred {ARM_TITLES[arm]} ({arm})."
    return "Noted: equally good." if choice == "tie" else "Noted: both are bad."
