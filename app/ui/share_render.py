"""Links, conversation and history around a round, as escaped HTML. Knows no Gradio and no use case's inside."""

import base64
import json
from html import escape
from typing import Any
from urllib.parse import quote

from storage.history import Past

ROLES = {"user": "You", "assistant": "The model"}
CHOSEN = {"": "not voted", "first": "first", "second": "second", "tie": "equally good", "both_bad": "both bad"}


def links(round_id: str, persona: str, document: dict[str, Any]) -> str:
    """What can be done with a round: its address, its persona's address, and the round itself as a file."""
    # The file is in the address itself: nothing has to be kept on the server for a download.
    data = base64.b64encode(json.dumps(document, ensure_ascii=False, indent=1).encode()).decode()
    of_persona = _copy(f"?persona={quote(persona)}", "Copy link to this persona") if persona else ""
    return (
        f'<div class="pl-links">{_copy(f"?r={quote(round_id)}", "Copy link to this round")}{of_persona}'
        f'<a class="pl-small" id="download-round" download="plumbline-{escape(round_id)}.json" href="data:application/json;base64,{data}">Download (JSON)</a></div>'
    )


def _copy(address: str, words: str) -> str:
    return f'<button type="button" class="pl-small" data-copy="{escape(address)}">{words}</button>'


def conversation(messages: list[tuple[str, str]]) -> str:
    """What was said so far; nothing for a conversation that begins."""
    if not messages:
        return ""
    said = "".join(f"<dt>{ROLES[role]}</dt><dd>{escape(text)}</dd>" for role, text in messages)
    return f'<section class="pl-card pl-talk" aria-label="The conversation so far"><dl>{said}</dl></section>'


def history(rounds: list[Past]) -> str:
    """One's own rounds, newest first. A blind one without a vote has no link: opening it would tell."""
    if not rounds:
        return '<p class="pl-quiet">Nothing yet: your comparisons will be listed here.</p>'
    return f'<ul class="pl-history">{"".join(_past(past) for past in rounds)}</ul>'


def _past(past: Past) -> str:
    prompt = escape(past.prompt if len(past.prompt) <= 120 else f"{past.prompt[:119]}…")
    told = not past.blind or past.choice
    named = f'<a href="?r={quote(past.id)}">{prompt}</a>' if told else prompt
    facts = [past.created[:16].replace("T", " "), past.persona, "blind" if past.blind else "", CHOSEN[past.choice]]
    return f"<li>{named}<small>{escape(' · '.join(filter(None, facts)))}</small></li>"
