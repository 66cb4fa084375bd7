"""What the owner sees, as HTML; pure functions. Texts of people and of the log are escaped here; no Gradio."""

from html import escape

from app.bans import Person
from app.gauges import Gauges
from app.limits import WORDS, LimitState
from app.prompts import frame
from app.ui.sync_line import sync_line
from storage.records import SavedPersona, Version

LOW_DISK = 500 * 2**20


def size(count: int) -> str:
    """A number of bytes in words."""
    for unit, bytes_ in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if count >= bytes_:
            return f"{count / bytes_:.1f} {unit}" if count < 100 * bytes_ else f"{count / bytes_:.0f} {unit}"
    return f"{count} bytes"


def duration(seconds: float) -> str:
    """A time in its two largest units."""
    minutes, hours, days = int(seconds) // 60, int(seconds) // 3600, int(seconds) // 86400
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min {int(seconds) % 60} s"


def gauges(now: Gauges) -> str:
    """The gauges as tiles, and what the owner should look at."""
    tiles = [
        ("Answering now", str(now.running), f"{now.waiting} wait in line"),
        ("Cache of answers", size(now.cache_bytes), f"of {size(now.cache_room)} (PLUMBLINE_CACHE_MB)"),
        ("Memory of the server", size(now.memory_bytes), f"{size(now.memory_free)} free on the machine"),
        ("Disk free", size(now.disk_free), f"versions take {size(now.adapter_bytes)}"),
        ("Database", size(now.database_bytes), f"{now.votes} votes on {now.rounds} comparisons"),
        ("Up for", duration(now.up_seconds), f"Plumbline {now.app_version} on {now.model}"),
    ]
    shown = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd><dd class='pl-quiet'>{escape(more)}</dd></div>"
        for name, value, more in tiles
    )
    full = f"The disk is nearly full: {size(now.disk_free)} are left."
    told = f'<p class="pl-bad" role="alert">{full}</p>' if now.disk_free < LOW_DISK else ""
    return f'<div class="pl-card">{told}<dl class="pl-gauges">{shown}</dl>{sync_line(now.sync, now.loses_all)}</div>'


def people(items: list[Person]) -> str:
    """Everybody who voted; who chooses against the others stands out in words, not by colour alone."""
    if not items:
        return '<div class="pl-card pl-quiet">Nobody has voted yet.</div>'
    rows = "".join(_person(item) for item in items)
    return (
        '<div class="pl-card"><div class="pl-scroll"><table class="pl-table pl-people"><tr><th>Rater (pseudonym)</th><th>Name</th><th>Votes</th>'
        "<th>Chose as most others did</th><th>By chance (p, Holm)</th><th>Last vote (UTC)</th><th></th></tr>"
        f'{rows}</table></div><p class="pl-quiet">Of clear choices on what others chose on, too. Somebody who clicks at random agrees half of '
        "the time; less than chance allows (p under 0.05, binomial test with Holm’s correction) is somebody who turns choices round, or "
        "took the wrong button.</p></div>"
    )


def _person(item: Person) -> str:
    voter = item.voter
    note = ["chooses against the others"] if item.outlier else []
    if voter.banned:
        note.append(f"banned: {voter.reason}" if voter.reason else "banned")
    cells = [
        voter.rater[:12],
        voter.name,
        str(voter.votes),
        f"{item.agreed} of {item.shared}" if item.shared else "nothing shared",
        "" if item.chance is None else "under 0.001" if item.chance < 0.001 else f"{item.chance:.3f}",
        voter.last[:16].replace("T", " "),
    ]
    told = f'<b class="pl-bad">{escape(" · ".join(note))}</b>' if note else ""
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}<td>{told}</td></tr>"


def private_versions(items: list[Version], scope_names: dict[str, str]) -> str:
    """What people had learnt for themselves."""
    if not items:
        return '<p class="pl-quiet">Nobody has a version of their own just now.</p>'
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _private(item, scope_names))}</tr>" for item in items
    )
    return (
        '<div class="pl-card"><div class="pl-scroll"><table class="pl-table pl-wide"><tr><th>A rater’s own version</th><th>Of</th><th>Rater (pseudonym)</th><th>Choices</th>'
        f"<th>Made (UTC)</th></tr>{rows}</table></div>"
        '<p class="pl-quiet">Only its rater can use it. If you choose it above, it is everybody’s from then on.</p></div>'
    )


def _private(version: Version, scope_names: dict[str, str]) -> list[str]:
    scope = scope_names.get(version.scope, version.scope)
    made = version.created[:16].replace("T", " ")
    return [version.id, scope, version.rater[:12], str(version.pairs_train + version.pairs_heldout), made]


def personas(waiting: list[SavedPersona], approved: list[SavedPersona]) -> str:
    """What people offer to everybody, what waits for the owner first."""
    if not waiting and not approved:
        return '<p class="pl-quiet">Nobody offers a persona to everybody.</p>'
    rows = "".join(_persona(p, "waits for you") for p in waiting) + "".join(
        _persona(p, "everybody's") for p in approved
    )
    return (
        '<div class="pl-card"><div class="pl-scroll"><table class="pl-table pl-people"><tr><th>By (pseudonym)</th><th>Name</th><th>Principles</th><th></th></tr>'
        f"{rows}</table></div></div>"
    )


def _persona(persona: SavedPersona, state: str) -> str:
    principles = [frame(persona.principle, persona.framing), *(frame(p["text"], p["framing"]) for p in persona.mix)]
    cells = [persona.rater[:12], persona.name, "\n".join(principles), state]
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def limits(items: list[LimitState]) -> str:
    """What visitors may do, and how often it was too much."""
    rows = "".join(map(_limit, items))
    return (
        '<div class="pl-card"><div class="pl-scroll"><table class="pl-table pl-wide"><tr><th>Limit</th><th>One visitor</th><th>One address</th>'
        f"<th>All together</th><th>Used since the start</th><th>Refused</th></tr>{rows}</table></div></div>"
    )


def _limit(item: LimitState) -> str:
    cells = [
        f"{WORDS.get(item.kind, item.kind)} ({item.kind})",
        item.rates,
        _times(item.times_address),
        _times(item.times_everybody),
        str(item.used),
        str(item.refused),
    ]
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _times(times: int) -> str:
    return f"{times} times that" if times > 1 else "as one visitor" if times else "no limit"


def log(lines: list[str]) -> str:
    """The end of the server's log, the newest line last."""
    text = "\n".join(lines) or "Nothing was logged since the start."
    return f'<pre class="pl-log" tabindex="0" aria-label="The server’s log">{escape(text)}</pre>'
