"""How strongly a version answers, and mixtures of several, as sliders that write a version expression. Layout and wiring only."""

from typing import Any

import gradio as gr

from app import blends
from app.errors import InputError, PlumblineError
from app.label import rater_of
from app.services import Services
from app.ui import render
from app.ui.compare_form import QUIET
from app.ui.version_menu import called, version_ids

INTRO = (
    '<div class="pl-preview">What a version learnt is a step away from the original model. <b>Strength</b> makes the step shorter or goes on in '
    "the same direction (ExPO, arXiv 2404.16792); a <b>mixture</b> takes several steps at once (Personalized Soups, arXiv 2310.11564). Nothing is "
    "learnt or stored; far out, the language breaks.</div>"
)


def build_blend_section(
    services: Services,
    changed: list[Any],
    compare_version: gr.Dropdown,
    duel_side: gr.Dropdown,
    rater: gr.BrowserState,
) -> None:
    """Lays out the accordion and wires it.

    Args:
        services: the use cases.
        changed: the events after which there may be other versions.
        compare_version: what answers on the tab Compare.
        duel_side: one side of the comparison of versions.
        rater: the secret that the browser keeps.
    """
    with gr.Accordion("Strength and mixture of versions (ExPO, soups)", open=False, elem_id="blend-section"):
        gr.HTML(INTRO)
        with gr.Row():
            # Any value: Gradio would compare it with the list as it was when the page was built; the use case checks it.
            one = gr.Dropdown(
                version_ids(services), value=None, label="Version", allow_custom_value=True, elem_id="blend-version"
            )
            alpha = gr.Slider(
                -1,
                blends.WEIGHT_AT_MOST - 1,
                value=0,
                step=0.05,
                label="Strength (alpha)",
                info="-1 is the original model, 0 the version itself, above 0 further the same way",
                elem_id="blend-alpha",
            )
        several = gr.Dropdown(
            version_ids(services),
            value=[],
            multiselect=True,
            max_choices=blends.PARTS_AT_MOST,
            allow_custom_value=True,
            label="Or mix several",
            info=f"{blends.PARTS_AT_MOST} at most; equal shares are their mean",
            elem_id="blend-parts",
        )
        with gr.Row():
            shares = [
                gr.Slider(0, 1.5, value=0, step=0.05, label="Share", visible=False, min_width=180, elem_id=f"share-{i}")
                for i in range(blends.PARTS_AT_MOST)
            ]
        with gr.Row(elem_classes="pl-beside"):
            expression = gr.Textbox(
                "none", label="Version expression", info="Can be written by hand, too", elem_id="expression"
            )
            to_compare = gr.Button("Answer with it on the tab Compare", min_width=200, elem_id="blend-to-compare")
            to_duel = gr.Button("Compare it, above", min_width=160, elem_id="blend-to-duel")
        line = gr.HTML(render.status("Nothing is mixed yet."), elem_id="blend-status")

    def strengthened(version: str | None, alpha: float) -> Any:
        return blends.expo(version, alpha) if version else gr.skip()

    def parted(versions: list[str]) -> list[Any]:
        equal = round(1 / len(versions), 2) if versions else 0
        sliders = [
            gr.Slider(label=f"Share of {versions[i]}", value=equal, visible=True)
            if i < len(versions)
            else gr.Slider(value=0, visible=False)
            for i in range(blends.PARTS_AT_MOST)
        ]
        return [*sliders, mixed(versions, *[equal] * blends.PARTS_AT_MOST)]

    def mixed(versions: list[str], *weights: float) -> Any:
        return blends.soup(dict(zip(versions, weights, strict=False))) if versions else gr.skip()

    def menus(secret: str) -> list[Any]:
        return [gr.Dropdown(version_ids(services, rater_of(secret))) for _ in range(2)]

    def hand_over(expression: str, secret: str, where: str) -> list[Any]:
        try:
            if not expression.strip():
                raise InputError("the version expression is empty; move a slider, or write one such as v3*1.5")
            name = services.compare.resolve_adapter(expression, "", rater_of(secret)) or "none"
        except PlumblineError as error:
            return [gr.skip(), render.failure(error)]
        return [gr.Dropdown(value=name), render.status(f"{where} {called(name)}.")]

    for moved in (one.change, alpha.change):
        moved(_told(strengthened), [one, alpha], [expression, line], trigger_mode="always_last", **QUIET)
    several.change(parted, several, [*shares, expression], **QUIET)
    for slider in shares:
        slider.change(_told(mixed), [several, *shares], [expression, line], trigger_mode="always_last", **QUIET)
    to_compare.click(
        lambda text, secret: hand_over(
            text, secret, "On the tab Compare, every way of answering comes from now on from"
        ),
        [expression, rater],
        [compare_version, line],
        **QUIET,
    )
    to_duel.click(
        lambda text, secret: hand_over(text, secret, "The other side of the comparison above is now"),
        [expression, rater],
        [duel_side, line],
        **QUIET,
    )
    gr.on(changed, menus, rater, [one, several], **QUIET)


def _told(work: Any) -> Any:
    def handler(*values: Any) -> list[Any]:
        try:
            return [work(*values), gr.skip()]
        except PlumblineError as error:
            return [gr.skip(), render.failure(error)]

    return handler
