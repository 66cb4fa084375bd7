"""The section *Strength sweep* of the tab *Compare*: one prompt at every strength. Layout and wiring only."""

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.errors import PlumblineError
from app.label import rater_of
from app.services import Services
from app.serving import Place
from app.ui import render, sweep_render
from app.ui.compare_form import QUIET, Form, request_of
from app.ui.compare_panes import in_line

SECONDS_BETWEEN_UPDATES = 0.2
OVER = [("Strength (ratio)", "ratio"), ("Limit of the pull (KL budget)", "kl_budget")]


def build_sweep_section(services: Services, form: Form, messages: gr.State, rater: gr.BrowserState) -> None:
    """Lays out the section and wires it; it asks what the form says, after the conversation in `messages`, for who `rater` says."""
    with gr.Accordion("Strength sweep: the same prompt at every strength", open=False, elem_id="sweep-section"):
        with gr.Row():
            over = gr.Radio(OVER, value="ratio", label="Sweep over", elem_id="sweep-over", min_width=240)
            start = gr.Button("Sweep", elem_id="sweep", min_width=120)
            stop = gr.Button("Stop the sweep", elem_id="sweep-stop", min_width=120)
        status = gr.HTML(
            render.status("Seven aligned answers are written together; it takes about as long as a comparison or two."),
            elem_id="sweep-status",
        )
        result = gr.HTML("", elem_id="sweep-result")

    def sweep(*values: Any) -> Iterator[dict]:
        *asked, over, said, secret = values
        yield {start: gr.Button(interactive=False), status: render.status("Writing …")}
        shown_at, points = 0.0, []
        try:
            request = request_of(services, asked, said)
            for item in services.sweep.run(request, over, rater_of(secret)):
                if isinstance(item, Place):
                    yield {status: render.status(in_line(item.number))}
                    continue
                points = item
                if time.monotonic() - shown_at > SECONDS_BETWEEN_UPDATES:
                    shown_at = time.monotonic()
                    yield {result: sweep_render.sweep(points, over)}
        except PlumblineError as error:
            yield {start: gr.Button(interactive=True), status: render.failure(error)}
            return
        done = render.status(f"Written with seed {request.settings.seed}.")
        yield {start: gr.Button(interactive=True), status: done, result: sweep_render.sweep(points, over)}

    def given_up() -> list[Any]:
        return [gr.Button(interactive=True), render.status("The sweep has ended early.")]

    inputs = [*form.asked, over, messages, rater]
    running = start.click(sweep, inputs, [start, status, result], concurrency_limit=4, trigger_mode="once", **QUIET)
    running.failure(given_up, None, [start, status], **QUIET)
    stop.click(given_up, None, [start, status], cancels=[running], **QUIET)
