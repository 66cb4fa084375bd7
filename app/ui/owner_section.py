"""What every section of the owner's tab gives to it: the components that hold what only the owner sees, and how to fill them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class OwnerSection:
    """A section of the tab.

    components: menus and HTML that are empty for everybody else.
    refreshed: their new values, for the owner's token or key; raises NotAllowedError for any other.
    """

    components: list[gr.components.Component]
    refreshed: Callable[[str], dict[Any, Any]]
