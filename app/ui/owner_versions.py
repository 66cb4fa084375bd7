"""The part *What answers* of the tab Owner: learn from everybody's choices, publish, roll back; raters' own versions. Layout and wiring."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.errors import InputError, PlumblineError
from app.refresh.trainer import RefreshSettings, Step
from app.services import Services
from app.ui import owner_render, render
from app.ui.compare_form import QUIET
from app.ui.owner_section import OwnerSection

ALL, ORIGINAL = "", "none"


def build_versions_section(services: Services, key: gr.State) -> OwnerSection:
    """Lays out the section and wires it; `key` is what signing in left."""
    with gr.Accordion("What answers: learn, publish, roll back", open=True, elem_id="owner-versions"):
        line = gr.HTML("", elem_id="owner-versions-status")
        in_use = gr.HTML("", elem_id="owner-in-use")
        with gr.Row(elem_classes="pl-beside"):
            # Any value: Gradio would compare it with the list as it was when the page was built; the use cases check it.
            scope = gr.Dropdown([], value=None, label="For", allow_custom_value=True, elem_id="owner-scope")
            learn = gr.Button("Learn and publish", scale=0, min_width=200, elem_id="owner-learn")
            stop = gr.Button("Stop", scale=0, min_width=90, interactive=False, elem_id="owner-learn-stop")
        with gr.Row(elem_classes="pl-beside"):
            version = gr.Dropdown(
                [], value=None, label="Answer with this version", allow_custom_value=True, elem_id="owner-version"
            )
            publish = gr.Button("Publish", scale=0, min_width=130, elem_id="owner-publish")
            back = gr.Button("Roll back", scale=0, min_width=130, elem_id="owner-roll-back")
        own = gr.HTML("", elem_id="owner-private")
    components = [line, in_use, scope, version, own]

    def refreshed(given: str) -> dict[Any, Any]:
        return {
            scope: gr.Dropdown([(name, id_) for id_, name in _scopes(services).items()], value=ALL),
            **_shown(given),
        }

    def _shown(given: str) -> dict[Any, Any]:
        private = services.owner.private_versions(given)
        listed = [(v.id, v.id) for v in services.versions.listed()]
        theirs = [(f"{v.id} (a rater's own)", v.id) for v in private]
        names = _scopes(services)
        answering = {id_: services.versions.in_use(id_) for id_ in names}
        told = [
            f"{used or 'the original model'} for {names[id_]}" for id_, used in answering.items() if used or not id_
        ]
        return {
            version: gr.Dropdown([("the original model", ORIGINAL), *listed, *theirs], value=None),
            own: owner_render.private_versions(private, names),
            in_use: render.status(f"Answering now: {'; '.join(told)}."),
        }

    def run(asked: str | None, given: str) -> Iterator[dict[Any, Any]]:
        yield {
            learn: gr.Button(interactive=False),
            stop: gr.Button(interactive=True),
            line: render.status("Reading the choices …"),
        }
        idle = {learn: gr.Button(interactive=True), stop: gr.Button(interactive=False)}
        told = ""
        try:
            for item in services.owner.refresh(asked or ALL, RefreshSettings(), given):
                if isinstance(item, Step):
                    told = render.status(f"Learning: step {item.step} of {item.steps}, loss {item.loss:.3f}.")
                else:
                    told = render.status(f"Version {item.version} from {item.pairs_train} choices: {item.reason}.")
                yield {line: told}
            yield {**idle, line: told, **_shown(given)}
        except PlumblineError as error:
            yield {**idle, line: render.failure(error)}

    def stopped() -> list[Any]:
        told = render.status("Learning was stopped. The version in use stays as it was.")
        return [gr.Button(interactive=True), gr.Button(interactive=False), told]

    def choose(asked: str | None, wanted: str | None, given: str) -> dict[Any, Any]:
        try:
            if not wanted:
                raise InputError("no version was chosen; choose one, or the original model")
            services.owner.use(asked or ALL, wanted, given)
            return {line: render.status(_answered(asked or ALL, wanted)), **_shown(given)}
        except PlumblineError as error:
            return {line: render.failure(error)}

    def roll_back(asked: str | None, given: str) -> dict[Any, Any]:
        try:
            now = services.owner.roll_back(asked or ALL, given)
            return {line: render.status(_answered(asked or ALL, now or ORIGINAL)), **_shown(given)}
        except PlumblineError as error:
            return {line: render.failure(error)}

    def _answered(asked: str, wanted: str) -> str:
        name = "the original model" if wanted == ORIGINAL else f"version {wanted}"
        return f"From now on {_scopes(services).get(asked, asked)}: answers come from {name}."

    outputs = [learn, stop, *components]
    running = learn.click(run, [scope, key], outputs, concurrency_limit=4, trigger_mode="once", **QUIET)
    stop.click(stopped, None, [learn, stop, line], cancels=[running], **QUIET)
    publish.click(choose, [scope, version, key], components, **QUIET)
    back.click(roll_back, [scope, key], components, **QUIET)
    return OwnerSection(components, refreshed)


def _scopes(services: Services) -> dict[str, str]:
    return {ALL: "all personas", **{id_: persona.name for id_, persona in services.catalogue.all().items()}}
