"""Collected rounds to HTML, as pure functions; every text of a model or a person is escaped here. Knows no Gradio and no database."""

import json
from collections.abc import Iterable
from html import escape

from app.import_pairs import ImportReport
from app.ui.render import FINISHED, arm_title, status
from storage.browse import Entry, Opened, Page, versions_of
from storage.imported import Source
from storage.records import Round, Vote

INTRO = (
    '<div class="pl-card"><h3>What was collected</h3>Every comparison is kept as a <b>round</b>, with all that decided its answers. '
    "Look through them, take the choices along as data sets, or bring choices that were made elsewhere. "
    "Whoever sees this can tell the arms of a blind round apart: where others label, set an owner's token.</div>"
)
JUDGED = {"tie": "both as good", "both_bad": "both bad"}
SHORT = 160


def listed(page: Page, persona_names: dict[str, str]) -> str:
    """A page of rounds as a table, and where it stands among the others."""
    if not page.entries:
        return status("No round is like that.")
    rows = (
        (
            _time(entry.created),
            _short(entry.prompt),
            _persona(entry.persona, persona_names),
            _arms(entry),
            _versions(entry.versions, "original"),
            ", ".join(judged(choice, entry.first_arm, entry.second_arm) for choice in entry.choices) or "none yet",
            entry.study,
        )
        for entry in page.entries
    )
    head = ("Asked (UTC)", "Prompt", "Persona", "Shown (arms)", "Version", "Votes", "Study")
    return status(f"{many(page.found, 'round')}; page {page.number + 1} of {page.last + 1}.") + _card(
        _table(head, rows)
    )


def opened(found: Opened, persona_names: dict[str, str]) -> str:
    """A round with everything that made it: conversation, principles, settings, model, answers and votes."""
    round_ = found.round
    facts = (
        ("Asked (UTC)", _time(round_.created)),
        ("Round", round_.id),
        ("Asked by", round_.rater),
        ("Persona", _persona(round_.persona, persona_names)),
        ("Study", found.study or "none"),
        ("Principles", "\n".join(f"{p['text']} (weight {p['weight']:g})" for p in round_.principles) or "none"),
        ("Model (revision)", f"{round_.model} ({round_.model_revision or 'not known'})"),
        (
            "Adapter version",
            _versions(versions_of(round_.first_arm, round_.second_arm, round_.adapter), "the original model"),
        ),
        ("Decode settings", json.dumps(round_.settings, ensure_ascii=False)),
        (
            "Sides",
            f"{'blind' if round_.blind else 'open'}: {arm_title(round_.first_arm)}, {arm_title(round_.second_arm)}",
        ),
        ("Plumbline", round_.app_version),
    )
    talk = "".join(f'<p class="pl-quiet">{escape(m["role"])}</p><p>{_lines(m["content"])}</p>' for m in round_.messages)
    return (
        f"{_card(f'<h3>The conversation</h3>{talk}')}{_answers(round_)}"
        f"{_card('<h3>What made it</h3>' + _table(('', ''), facts))}{_votes(found)}"
    )


def judged(choice: str, first_arm: str, second_arm: str) -> str:
    """What a choice by side says of the arms."""
    return JUDGED.get(choice) or f"{arm_title(first_arm if choice == 'first' else second_arm)} better"


def imported(report: ImportReport) -> str:
    """What an import did, with the rows that were left out."""
    told = status(f"{many(report.pairs, 'pair')} of {report.source} brought; learn from them in the tab Learn.")
    if not report.bad:
        return told
    more = f"<li>and {report.bad - len(report.skipped)} more</li>" if report.bad > len(report.skipped) else ""
    faults = "".join(f"<li>{escape(fault)}</li>" for fault in report.skipped)
    return told + _card(f"<h3>Left out: {many(report.bad, 'row')}</h3><ul>{faults}{more}</ul>")


def sources(found: list[Source], persona_names: dict[str, str]) -> str:
    """The files that were imported."""
    if not found:
        return ""
    rows = (
        (s.source, str(s.pairs), _persona(s.persona, persona_names) if s.persona else "all", _time(s.created))
        for s in found
    )
    return _card(_table(("File", "Pairs", "For", "Brought (UTC)"), rows))


def choice_of(entry: Entry) -> tuple[str, str]:
    """An entry of the menu of rounds: its name and its value."""
    return f"{_short(entry.prompt)[:80]} ({_time(entry.created)})", entry.id


def many(count: int, what: str) -> str:
    """A count with its noun."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def _answers(round_: Round) -> str:
    panes = "".join(
        f'<section class="pl-pane pl-{escape(a.arm)}"><h3>{escape(arm_title(a.arm))}<code>{escape(a.arm)}</code></h3>'
        f'<div class="pl-text">{escape(a.text)}</div><div class="pl-foot">{escape(_foot(round_, a.arm))}</div></section>'
        for a in round_.answers.values()
    )
    return f'<div class="pl-panes">{panes}</div>'


def _foot(round_: Round, arm: str) -> str:
    answer = round_.answers[arm]
    side = {round_.first_arm: "first side", round_.second_arm: "second side"}.get(arm, "not voted on")
    ended = FINISHED.get(answer.finish_reason, answer.finish_reason)
    return " · ".join(filter(None, (side, f"{len(answer.token_ids)} tokens", f"{answer.seconds:.1f} s", ended)))


def _votes(found: Opened) -> str:
    if not found.votes:
        return _card("<h3>No votes yet</h3>")
    head = ("Voted (UTC)", "By", "Choice", "Why", "Rewritten", "Took", "Visit", "Consent text")
    rows = (_vote(vote, found) for vote in found.votes)
    return _card("<h3>Votes</h3>" + _table(head, rows))


def _vote(vote: Vote, found: Opened) -> tuple[str, ...]:
    name = found.names.get(vote.rater, "")
    return (
        _time(vote.created),
        f"{name} ({vote.rater})" if name else vote.rater,
        judged(vote.choice, found.round.first_arm, found.round.second_arm),
        "\n".join(filter(None, (*vote.chips, vote.reason))),
        f"{vote.edited_side}: {vote.edited}" if vote.edited_side else "",
        "" if vote.dwell_seconds is None else f"{vote.dwell_seconds:.1f} s",
        vote.session,
        vote.consent_version or "none",
    )


def _arms(entry: Entry) -> str:
    return f"{arm_title(entry.first_arm)}, {arm_title(entry.second_arm)}"


def _versions(versions: Iterable[str], original: str) -> str:
    return ", ".join(version or original for version in versions)


def _persona(persona: str, names: dict[str, str]) -> str:
    return names.get(persona, persona) or "own words"


def _short(text: str) -> str:
    flat = " ".join((text or "").split())
    return flat if len(flat) <= SHORT else f"{flat[: SHORT - 2]} …"


def _time(moment: str) -> str:
    return moment[:16].replace("T", " ")


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def _card(inside: str) -> str:
    return f'<div class="pl-card">{inside}</div>'


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="pl-scroll"><table class="pl-table"><tr>{top}</tr>{body}</table></div>'
