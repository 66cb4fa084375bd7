"""The part *A version of your own* of the tab Learn, and its endpoints: what one rater's choices teach, for them alone. Layout and wiring."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import gradio as gr

from app.errors import PlumblineError
from app.label import rater_of
from app.private_refresh import MOST_PAIRS, OF_ONE_RATER
from app.refresh.pairs import FEWEST_PAIRS, FEWEST_PROMPTS
from app.refresh.trainer import Step
from app.services import Services
from app.ui import render
from app.ui.api import errors_for_the_client
from app.ui.compare_form import QUIET, refreshed_choices


def build_private_section(
    services: Services, rater: gr.BrowserState, tab: gr.Tab, menus: list[gr.components.Component]
) -> None:
    """Lays out the section and wires it.

    Args:
        services: the use cases.
        rater: the secret that the browser keeps.
        tab: that it stands in; opening it brings it up to date.
        menus: of the tab Compare, for personas and versions, as `refreshed_choices` fills them.
    """
    with gr.Accordion("A version of your own: what your choices alone teach", open=False, elem_id="private-section"):
        gr.HTML(
            '<div class="pl-preview">The model learns from <b>your</b> clear choices in Compare, in private: nobody else can see or use what '
            f"comes of it. You keep {OF_ONE_RATER}, a new one takes the place of the oldest, and they go when you delete your labels. "
            f"It takes {FEWEST_PAIRS} choices on {FEWEST_PROMPTS} prompts, and the newest {MOST_PAIRS} at most.</div>"
        )
        line = gr.HTML("", elem_id="private-status")
        with gr.Row():
            learn = gr.Button("Learn from my own choices", elem_id="private-learn")
            stop = gr.Button("Stop", interactive=False, elem_id="private-stop")
        with gr.Row(elem_classes="pl-beside"):
            # Any value: Gradio would compare it with the list as it was when the page was built; the use case checks it.
            chosen = gr.Dropdown(
                [], value=None, label="Versions of your own", allow_custom_value=True, elem_id="private-versions"
            )
            delete = gr.Button("Delete it", scale=0, min_width=120, elem_id="private-delete")

    def run(secret: str) -> Iterator[dict[Any, Any]]:
        yield {
            learn: gr.Button(interactive=False),
            stop: gr.Button(interactive=True),
            line: render.status("Reading your choices …"),
        }
        told = ""
        try:
            for item in services.private.refresh(rater_of(secret)):
                if isinstance(item, Step):
                    told = render.status(f"Learning: step {item.step} of {item.steps}, loss {item.loss:.3f}.")
                else:
                    told = render.status(
                        f"{item.version} is yours: of {item.after.n} of your choices that were kept aside, {item.after.value:.0%} come out "
                        f"right (before: {item.before.value:.0%}). Try it in Compare, under More settings: answers come from {item.version}."
                    )
                yield {line: told}
        except PlumblineError as error:
            told = render.failure(error)
        yield {learn: gr.Button(interactive=True), stop: gr.Button(interactive=False), line: told, **listed(secret)}

    def stopped(secret: str) -> dict[Any, Any]:
        told = render.status("Learning was stopped; nothing was kept.")
        return {learn: gr.Button(interactive=True), stop: gr.Button(interactive=False), line: told}

    def remove(version: str | None, secret: str) -> dict[Any, Any]:
        try:
            services.private.delete(version or "", rater_of(secret))
        except PlumblineError as error:
            return {line: render.failure(error)}
        return {line: render.status(f"Version {version} is deleted."), **listed(secret)}

    def listed(secret: str) -> dict[Any, Any]:
        own = services.private.versions(rater_of(secret))
        names = [(f"{v.id}: learnt from {v.pairs_train} of your choices", v.id) for v in own]
        return {
            chosen: gr.Dropdown(names, value=None),
            **dict(zip(menus, refreshed_choices(services, rater_of(secret)), strict=True)),
        }

    changed = [line, chosen, *menus]
    running = learn.click(run, rater, [learn, stop, *changed], concurrency_limit=4, trigger_mode="once", **QUIET)
    stop.click(stopped, rater, [learn, stop, line], cancels=[running], **QUIET)
    delete.click(remove, [chosen, rater], changed, **QUIET)
    tab.select(lambda secret: listed(secret)[chosen], rater, chosen, **QUIET)


def add_private_endpoints(services: Services) -> None:
    """Adds `/my_refresh`, `/my_versions` and `/delete_my_version` to the page that is being built."""

    def my_refresh(rater: str, persona: str = "") -> dict[str, Any]:
        """Learns from your own choices alone; the version is yours, and /compare takes it as `adapter` together with your secret.

        Args:
            rater: the secret that you voted with.
            persona: id of one whose choices are meant, or empty for all.

        Returns:
            version, pairs_train, pairs_heldout, before, after, losses, seconds, published (false), reason, samples.
        """
        with errors_for_the_client():
            if persona:
                services.catalogue.seen(persona, rater_of(str(rater or "")))
            *_, outcome = services.private.refresh(rater_of(str(rater or "")), persona)
        return asdict(outcome)

    def my_versions(rater: str) -> list[dict[str, Any]]:
        """The versions that are yours alone, newest first.

        Args:
            rater: your secret.
        """
        with errors_for_the_client():
            own = services.private.versions(rater_of(str(rater or "")))
        return [{"version": v.id, "persona": v.scope, "pairs_train": v.pairs_train, "created": v.created} for v in own]

    def delete_my_version(version: str, rater: str) -> dict[str, Any]:
        """Deletes a version of yours for good.

        Args:
            version: such as v3.
            rater: your secret.
        """
        with errors_for_the_client():
            services.private.delete(str(version), rater_of(str(rater or "")))
        return {"deleted": version}

    gr.api(my_refresh, api_name="my_refresh", concurrency_limit=4)
    for function in (my_versions, delete_my_version):
        gr.api(function, api_name=function.__name__, concurrency_limit=16)
