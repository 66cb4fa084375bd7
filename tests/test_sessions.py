"""Calls over HTTP that name no session begin one each: the server keeps so many and no more."""

import socket

import gradio as gr
import httpx
import pytest

from app.limit_settings import LimitSettings
from app.limits import Limits
from app.ui import page
from app.ui.door import Door


def test_only_the_last_sessions_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(page, "SESSIONS_KEPT", 3)

    def call() -> str:
        return "here"

    with Door(Limits(LimitSettings(), str), 0) as demo:
        gr.api(call, api_name="call")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _, url, _ = page.launch(demo, port, prevent_thread_lock=True)
    try:
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
            for _ in range(8):
                event = http.post("gradio_api/call/call", json={"data": []}).json()["event_id"]
                assert '["here"]' in http.get(f"gradio_api/call/call/{event}").text
        assert len(demo.app.state_holder.session_data) <= 4  # Gradio looks before it adds
    finally:
        demo.close(verbose=False)
