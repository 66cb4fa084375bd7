"""The endpoint `/sync_status`: how far the Hub sync has come."""

from typing import Any

import gradio as gr

from app.services import Services
from app.ui.api import errors_for_the_client


def add_sync_endpoint(services: Services) -> None:
    """Adds `/sync_status` to the page that is being built."""

    def sync_status() -> dict[str, Any]:
        """How far the Hub sync has come.

        Returns:
            on, dataset (empty: off), last_synced (UTC; empty: never), waiting (changes that are not yet in the dataset), fault (why
            the last attempt failed; empty: it did not), unreadable (lines of the dataset that were left out), loses_all (whether
            everything is lost when this machine restarts: a Space without a volume, and the sync is off).
        """
        with errors_for_the_client():
            return {**services.sync.status().described(), "loses_all": services.sync.loses_all}

    gr.api(sync_status, api_name="sync_status", concurrency_limit=16)
