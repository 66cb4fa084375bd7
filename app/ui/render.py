"""Values to HTML, as pure functions; every text of a model or a person is escaped here. Knows no Gradio and no use case's inside."""

from dataclasses import dataclass
from html import escape

from app.errors import PlumblineError
from app.ui import pull_render
from app.ui.pull_render import Pull
from storage.records import Answer

ARM_TITLES = {
    "baseline": "Plain",
    "principle_prompted": "Asked",
    "linear_aligned": "Aligned",
    "amulet": "Amulet",
    "adapter_guided": "Re-ranked",
    "best_of_n": "Best of n",
}
ARM_EXPLANATIONS = {
    "baseline": "The model answers without your principle.",
    "principle_prompted": "The same model is told the principle in its prompt.",
    "linear_aligned": "At every word, the difference that the principle makes is taken further. No training.",
    "amulet": "At every word, the principle and the model play a short game until they settle (Amulet, arXiv 2502.19148). A strong pull: a small model may stumble.",
    "adapter_guided": "A learnt version re-ranks the original model's likeliest words; your principle is not told (PAD, arXiv 2410.04070).",
    "best_of_n": "The asked model answers several times, and as its own judge keeps the answer that fits best (best of n). Slow.",
}
HEADER = """
<header class="pl-head">
<svg viewBox="0 0 34 74" aria-hidden="true"><line x1="17" y1="0" x2="17" y2="50" stroke="currentColor" stroke-width="1.6"/>
<path d="M10 48h14l-2 12-5 13-5-13z" fill="var(--pl-brass)"/><rect x="12" y="44" width="10" height="5" rx="1.5" fill="currentColor"/></svg>
<div><h1>Plumbline</h1><p>Say what a good answer is, and see one language model answer three ways: plainly, asked to follow you, and
<em>pulled</em> towards you word by word. Pick the better answer a few times, and the model learns your taste.</p></div>
</header>
"""
COPY = '<button type="button" class="pl-small" data-copy="">Copy</button>'
FINISHED = {
    "end": "",
    "length": "stopped at the length limit",
    "cancelled": "stopped by you",
    "deadline": "stopped: it took too long",
}


@dataclass(frozen=True)
class Pane:
    """One answer as it is shown. `arm` is empty while a blind round hides it, and then nothing of it is in the markup.

    steps: where the arm stands on the way from plain (0) over asked (1) to aligned (1 + ratio); None where that is hidden.
    towards: what the way leads to.
    pull: how far the principle moved every token; None where it was not traced.
    """

    title: str
    what: str
    answer: Answer | None
    arm: str = ""
    picked: bool = False
    steps: float | None = None
    pull: Pull | None = None
    towards: str = "the principle"


def panes(items: list[Pane]) -> str:
    """The answers side by side; on a narrow screen below each other."""
    four = " pl-four" if len(items) == 4 else ""
    return f'<div class="pl-panes{four}">{"".join(_pane(item) for item in items)}</div>'


def arm_title(name: str) -> str:
    """What a person calls an arm, with the version that answered where the name tells it, as `baseline @ v3` does."""
    arm, _, version = name.partition(" @ ")
    title = ARM_TITLES.get(arm, arm)
    return f"{title} of {version}" if version else title


def _pane(pane: Pane) -> str:
    classes = " ".join(
        [
            "pl-pane",
            *([f"pl-{escape(pane.arm.partition(' @ ')[0])}"] if pane.arm else []),
            *(["pl-picked"] if pane.picked else []),
        ]
    )
    term = f"<code>{escape(pane.arm)}</code>" if pane.arm else ""
    if pane.answer is None:
        text, foot = '<div class="pl-text pl-empty">The answer will appear here.</div>', ""
    else:
        going_on = not pane.answer.finish_reason
        caret = '<span class="pl-caret" aria-hidden="true"></span>' if going_on else ""
        titles = [ARM_TITLES["baseline"], ARM_TITLES["principle_prompted"], ARM_TITLES["linear_aligned"]]
        said = escape(pane.answer.text) if pane.pull is None else pull_render.tokens(pane.pull, titles)
        text = f'<div class="pl-text">{said}{caret}</div>'
        foot = "" if going_on else f"<span>{_foot(pane)}</span>{COPY}"
    return (
        f'<section class="{classes}" aria-label="{escape(pane.title)}"><div class="pl-title"><h3>{escape(pane.title)}{term}</h3>'
        f"{'' if pane.steps is None else pull_render.plumb(pane.steps, pane.towards)}</div>"
        f'<p class="pl-what">{escape(pane.what)}</p>{text}{"" if pane.pull is None else pull_render.sparkline(pane.pull)}'
        f'<div class="pl-foot">{foot}</div></section>'
    )


def _foot(pane: Pane) -> str:
    words = len(pane.answer.text.split())
    # Time could tell the arms of a blind round apart; the number of words is there to be seen anyway.
    parts = [
        f"{words} word{'' if words == 1 else 's'}",
        f"{pane.answer.seconds:.1f} s" if pane.arm else "",
        FINISHED[pane.answer.finish_reason],
    ]
    return " · ".join(filter(None, parts))


def status(text: str, error: bool = False) -> str:
    """The one line that says what is going on; read out by screen readers, which the panes are not."""
    return f'<div class="pl-status{" pl-error" if error else ""}" role="status">{escape(text)}</div>'


def failure(error: PlumblineError) -> str:
    """What a person can do something about, as a sentence in place of the status line."""
    text = str(error)
    return status(text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else "."), error=True)
