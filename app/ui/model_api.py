"""The endpoint `/model`: which model answers, what another one would need, and the change to it. Thin: checks and work are the use case's."""

from typing import Any

import gradio as gr

from app.models import PRESETS
from app.services import Services
from app.ui.api import errors_for_the_client


def add_model_endpoint(services: Services) -> None:
    """Adds `/model` to the page that is being built."""

    def model(name: str = "", only_look: bool = False, token: str = "") -> dict[str, Any]:
        """Which model answers; with a name, the change to another one, for everybody.

        Args:
            name: starter, a folder on the server, or a hub id such as HuggingFaceTB/SmolLM2-135M-Instruct; empty changes nothing.
            only_look: say what the model of that name needs, and change nothing.
            token: the owner's, where one is set; only a name asks for it.

        Returns:
            model (its name), revision, before (the one that served before; empty: none), presets, and of a name that was given `needs`:
            parameters, dtype, and in bytes weights, cache (of one comparison) and free; fits.
        """
        needs = None
        with errors_for_the_client():
            if name and only_look:
                needs = services.models.needs(str(name), str(token or ""))
            elif name:
                *_, last = services.models.choose(str(name), str(token or ""))
                needs = last.needs
        serving = services.model
        return {
            "model": serving.name,
            "revision": serving.revision,
            "before": services.models.before,
            "presets": list(PRESETS),
            "needs": needs and needs.described(),
        }

    gr.api(model, api_name="model", concurrency_limit=4)
