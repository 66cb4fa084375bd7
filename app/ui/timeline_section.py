"""The versions as a timeline, which one answers, the way back, and what each changed. Layout and wiring only."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from app.errors import NotFoundError, PlumblineError
from app.learn import Sample
from app.services import Services
from app.ui import learn_render, render
from app.ui.api import may_publish
from app.ui.compare_form import QUIET
from app.ui.timeline_render import timeline
from app.ui.version_menu import called, version_menu


def build_timeline_section(services: Services, scope_names: dict[str, str]) -> dict[str, Any]:
    """Lays out the section."""
    made: dict[str, Any] = {"table": gr.HTML(shown_timeline(services, scope_names), elem_id="versions")}
    made["result"] = gr.HTML("", elem_id="use-result")
    with gr.Row(elem_classes="pl-beside"):
        made["chosen"] = gr.Dropdown(
            version_menu(services), value="none", label="Answer with this version from now on", elem_id="use-version"
        )
        made["use"] = gr.Button("Use it", min_width=120, elem_id="use")
        made["look"] = gr.Button("Its answers before and after", min_width=200, elem_id="look")
        made["back"] = gr.Button("Roll back one step", min_width=160, elem_id="roll-back")
    made["samples"] = gr.HTML("", elem_id="version-samples")
    return made


def shown_timeline(services: Services, scope_names: dict[str, str]) -> str:
    """The timeline as it is now."""
    return timeline(services.store.versions(), services.store.uses(), scope_names)


def wire_timeline_section(
    services: Services,
    parts: dict[str, Any],
    scope: gr.Dropdown,
    token: gr.Textbox,
    shown: list[Any],
    lists: Callable[[str], dict],
    names: Callable[[], dict[str, str]],
) -> None:
    """Wires it.

    Args:
        parts: of `build_timeline_section`.
        scope, token: whose version, and the owner's token.
        shown: the tab's components that `lists` gives new values for, by scope.
        lists: see `shown`.
        names: what people call the scopes now.
    """
    result, samples = parts["result"], parts["samples"]

    def change(version: str, scope: str, token: str) -> dict:
        try:
            services.owner.use(scope, version, token)
        except PlumblineError as error:
            return {result: render.failure(error)}
        return told(scope, version)

    def back(scope: str, token: str) -> dict:
        try:
            version = services.owner.roll_back(scope, token)
        except PlumblineError as error:
            return {result: render.failure(error)}
        return told(scope, version)

    def told(scope: str, version: str) -> dict:
        line = f"From now on {names().get(scope, scope)}: answers come from {_written(version)}."
        return {result: render.status(line), **lists(scope)}

    def look(version: str, token: str) -> str:
        try:
            return _samples(services, version, token)
        except PlumblineError as error:
            return render.failure(error)

    outputs = [result, *shown]
    parts["use"].click(change, [parts["chosen"], scope, token], outputs, **QUIET)
    parts["back"].click(back, [scope, token], outputs, **QUIET)
    parts["look"].click(look, [parts["chosen"], token], samples, **QUIET)


def _samples(services: Services, version: str, token: str) -> str:
    if version in ("", "none"):
        raise NotFoundError("the original model has no answers before it; choose a version above")
    found = services.store.version(services.versions.checked(version))
    kept = [Sample(**row) for row in found.metrics.get("samples", [])]
    # Prompts that were kept aside are other people's words.
    if kept and not may_publish(services, token):
        kept = []
    if not kept:
        raise NotFoundError(
            f"the version {version} has no answers here that may be shown; compare it with another below, on a prompt of your own"
        )
    before = "what answered before" if found.parent is None else called(found.parent)
    return learn_render.samples(kept, f"Before: {before}", f"After: {version}")


def _written(version: str) -> str:
    return called(version) if version in ("", "none") else f"version {version}"
