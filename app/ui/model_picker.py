"""The section *Model* of the tab Compare: which model answers, another one, what it needs, and the way back. Layout and wiring only."""

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from app.errors import PlumblineError
from app.models import PRESETS
from app.services import Services
from app.ui import render
from app.ui.compare_form import QUIET
from app.ui.model_render import needs_line, progress_line

EXPLAINED = (
    '<p class="pl-quiet">One model answers everybody here, and a change is for everybody. It is loaded beside the one that serves, which goes on '
    "if anything fails; answers that have begun finish on it. Weights are safetensors only, and no code of a model is ever run. After a restart "
    "<code>PLUMBLINE_MODEL</code> serves again.</p>"
)


def build_model_picker(
    services: Services,
    demo: gr.Blocks,
    rater: gr.BrowserState,
    menus: list[gr.components.Component],
    refreshed: Callable[[str], Any],
) -> None:
    """Lays out the section and wires it.

    Args:
        services: the use cases.
        demo: the page that it stands on.
        rater: the secret that the browser keeps.
        menus: what else on the page depends on the model.
        refreshed: returns their updates.
    """
    with gr.Accordion(_title(services), open=False, elem_id="model-picker") as fold:
        gr.HTML(EXPLAINED)
        with gr.Row(equal_height=True):
            name = gr.Dropdown(
                _names(services),
                value=services.models.now,
                allow_custom_value=True,
                label="Model",
                info="The starter, a model of the Hugging Face hub (owner/name), or a folder on the server",
                elem_id="model-name",
            )
            token = gr.Textbox(
                label="Owner's token",
                type="password",
                visible=services.settings.admin_token is not None,
                info="The model is the owner's choice here",
                elem_id="model-token",
            )
        with gr.Row():
            look = gr.Button("What does it need?", elem_id="model-look")
            use = gr.Button("Use this model", variant="primary", elem_id="model-use")
            back = gr.Button(**_way_back(services), elem_id="model-back")
        line = gr.HTML("", elem_id="model-line")

    def needs(name: str, token: str) -> str:
        try:
            return needs_line(services.models.needs(name, token))
        except PlumblineError as error:
            return render.failure(error)

    def choose(name: str, token: str) -> Iterator[dict]:
        yield {button: gr.Button(interactive=False) for button in (use, back)}
        shown = ""
        try:
            for progress in services.models.choose(name, token):
                shown = progress_line(progress, name)
                yield {line: shown}
        except PlumblineError as error:
            shown = render.failure(error)
        yield {line: shown, **now()}

    def go_back(token: str) -> Iterator[dict]:
        yield from choose(services.models.before or services.models.now, token)

    def now() -> dict:
        return {
            fold: gr.Accordion(label=_title(services)),
            name: gr.Dropdown(_names(services), value=services.models.now),
            use: gr.Button(interactive=True),
            back: gr.Button(**_way_back(services), interactive=True),
        }

    shown = [fold, name, use, back]
    changing = {"concurrency_limit": 4, **QUIET}
    look.click(needs, [name, token], line, **QUIET)
    for changed in (
        use.click(choose, [name, token], [line, *shown], **changing),
        back.click(go_back, token, [line, *shown], **changing),
    ):
        changed.then(refreshed, rater, menus, **QUIET)
    # Not the name: somebody may be typing one already.
    demo.load(
        lambda: [gr.Accordion(label=_title(services)), gr.Button(**_way_back(services))], None, [fold, back], **QUIET
    )


def _title(services: Services) -> str:
    return f"Model: {services.models.now}"


def _names(services: Services) -> list[str]:
    return list(dict.fromkeys([*PRESETS, *filter(None, [services.models.now, services.models.before])]))


def _way_back(services: Services) -> dict[str, Any]:
    return {"value": f"Back to {services.models.before}", "visible": bool(services.models.before)}
