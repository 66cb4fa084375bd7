"""The page's one door: every call of every event and endpoint, public or private, comes through it.

Gradio's own `api_visibility="private"` hides an endpoint and does not close it. Here the visitor is named for the limits, what does not
fit is refused before anything looks at it, and the product's errors leave as sentences. It knows no tab.
"""

import os
import sys
from contextlib import nullcontext
from typing import Any

import gradio as gr
from gradio.exceptions import InvalidPathError
from starlette.routing import BaseRoute

from app.errors import InputError, PlumblineError
from app.limits import Limits, Visit, visiting
from app.ui.payload import fitting

ADDRESS, REFUSED = "plumbline_address", "plumbline_refused"


class Door(gr.Blocks):
    """A page of Gradio's with a door.

    Args:
        limits: what counts the visitors' calls.
        proxies: how many the owner has in front; see `client_address`.
        options: of `gr.Blocks`.
    """

    def __init__(self, limits: Limits, proxies: int, **options: Any):
        # After every call Gradio would sum up the last 10,000, for a page of figures that is off here: soon that takes longest of all.
        os.environ |= {"GRADIO_ANALYTICS_CACHE_FREQUENCY": str(sys.maxsize), "GRADIO_ANALYTICS_MAX_EVENTS": "1"}
        super().__init__(**options)
        self.limits, self.proxies = limits, proxies
        self.further_routes: list[BaseRoute] = []  # beside Gradio's own

    async def process_api(
        self,
        block_fn: Any,
        inputs: list[Any],
        state: Any = None,
        request: Any = None,
        iterator: Any = None,
        **more: Any,
    ) -> dict[str, Any]:
        """As Gradio's; a call that is refused raises an error with a sentence, which is not logged."""
        called = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        noted = _noted(request)
        visit = visiting(Visit(self.limits, noted.get(ADDRESS, ""))) if request is not None else nullcontext()
        try:
            if iterator is None:  # else these are the values of the beginning, and the function goes on
                inputs = fitting(called.fn, called.inputs, inputs)
            with visit:
                return await super().process_api(called, inputs, state, request, iterator, **more)
        except PlumblineError as error:
            noted[REFUSED] = True
            raise gr.Error(str(error), print_exception=False) from error
        except InvalidPathError as error:
            noted[REFUSED] = True
            raise gr.Error(str(_NOT_UPLOADED), print_exception=False) from error
        except gr.Error as error:
            # A field's own check, such as a value that a menu does not offer.
            noted[REFUSED] = True
            error.print_exception = False
            raise


_NOT_UPLOADED = InputError("the file that was named was not uploaded here; choose it again")


def _noted(request: gr.Request | None) -> dict[str, Any]:
    """What the guard noted of a request, and where this door notes for it."""
    scope = getattr(getattr(request, "request", None), "scope", None)
    return {} if scope is None else scope.setdefault("state", {})
