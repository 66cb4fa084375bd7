"""The tab *Learn*: choices to a new version, before and after, publish and rollback. Layout and wiring only."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.errors import PlumblineError, checked
from app.refresh.pairs import FEWEST_PAIRS, FEWEST_PROMPTS
from app.refresh.trainer import RefreshSettings, Step
from app.services import Services
from app.ui import render
from app.ui.online_section import build_online_section
from app.ui.versions_section import build_versions_section

ALL = ""


def build_learn_tab(services: Services) -> dict[str, gr.components.Component]:
    """Lays out the tab and wires it; returns the components that other parts of the page refresh."""
    needs_token = services.settings.admin_token is not None
    gr.HTML(
        f'<div class="pl-card"><h3>Learn from choices</h3>Every clear choice becomes a pair: this answer rather than that one. From {FEWEST_PAIRS} pairs on '
        f"{FEWEST_PROMPTS} prompts on, a small add-on to the model (a LoRA adapter, trained with DPO) learns what was preferred, "
        "<b>without the principle in the prompt</b>: the plain model takes on the taste. It takes seconds to a minute, and nothing is overwritten.</div>"
    )
    with gr.Row(equal_height=True):
        scope = gr.Dropdown(_scopes(services), value=ALL, label="Choices of", elem_id="scope")
        count = gr.HTML(_count(services, ALL), elem_id="pair-count")
    token = gr.Textbox(
        label="Owner's token",
        type="password",
        visible=needs_token,
        info="Publishing, rollback and adapter files are the owner's here",
        elem_id="token",
    )
    usual = RefreshSettings()
    with gr.Accordion("More settings", open=False), gr.Row():
        epochs = gr.Slider(
            0, 40, value=0, step=1, label="Epochs", info="How often every choice is seen; 0: few choices more often"
        )
        rate = gr.Number(
            usual.learning_rate, label="Learning rate", info="Suits the starter; a larger model wants a tenth or less"
        )
        beta = gr.Slider(
            0.01,
            1,
            value=usual.beta,
            step=0.01,
            label="Tether (beta)",
            info="Higher: stay closer to the original model",
        )
    with_imported = gr.Checkbox(False, label="Learn from imported pairs, too", elem_id="with-imported")
    with gr.Row():
        learn = gr.Button("Learn from my choices", variant="primary", elem_id="learn")
        cancel = gr.Button("Stop learning", interactive=False, elem_id="stop-learning")
    result = gr.HTML("", elem_id="learn-result")
    table = gr.HTML(_versions(services, ALL), elem_id="versions")
    with gr.Row():
        chosen = gr.Dropdown(
            _version_names(services), value="none", label="Answer with this version from now on", elem_id="use-version"
        )
        use = gr.Button("Use it", elem_id="use")

    def run(scope: str, token: str, epochs: int, rate: float, beta: float, with_imported: bool) -> Iterator[dict]:
        yield {
            learn: gr.Button(interactive=False),
            cancel: gr.Button(interactive=True),
            result: render.status("Reading the choices …"),
        }
        shown: str = ""
        try:
            settings = checked(RefreshSettings, epochs=epochs or None, learning_rate=rate, beta=beta)
            for item in services.owner.refresh(scope, settings, token, with_imported):
                shown = render.training(item) if isinstance(item, Step) else render.outcome(item)
                yield {result: shown}
        except PlumblineError as error:
            shown = render.failure(error)
        yield {learn: gr.Button(interactive=True), cancel: gr.Button(interactive=False), result: shown, **_lists(scope)}

    def stopped(scope: str) -> dict:
        return {learn: gr.Button(interactive=True), cancel: gr.Button(interactive=False),
                result: render.status("Learning was stopped. The version in use stays as it was."), **_lists(scope)}  # fmt: skip

    def change(version: str, scope: str, token: str) -> dict:
        try:
            services.learn.use(scope, version, token)
        except PlumblineError as error:
            return {result: render.failure(error)}
        name = "the original model" if version == "none" else f"version {version}"
        return {
            result: render.status(f"From now on {_scope_names(services).get(scope, scope)}: answers come from {name}."),
            **_lists(scope),
        }

    def _lists(scope: str) -> dict:
        return {
            table: _versions(services, scope),
            chosen: gr.Dropdown(_version_names(services), value=services.versions.in_use(scope) or "none"),
            count: _count(services, scope),
        }

    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    shown = [learn, cancel, result, table, chosen, count]
    running = learn.click(
        run, [scope, token, epochs, rate, beta, with_imported], shown, concurrency_limit=4, trigger_mode="once", **quiet
    )
    cancel.click(stopped, scope, shown, cancels=[running], **quiet)
    use.click(change, [chosen, scope, token], shown, **quiet)
    scope.input(lambda scope: _lists(scope), scope, [table, chosen, count], **quiet)
    build_online_section(services, scope, token, [table, chosen, count], _lists)
    build_versions_section(services, scope, token, table, [table, chosen, count], _lists)
    return {"scope": scope, "count": count, "table": table, "chosen": chosen}


def refreshed_lists(services: Services, scope: str) -> list[Any]:
    """Scope menu, count, table and version menu as they are now."""
    return [
        gr.Dropdown(_scopes(services)),
        _count(services, scope),
        _versions(services, scope),
        gr.Dropdown(_version_names(services), value=services.versions.in_use(scope) or "none"),
    ]


def _scope_names(services: Services) -> dict[str, str]:
    return {ALL: "all personas", **{id_: persona.name for id_, persona in services.catalogue.all().items()}}


def _scopes(services: Services) -> list[tuple[str, str]]:
    return [(name, id_) for id_, name in _scope_names(services).items()]


def _count(services: Services, scope: str) -> str:
    pairs = services.learn.pairs(scope or None)
    missing = max(FEWEST_PAIRS - len(pairs), FEWEST_PROMPTS - len({pair.prompt for pair in pairs}))
    need = f"{missing} more needed before it can learn." if missing > 0 else "Enough to learn from; more make it surer."
    return render.status(f"{len(pairs)} clear choice{'' if len(pairs) == 1 else 's'}. {need}")


def _versions(services: Services, scope: str) -> str:
    return render.versions(services.store.versions(), services.store.uses(), _scope_names(services))


def _version_names(services: Services) -> list[tuple[str, str]]:
    return [("the original model", "none"), *((v.id, v.id) for v in services.versions.listed())]
