"""Plumbline: `python app.py` opens the page. The composition root: settings -> model, store, use cases -> `demo`."""

import sys

import gradio as gr

from app.errors import PlumblineError
from app.services import build
from app.settings import Settings
from app.ui.page import build_page, launch

if gr.NO_RELOAD:
    try:
        services = build(Settings())
        services.log.start()
        services.sync.start()
    except PlumblineError as error:
        sys.exit(f"plumbline: {error}")

demo = build_page(services)

if __name__ == "__main__":
    try:
        launch(demo)
    except PlumblineError as error:
        sys.exit(f"plumbline: {error}")
    except KeyboardInterrupt:  # before the server has begun to wait for it
        sys.exit(130)
