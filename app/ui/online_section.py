"""The part *Let a judge choose* of the tab Learn: start, stop, live curves. Layout and wiring only."""

import threading
from collections.abc import Callable, Iterator

import gradio as gr

from app.errors import PlumblineError, checked
from app.online import OnlineOutcome
from app.refresh.feedback import OnlineSettings, OnlineStep
from app.services import Services
from app.ui import online_render, render
from app.ui.api import may_publish
from app.ui.online_api import asked_judge, judged_by, visitor

JUDGES = {
    "implicit": "The model itself: what the principle makes likelier (implicit judge)",
    "embedding": "Nearness in meaning to the principle (embedding judge)",
    "endpoint": "A chat model elsewhere; prompts and answers are sent to it (endpoint)",
}


def build_online_section(
    services: Services,
    scope: gr.Dropdown,
    token: gr.Textbox,
    rater: gr.BrowserState,
    lists: list[gr.components.Component],
    listed: Callable[[str], dict],
) -> None:
    """Lays out the section and wires it.

    Args:
        services: the use cases.
        scope, token: the tab's choice of persona and the owner's token.
        rater: the secret that the browser keeps.
        lists: what shows versions and counts.
        listed: from a scope to updates of `lists`, as a dictionary.
    """
    usual = OnlineSettings()
    with gr.Accordion("Let a judge choose (online AI feedback, OAIF)", open=False):
        gr.HTML(
            '<div class="pl-card">In place of your clicks, a judge chooses: the model answers every prompt twice, the judge says which answer '
            "follows the principle better, the model takes one small step towards it, and again. The judge's choices are stored as a judge's and "
            "never mixed with people's.</div>"
        )
        with gr.Row():
            judge = gr.Radio(
                [(JUDGES[name], name) for name in services.judges.names()],
                value="implicit",
                label="Who chooses (annotator)",
                elem_id="judge",
            )
            principle = gr.Textbox(
                label="What the judge goes by (principle)",
                info="Empty: the principle of the persona chosen above",
                placeholder="Prefer the shorter answer.",
                elem_id="judge-principle",
            )
        with gr.Row():
            steps = gr.Slider(1, 200, value=usual.steps, step=1, label="Steps at most")
            publish = gr.Checkbox(
                False,
                label="Answer with the new version",
                info="If the prompts kept aside speak for it",
                elem_id="judge-publish",
            )
        with gr.Row():
            start = gr.Button("Let the judge choose", variant="primary", elem_id="judge-start")
            stop = gr.Button("Stop and keep", interactive=False, elem_id="judge-stop")
            forget = gr.Button("Stop and forget", interactive=False, elem_id="judge-forget")
        result = gr.HTML("", elem_id="judge-result")

    at_work: dict[str, threading.Event] = {}

    def buttons(running: bool) -> dict:
        return {
            start: gr.Button(interactive=not running),
            stop: gr.Button("Stop and keep", interactive=running),
            forget: gr.Button(interactive=running),
        }

    def run(
        scope: str,
        token: str,
        judge: str,
        principle: str,
        steps: int,
        publish: bool,
        secret: str,
        request: gr.Request,
    ) -> Iterator[dict]:
        enough = at_work[request.session_hash] = threading.Event()
        shown, made = "", []
        try:
            yield {**buttons(running=True), result: render.status("Reading the prompts …")}
            owner = may_publish(services, token)
            chosen = asked_judge(services, judge, token)
            goes_by = judged_by(services, scope, principle, "principle")
            settings = checked(OnlineSettings, steps=steps)
            whose = "" if owner else visitor(secret)
            running = services.online.run(
                chosen, goes_by, scope, None, settings, publish and owner, samples=owner, rater=whose, enough=enough
            )
            for item in running:
                if isinstance(item, OnlineOutcome):
                    services.private.make_room(whose)
                    shown = online_render.outcome(item)
                elif isinstance(item, OnlineStep):
                    made.append(item)
                    shown = online_render.progress(made, None)
                else:
                    shown = online_render.progress(made, item)
                yield {result: shown}
        except PlumblineError as error:
            shown = render.failure(error)
        finally:
            at_work.pop(request.session_hash, None)
        yield {**buttons(running=False), result: shown, **listed(scope)}

    def stopping(request: gr.Request) -> gr.Button:
        if request.session_hash in at_work:
            at_work[request.session_hash].set()
        return gr.Button("Finishing this step …", interactive=False)

    def forgotten(scope: str) -> dict:
        line = "Stopped. The model answers as before; what the judge had chosen is kept."
        return {**buttons(running=False), result: render.status(line), **listed(scope)}

    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    outputs = [start, stop, forget, result, *lists]
    running = start.click(
        run,
        [scope, token, judge, principle, steps, publish, rater],
        outputs,
        concurrency_limit=4,
        trigger_mode="once",
        **quiet,
    )
    stop.click(stopping, None, stop, **quiet)
    forget.click(forgotten, scope, outputs, cancels=[running], **quiet)
