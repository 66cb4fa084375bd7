"""The labelling room as HTML, as pure functions; every text of a model or a person is escaped here. Knows no Gradio.

Both sides of a task are drawn by the same lines from their text alone, so that nothing in the markup tells them apart.
"""

from html import escape

from app.raters import LabelShown
from app.studies import Revealed, Task
from app.ui.render import ARM_EXPLANATIONS, arm_title
from app.visits import Visit
from storage.records import Overview

CHOICES = {"first": "First is better", "second": "Second is better", "tie": "Equally good", "both_bad": "Both are bad"}
CHIPS = ("follows the persona", "more helpful", "truer", "better written", "shorter", "other")
WAITING = (
    "The next answers are being written",
    "They appear here by themselves; there is nothing that you have to do.",
)
FINISHED = (
    "That was all: thank you",
    "There is nothing left for you in this study. You may see now which answer was which; after that no choice can be taken back.",
)
KEYS = {
    "1": "the first is better",
    "2": "the second is better",
    "0": "equally good (tie)",
    "9": "both are bad",
    "s": "skip this one",
    "u": "undo: take your last choice back",
    "?": "show or hide this list",
}


def help_list() -> str:
    """The keys, folded away; the key `?` opens it."""
    rows = "".join(f"<dt><kbd>{key}</kbd></dt><dd>{words}</dd>" for key, words in KEYS.items())
    return f"<details><summary>Keys <kbd>?</kbd></summary><dl>{rows}</dl></details>"


def studies(items: list[Overview], chosen: str, links: bool = False) -> str:
    """The studies with how far they have come; the one that is labelled now stands out.

    Args:
        items: the studies.
        chosen: id of one that stands out.
        links: whether to add the link that opens a study's room, to be sent to raters.
    """
    if not items:
        return '<div class="pl-card pl-quiet">There is no open study. Whoever owns this page can make one below.</div>'
    return f'<div class="pl-studies">{"".join(_study(item, item.id == chosen, links) for item in items)}</div>'


def _study(item: Overview, chosen: bool, link: bool) -> str:
    percent = round(100 * min(item.votes, item.wanted) / item.wanted) if item.wanted else 0
    left = item.items - item.answered - item.faults
    facts = [
        f"{item.votes} of {item.wanted} labels",
        f"{item.raters} {'person' if item.raters == 1 else 'people'}",
        f"{left} item{'' if left == 1 else 's'} still being written" if left > 0 and item.state == "open" else "",
        f"{item.faults} could not be written" if item.faults else "",
        "closed" if item.state != "open" else "",
    ]
    return (
        f'<div class="pl-study{" pl-chosen" if chosen else ""}"><b>{escape(item.name)}</b>'
        f'<div class="pl-bar"><i style="width:{percent}%"></i></div>'
        f'<span class="pl-quiet">{" · ".join(filter(None, facts))}{_link(item) if link else ""}</span></div>'
    )


def _link(item: Overview) -> str:
    return f' · <a href="?study={escape(item.id)}">link for raters</a>' if item.state == "open" else ""


def consent(text: str, version: str) -> str:
    """What a person agrees to before they label, with the version that is stored with every label."""
    paragraphs = "".join(f"<p>{escape(part)}</p>" for part in text.strip().split("\n\n"))
    return (
        f'<div class="pl-card pl-consent"><h3>Before you begin</h3>{paragraphs}'
        f'<p class="pl-quiet">Version of this text: <code>{escape(version)}</code>; it is stored with each of your labels.</p></div>'
    )


def task(item: Task) -> str:
    """What to judge: what the answers should be like, the prompt, and both answers."""
    turns = "".join(_turn(message) for message in item.messages)
    sides = "".join(_side(title, text) for title, text in (("First", item.first), ("Second", item.second)))
    return (
        f'<div class="pl-task" data-round="{escape(item.round_id)}"><section class="pl-brief" aria-label="What to judge by">'
        f"<h3>What the answer should be like: {escape(item.persona)}</h3><p>{escape(item.principle)}</p></section>"
        f'<section class="pl-prompt" aria-label="Prompt"><h3>Prompt</h3>{turns}</section>'
        f'<div class="pl-panes pl-two">{sides}</div></div>'
    )


def _turn(message: dict[str, str]) -> str:
    who = "" if message["role"] == "user" else f'<span class="pl-quiet">{escape(message["role"])}: </span>'
    return f'<div class="pl-text">{who}{escape(message["content"])}</div>'


def _side(title: str, text: str) -> str:
    return f'<section class="pl-pane" aria-label="{title} answer"><h3>{title}</h3><div class="pl-text">{escape(text)}</div></section>'


def progress(done: int, total: int, visit: Visit) -> str:
    """How far this person is, and how long a label takes them."""
    percent = round(100 * done / total) if total else 100
    pace = f" · {visit.seconds:.0f} s a label (median of this visit)" if visit.seconds is not None else ""
    return (
        f'<div class="pl-progress"><span><b>{done} of {total}</b> labelled{pace}</span>'
        f'<div class="pl-bar"><i style="width:{percent}%"></i></div></div>'
    )


def reminder(visit: Visit) -> str:
    """One line, which nobody has to heed."""
    return (
        f'<div class="pl-reminder">{visit.labels} labels in {visit.minutes:.0f} min. '
        "Eyes and judgement tire: a few minutes away from the screen do both good.</div>"
    )


def message(title: str, text: str) -> str:
    """A card with a heading in place of a task."""
    return f'<div class="pl-card"><h3>{escape(title)}</h3><p>{escape(text)}</p></div>'


def labels(items: list[LabelShown]) -> str:
    """Everything that a person has labelled, newest first, as they said it; no arms."""
    if not items:
        return '<div class="pl-card pl-quiet">No labels of yours are stored.</div>'
    rows = "".join(_label(item) for item in items)
    return (
        '<div class="pl-card"><div class="pl-scroll"><table class="pl-table pl-labels"><tr><th>When (UTC)</th><th>Prompt</th>'
        f"<th>First</th><th>Second</th><th>Your choice</th><th>Consent</th></tr>{rows}</table></div></div>"
    )


def _label(item: LabelShown) -> str:
    said = [item.choice, ", ".join(item.chips), item.reason, f"edited: {item.edited}" if item.edited else ""]
    cells = [
        item.created[:16].replace("T", " "),
        item.prompt,
        item.first,
        item.second,
        "\n".join(filter(None, said)),
        item.consent_version,
    ]
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def revealed(items: list[Revealed]) -> str:
    """Which arm was which in every round of a person's, and how often they preferred which."""
    if not items:
        return '<div class="pl-card pl-quiet">You have labelled nothing in this study.</div>'
    return f"{_preferred(items)}{''.join(_pair(item) for item in items)}"


def _preferred(items: list[Revealed]) -> str:
    arms = sorted({arm for item in items for arm in (item.first_arm, item.second_arm)})
    picked = [{"first": item.first_arm, "second": item.second_arm}.get(item.choice, "") for item in items]
    parts = [f"{_arm(arm)} {_times(picked.count(arm))}" for arm in arms]
    tail = f", neither {_times(picked.count(''))}" if "" in picked else ""
    return (
        f'<div class="pl-card"><h3>What you preferred</h3><p>{", ".join(parts)}{tail}, in {len(items)} label{"" if len(items) == 1 else "s"}.</p>'
        f'<p class="pl-quiet">The same in words. {" ".join(map(_explained, arms))}</p></div>'
    )


def _explained(arm: str) -> str:
    return f"<b>{escape(arm_title(arm))}</b>: {escape(ARM_EXPLANATIONS.get(arm, ''))}"


def _times(count: int) -> str:
    return f"{count} time{'' if count == 1 else 's'}"


def _arm(arm: str) -> str:
    return f"{escape(arm_title(arm))} <code>({escape(arm)})</code>"


def _pair(item: Revealed) -> str:
    sides = "".join(
        f'<section class="pl-pane pl-{escape(arm)}{" pl-picked" if item.choice == side else ""}" aria-label="{side} answer">'
        f'<h3>{_arm(arm)}</h3><div class="pl-text">{escape(text)}</div></section>'
        for side, arm, text in (("first", item.first_arm, item.first), ("second", item.second_arm, item.second))
    )
    return (
        f'<div class="pl-revealed"><h3>{escape(item.messages[-1]["content"])}</h3><p class="pl-quiet">{escape(item.persona)} · '
        f'your choice: {CHOICES[item.choice]}</p><div class="pl-panes pl-two">{sides}</div></div>'
    )
