"""Personas as escaped HTML: the library's cards, what is similar, what becomes of one's own. Knows no Gradio and no use case's inside.

Whatever carries `data-persona` chooses that persona when it is pressed, see `CHOOSE`.
"""

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from app.persona_search import Found
from app.prompts import frame
from personas import Persona
from storage.records import SavedPersona

# One listener for whatever the block comes to show.
CHOOSE = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-persona]");
  if (button) trigger("click", {persona: button.dataset.persona});
});
"""
QUIET_MILLISECONDS = 500
# A pause in the typing asks, not every key.
CHOOSE_AND_ASK = f"""{CHOOSE}
let pause = 0;
document.addEventListener("input", (event) => {{
  if (!event.target.closest?.("#principle")) return;
  clearTimeout(pause);
  pause = setTimeout(() => trigger("input"), {QUIET_MILLISECONDS});
}});
"""
LONGEST_LINE = 140


def cards(found: Sequence[Found], chosen: str = "") -> str:
    """The personas as a grid of cards, those near in meaning only after a line that says so."""
    if not found:
        return '<p class="pl-quiet">Nothing like that here. Write it as a principle of your own, below.</p>'
    named = [one for one in found if not one.by_meaning]
    near = [one for one in found if one.by_meaning]
    told = "Near in meaning:" if named else "The words stand in none; near in meaning:"
    return _grid(named, chosen) + (f'<p class="pl-quiet">{told}</p>{_grid(near, chosen)}' if near else "")


def _grid(found: Sequence[Found], chosen: str) -> str:
    return f'<ul class="pl-library">{"".join(_card(one, chosen) for one in found)}</ul>' if found else ""


def _card(found: Found, chosen: str) -> str:
    persona = found.persona
    here = persona.id == chosen
    tags = "".join(f"<span>{escape(tag)}</span>" for tag in found.tags)
    return (
        f'<li class="pl-persona{" pl-chosen" if here else ""}"><h4><button type="button" data-persona="{escape(persona.id)}"'
        f"{' aria-current=true' if here else ''}>{escape(persona.name)}</button></h4>"
        f'<p class="pl-says">{escape(_short(_principle(persona)))}</p>{_example(persona)}<p class="pl-tags">{tags}</p></li>'
    )


def _principle(persona: Persona | SavedPersona) -> str:
    more = "" if isinstance(persona, Persona) or not persona.mix else f" (and {len(persona.mix)} more)"
    return f"{frame(persona.principle, persona.framing)}{more}"


def _example(persona: Persona | SavedPersona) -> str:
    if not isinstance(persona, Persona) or not persona.example_answers:
        return ""
    prompt, answer = next(iter(persona.example_answers.items()))
    return f'<p class="pl-quoted"><b>{escape(prompt)}</b> {escape(_short(answer))}</p>'


def similar(personas: Sequence[Persona | SavedPersona]) -> str:
    """A line of personas that say nearly the same; its place stays when there is none."""
    if not personas:
        return '<p class="pl-similar">As you write, similar personas show here.</p>'
    buttons = "".join(
        f'<button type="button" class="pl-small" data-persona="{escape(p.id)}">{escape(p.name)}</button>'
        for p in personas
    )
    return f'<p class="pl-similar">Similar in the library: {buttons}</p>'


def kept(persona: SavedPersona | None) -> str:
    """Who sees one's own persona, and its link; nothing where none is chosen."""
    if persona is None:
        return '<p class="pl-quiet">Only you see what you save, and whoever you send its link to.</p>'
    if persona.public_approved and persona.public_wanted:
        seen = "Everybody finds it in the library."
    elif persona.public_wanted:
        seen = "Offered to everybody: the owner of this page looks at it first."
    else:
        seen = "Only you see it, and whoever you send its link to."
    address = escape(f"?persona={quote(persona.link)}")
    return (
        f'<div class="pl-links"><button type="button" class="pl-small" data-copy="{address}">Copy its link</button></div>'
        f'<p class="pl-quiet">{seen}</p>'
    )


def added(principles: Sequence[dict[str, Any]]) -> str:
    """What will be added to the prompt: one framed sentence, or several with their weights, {text, weight}."""
    if len(principles) == 1 and principles[0]["weight"] == 1:
        return f'<div class="pl-preview">Added to the prompt: <b>{escape(principles[0]["text"])}</b></div>'
    several = "".join(f"<li><span>{one['weight']:+g}</span> <b>{escape(one['text'])}</b></li>" for one in principles)
    return f'<div class="pl-preview">Mixed, each with its weight:<ul>{several}</ul></div>'


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE - 1].rstrip()}…"
