"""The button *Learn from my choices* with its settings, the live curves and what came of it. Layout and wiring only."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from app.errors import PlumblineError, checked
from app.refresh.trainer import RefreshSettings, Step
from app.services import Services
from app.ui import learn_render, render
from app.ui.compare_form import QUIET
from app.ui.version_menu import called

SECONDS_BETWEEN_UPDATES = 0.2


def build_refresh_section(services: Services) -> dict[str, Any]:
    """Lays out the section."""
    usual = RefreshSettings()
    made: dict[str, Any] = {}
    with gr.Accordion("More settings", open=False), gr.Row():
        made["epochs"] = gr.Slider(
            0, 40, value=0, step=1, label="Epochs", info="How often every choice is seen; 0: few choices more often"
        )
        made["rate"] = gr.Number(
            usual.learning_rate, label="Learning rate", info="Suits the starter; a larger model wants a tenth or less"
        )
        made["beta"] = gr.Slider(
            0.01,
            1,
            value=usual.beta,
            step=0.01,
            label="Tether (beta)",
            info="Higher: stay closer to the original model",
        )
    made["with_imported"] = gr.Checkbox(False, label="Learn from imported pairs, too", elem_id="with-imported")
    with gr.Row():
        made["learn"] = gr.Button("Learn from my choices", variant="primary", elem_id="learn")
        made["cancel"] = gr.Button("Stop learning", interactive=False, elem_id="stop-learning")
    made["result"] = gr.HTML("", elem_id="learn-result")
    return made


def wire_refresh_section(
    services: Services,
    parts: dict[str, Any],
    scope: gr.Dropdown,
    token: gr.Textbox,
    shown: list[Any],
    lists: Callable[[str], dict],
) -> None:
    """Wires it.

    Args:
        parts: of `build_refresh_section`.
        scope, token: whose choices, and the owner's token.
        shown: the tab's components that `lists` gives new values for, by scope.
        lists: see `shown`.
    """
    learn, cancel, result = parts["learn"], parts["cancel"], parts["result"]

    def run(scope: str, token: str, epochs: int, rate: float, beta: float, with_imported: bool) -> Iterator[dict]:
        yield {
            learn: gr.Button(interactive=False),
            cancel: gr.Button(interactive=True),
            result: render.status("Reading the choices …"),
        }
        shown = ""
        try:
            settings = checked(RefreshSettings, epochs=epochs or None, learning_rate=rate, beta=beta)
            steps, shown_at = [], 0.0
            before = called(services.versions.in_use(scope))
            for item in services.owner.refresh(scope, settings, token, with_imported):
                if not isinstance(item, Step):
                    shown = learn_render.outcome(item, steps, before)
                    continue
                steps.append(item)
                if time.monotonic() - shown_at > SECONDS_BETWEEN_UPDATES:
                    shown_at = time.monotonic()
                    yield {result: learn_render.training(steps)}
        except PlumblineError as error:
            shown = render.failure(error)
        yield {learn: gr.Button(interactive=True), cancel: gr.Button(interactive=False), result: shown, **lists(scope)}

    def stopped(scope: str) -> dict:
        line = "Learning was stopped. The version in use stays as it was."
        return {
            learn: gr.Button(interactive=True),
            cancel: gr.Button(interactive=False),
            result: render.status(line),
            **lists(scope),
        }

    outputs = [learn, cancel, result, *shown]
    asked = [scope, token, *(parts[name] for name in ("epochs", "rate", "beta", "with_imported"))]
    running = learn.click(run, asked, outputs, concurrency_limit=4, trigger_mode="once", **QUIET)
    cancel.click(stopped, scope, outputs, cancels=[running], **QUIET)
