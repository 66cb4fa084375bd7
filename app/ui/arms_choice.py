"""Which ways of answering stand side by side and which two the vote is between, as parts of the form. Knows arms by name, no round."""

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from app.compare import VOTED_ARMS
from app.decoding.arms import ARM_NAMES, OFFERED_ARMS
from app.errors import InputError
from app.ui.render import ARM_EXPLANATIONS, ARM_TITLES

PANES_AT_MOST = 4
# Titles and no names: while a blind round waits for its vote, the page is to name no arm.
CHOICES = [(ARM_TITLES[arm], arm) for arm in OFFERED_ARMS]


def build_arms_choice() -> dict[str, Any]:
    """Lays out both menus and what each way of answering is."""
    shown = gr.Dropdown(
        CHOICES,
        value=list(ARM_NAMES),
        multiselect=True,
        max_choices=PANES_AT_MOST,
        label="Ways of answering, side by side (arms)",
        info=f"{PANES_AT_MOST} at most; a blind comparison shows the two of the vote",
        elem_id="arms",
    )
    voted = gr.Dropdown(
        CHOICES,
        value=list(VOTED_ARMS),
        multiselect=True,
        max_choices=2,
        label="The vote is between",
        elem_id="voted",
    )
    told = "".join(f"<dt>{ARM_TITLES[arm]}</dt><dd>{escape(ARM_EXPLANATIONS[arm])}</dd>" for arm in OFFERED_ARMS)
    gr.HTML(f'<details class="pl-arms"><summary>What each of them is</summary><dl>{told}</dl></details>')
    return {"arms": shown, "voted": voted}


def in_order(arms: Sequence[str] | None) -> tuple[str, ...]:
    """The arms as they stand on the page from left to right."""
    return tuple(arm for arm in OFFERED_ARMS if arm in (arms or ()))


def chosen_arms(shown: Sequence[str] | None, voted: Sequence[str] | None, blind: bool) -> dict[str, tuple[str, ...]]:
    """`arms` and `voted_arms` of a request.

    Raises:
        InputError: the vote is not between two of the arms that are shown, or there are too many panes.
    """
    arms, pair = in_order(shown), in_order(voted)
    if len(pair) != 2:
        raise InputError(
            f"the vote is between {', '.join(ARM_TITLES[arm] for arm in pair) or 'none'}; choose two ways of answering for it"
        )
    if blind:
        return {"arms": pair, "voted_arms": pair}
    if hidden := [ARM_TITLES[arm] for arm in pair if arm not in arms]:
        raise InputError(
            f"the vote is between {ARM_TITLES[pair[0]]} and {ARM_TITLES[pair[1]]}, and {' and '.join(hidden)} would not be shown; "
            "add it to the ways of answering, or vote between others"
        )
    if len(arms) > PANES_AT_MOST:
        raise InputError(f"{len(arms)} ways of answering were chosen; {PANES_AT_MOST} are the most side by side")
    return {"arms": arms, "voted_arms": pair}
