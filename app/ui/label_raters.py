"""The part *You and your labels* of the tab Label: the code for another browser, what one labelled, and how to delete it. Layout and wiring.

Also who is asking: the secret that the browser keeps, or the login of a hosted page.
"""

import os
from typing import Any

import gradio as gr

from app.errors import InputError, PlumblineError
from app.label import rater_of
from app.raters import checked_code
from app.services import Services
from app.ui import label_render, render

CONFIRMATION = "DELETE"


def rater_id(services: Services, secret: str, profile: gr.OAuthProfile | None) -> str:
    """Who is asking, as it is stored; empty where a browser has no secret yet."""
    return services.raters.hosted_rater(profile.username) if profile else rater_of(secret)


def build_raters_section(services: Services, rater: gr.BrowserState, again: dict[str, Any]) -> None:
    """Lays out the section and wires it.

    Args:
        services: the use cases.
        rater: the secret that the browser keeps.
        again: the event, as keywords, that brings the room up to date after the rater has changed.
    """
    with gr.Accordion("You and your labels", open=False, elem_id="label-you") as section:
        line = gr.HTML("", elem_id="label-you-status")
        # A Space whose card does not ask for `hf_oauth` has no client, and Gradio would refuse to start.
        if os.environ.get("SPACE_ID") and os.environ.get("OAUTH_CLIENT_ID"):
            gr.LoginButton("Sign in with Hugging Face, to label as the same person everywhere", elem_id="label-login")
        with gr.Row(equal_height=False):
            with gr.Column(min_width=280):
                code = gr.Textbox(
                    label="Your code",
                    info="Whoever has it is you: use it in another browser, and keep it to yourself",
                    interactive=False,
                    buttons=["copy"],
                    elem_id="label-code",
                )
            with gr.Column(min_width=280):
                other = gr.Textbox(
                    label="I have a code",
                    info="Go on here as the person that it belongs to",
                    max_lines=1,
                    elem_id="label-other-code",
                )
                take = gr.Button("Use this code", size="sm", elem_id="label-use-code")
        list_them = gr.Button("Show me my labels", elem_id="label-show-mine")
        mine = gr.HTML("", elem_id="label-mine")
        with gr.Row(elem_classes="pl-beside"):
            confirmation = gr.Textbox(
                label=f"To delete all of your labels, type {CONFIRMATION}",
                info="Votes, reasons, edited answers and your consent go for good, out of exports, too",
                max_lines=1,
                elem_id="label-confirm",
            )
            delete = gr.Button("Delete my labels", variant="stop", scale=0, min_width=200, elem_id="label-delete")

    def tell_code(secret: str, profile: gr.OAuthProfile | None) -> gr.Textbox:
        return gr.Textbox(secret, visible=profile is None)  # who is signed in needs none

    def use_code(typed: str, secret: str) -> list[Any]:
        try:
            wanted = checked_code(typed)
        except PlumblineError as error:
            return [gr.skip(), gr.skip(), typed, render.failure(error)]
        text = "From now on you label here as the person whom that code belongs to."
        if wanted != secret:
            text += f" The code that this browser had before was {secret}: keep it if you want to go back to it."
        return [wanted, wanted, "", render.status(text)]

    def labels(secret: str, profile: gr.OAuthProfile | None) -> list[Any]:
        found = services.raters.labels(rater_id(services, secret, profile))
        count = f"{len(found)} label{'' if len(found) == 1 else 's'}"
        return [label_render.labels(found), render.status(f"You have made {count}.")]

    def remove(typed: str, secret: str, profile: gr.OAuthProfile | None) -> list[Any]:
        try:
            if typed.strip() != CONFIRMATION:
                raise InputError(
                    f"nothing was deleted: what was typed is {typed[:20]!r}; type {CONFIRMATION}, in capitals, to delete"
                )
            gone = services.raters.delete_labels(rater_id(services, secret, profile))
        except PlumblineError as error:
            return [typed, gr.skip(), render.failure(error)]
        text = f"Deleted for good: {gone.votes} label{'' if gone.votes == 1 else 's'}, your consent, and {gone.rounds} comparisons of your own."
        return ["", "", render.status(text)]

    quiet = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    section.expand(tell_code, rater, code, **quiet)
    taking = gr.on([take.click, other.submit], use_code, [other, rater], [rater, code, other, line], **quiet)
    taking.then(**again)
    list_them.click(labels, rater, [mine, line], **quiet)
    deleting = delete.click(remove, [confirmation, rater], [confirmation, mine, line], **quiet)
    deleting.then(**again)
