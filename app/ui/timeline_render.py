"""Adapter versions as a timeline in HTML, newest first, down to the original model. Texts are escaped here; knows no Gradio."""

from html import escape

from app.adapter_card import ORIGINS, measured, parent_name
from app.insights import Share
from app.ui.insights_plots import interval_plot
from storage.records import Version


def timeline(items: list[Version], uses: dict[str, list[str]], scope_names: dict[str, str]) -> str:
    """All versions with their lineage.

    Args:
        items: the versions, newest first.
        uses: version -> the scopes that it is in use for.
        scope_names: scope -> what a person calls it.
    """
    if not items:
        return '<div class="pl-card pl-quiet">No version yet: the original model answers.</div>'
    rows = "".join(_version(v, [scope_names.get(s, s) for s in uses.get(v.id, [])], scope_names) for v in items)
    return (
        f'<div class="pl-card"><h3>Versions, newest first</h3><ol class="pl-timeline">{rows}'
        '<li class="pl-origin"><b>The original model</b><span class="pl-quiet">where every version begins; it can always be chosen</span></li>'
        '</ol><p class="pl-quiet">The dot is the share of kept-aside choices that come out right, the bar its 95 % interval, the line in the middle '
        "an untrained model (50 %).</p></div>"
    )


def _version(version: Version, used: list[str], scope_names: dict[str, str]) -> str:
    trained = version.seed is not None
    how = f" ({version.objective}, seed {version.seed})" if trained else ""
    facts = [
        f"of {scope_names.get(version.scope, version.scope)}",
        f"came after {parent_name(version)}",
        ORIGINS.get(version.origin, version.origin) + how,
        f"{version.pairs_train} pairs learnt, {version.pairs_heldout} kept aside" if trained else "",
        version.created[:16].replace("T", " ") + " UTC",
    ]
    shares = [f"{name} {measured(version.metrics[name])}" for name in ("before", "after") if name in version.metrics]
    name = f"{version.id} (in use for {', '.join(used)})" if used else version.id
    return (
        f'<li{" class=pl-inuse" if used else ""}><b>{escape(name)}</b><span class="pl-quiet">{escape(" · ".join(filter(None, facts)))}</span>'
        f'<div class="pl-figure"><span>Kept-aside choices right</span>{_plot(version.metrics.get("after"))}'
        f"<span>{escape('; '.join(shares) or 'not measured')}</span></div></li>"
    )


def _plot(share: dict | None) -> str:
    return interval_plot(
        Share(share["value"], share["n"], tuple(share["interval"])) if share else Share(0.5, 0, (0.0, 1.0))
    )
