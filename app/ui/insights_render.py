"""Statistics as HTML, pure functions: plain words first, the term beside, every figure with its n and interval. No Gradio.

Names of personas, studies, raters and arms are escaped. The numbers stand in text beside every plot, so that none of it has to be seen.
"""

import math
from collections.abc import Callable
from html import escape

from app.insights import Share
from app.insights.figures import Part, Versus
from app.insights_report import Report
from app.ui.insights_plots import interval_plot, time_plot
from app.ui.render import ARM_TITLES

Named = dict[str, str]
LN2 = math.log(2)
ON_THE_SPOT = "a principle written on the spot"


def report(found: Report, persona_names: Named) -> str:
    """The whole page of figures."""
    quick = found.quick
    if not quick.votes:
        return '<div class="pl-card"><h3>No votes here yet</h3>Nobody has voted on two whole and different answers of this selection.</div>'
    pairs = "".join(_pair(pair, found, persona_names, is_open=number == 0) for number, pair in enumerate(quick.pairs))
    return f"{pairs}{_slow(found)}"


def told(share: Share) -> str:
    """A share in words: "62 % of 134 (54 to 70 %)"."""
    if not share.n:
        return "no votes"
    low, high = share.interval
    return f"{share.value:.0%} of {share.n} ({low:.0%} to {high:.0%})"


def entity(name: str) -> str:
    """What a person calls an arm with its version, escaped."""
    arm, _, version = name.partition(" @ ")
    title = f"the {ARM_TITLES[arm].lower()} answer" if arm in ARM_TITLES else arm
    return escape(f"{title} of {version}" if version else title)


def _pair(pair: Versus, found: Report, persona_names: Named, is_open: bool) -> str:
    one, other, low, high = entity(pair.one), entity(pair.other), *pair.decisive.interval
    clustered = next((c for c in found.slow.clustered if (c.one, c.other) == (pair.one, pair.other)), None) if found.slow else None  # fmt: skip
    lines = [_row("Clear choices (decisive votes, Wilson)", pair.decisive)]
    if clustered:
        lines.append(_row(f"The same, over {clustered.raters} raters (cluster bootstrap)", clustered.decisive))
    lines += [
        _row("A tie counts half (ties as half)", pair.half),
        _row(f"Where {one} stood first", pair.as_first),
        _row(f"Where {one} stood second", pair.as_second),
    ]
    # What holds for raters at large decides, as soon as it is known.
    if clustered:
        low, high = clustered.decisive.interval
    parts = [
        _parts("By persona", pair.personas, lambda name: persona_names.get(name, name) or ON_THE_SPOT),
        _parts("By study", pair.studies, lambda name: found.study_names.get(name, name) or "outside any study"),
        _times(pair),
        _parts("By rater", pair.raters, lambda name: found.rater_names.get(name) or f"rater {name[:8]}"),
    ]
    return (
        f'<details class="pl-card"{" open" if is_open else ""}><summary><b>{one[:1].upper() + one[1:]}</b> against <b>{other}</b>: '
        f"{pair.decisive.n} clear choices</summary><p>{_verdict(pair, one, other, (low, high))}</p>"
        f'<div class="pl-figures">{"".join(lines)}</div>'
        f'<p class="pl-quiet">Besides: {pair.ties} ties, {pair.both_bad} times both were bad. Win rates of '
        f"<code>{escape(pair.one)}</code> over <code>{escape(pair.other)}</code>; 95 % intervals; the line in the middle is 50 %, "
        f"no preference.</p>{''.join(parts)}</details>"
    )


def _verdict(pair: Versus, one: str, other: str, interval: tuple[float, float]) -> str:
    if pair.too_early:
        more = ", ".join(f"{missing} more to find {float(rate):.0%}" for rate, missing in pair.missing.items())
        return (
            f"<b>Too early to say:</b> {pair.decisive.n} clear choice{'' if pair.decisive.n == 1 else 's'} so far, and below 20 "
            f"anything is possible. It takes {more} (power 80 %, alpha 5 %)."
        )
    low, high = pair.decisive.interval
    sentence = (
        f"{one[:1].upper() + one[1:]} was preferred to {other} in <b>{pair.decisive.value:.0%}</b> of {pair.decisive.n} clear "
        f"choices ({low:.0%} to {high:.0%})."
    )
    if interval[0] > 0.5 or interval[1] < 0.5:
        return f"{sentence} That is more than chance would give."
    more = ", ".join(f"{missing} more for {float(rate):.0%}" for rate, missing in pair.missing.items() if missing)
    still = f" A true preference so strong would be found with {more} (power 80 %)." if more else ""
    return f"{sentence} It could still be chance.{still}"


def _row(name: str, share: Share) -> str:
    """A line of the list of figures; `name` is HTML."""
    return f'<div class="pl-figure"><span>{name}</span>{interval_plot(share)}<span>{told(share)}</span></div>'


def _parts(title: str, parts: list[Part], name: Callable[[str], str]) -> str:
    if not parts or (len(parts) == 1 and not parts[0].name):
        return ""
    rows = "".join(_row(escape(name(part.name)), part.decisive) for part in parts)
    return f'<details><summary>{title}</summary><div class="pl-figures">{rows}</div></details>'


def _times(pair: Versus) -> str:
    if len(pair.times) < 2:
        return ""
    unit = "day" if pair.by_day else "week"
    named = _parts(f"Every {unit} as numbers", pair.times, lambda name: name if pair.by_day else f"week of {name}")
    return f"<details><summary>Over time, by {unit}</summary>{time_plot(pair.times, unit)}{named}</details>"


def _slow(found: Report) -> str:
    slow, quick = found.slow, found.quick
    if slow is None:
        text = escape(found.fault) if found.fault else "Being computed; counts above are of this moment."
        return (
            '<div class="pl-card"><h3>Does the side decide?</h3><div class="pl-figures">'
            f"{_row('The first answer was chosen (side bias)', quick.first)}</div></div>"
            f'<div class="pl-card"><h3>What takes longer</h3><p>{text}</p></div>'
        )
    newer = " Newer figures are being computed." if found.computing else ""
    fault = f" {escape(found.fault)}" if found.fault else ""
    cut = f" Length and markdown come from a sample of {slow.texts} clear choices." if slow.sampled else ""
    return (
        f'<div class="pl-card"><h3>Does something else than the answer decide?</h3><div class="pl-figures">'
        f"{_row('The first answer was chosen (side bias)', slow.first)}{_row('The longer answer was chosen (length bias)', slow.longer)}"
        f'</div><p class="pl-quiet">50 % is no bias. Longer answers may also be better ones.</p>{_adjusted(found)}</div>'
        f"{_groups(found)}{_agreement(found)}"
        f'<p class="pl-quiet">Figures over raters, this and what follows it were made at {slow.made[:19].replace("T", " ")} UTC '
        f"in {slow.seconds:.1f} s.{newer}{fault}{cut}</p>"
    )


def _adjusted(found: Report) -> str:
    rows = []
    for item in found.slow.adjusted:
        name = f"{entity(item.one)} over {entity(item.other)}"
        fit = item.adjusted
        if fit.effect is None:
            rows.append(
                f'<div class="pl-figure"><span>{name}</span><span></span><span>not told: {escape(fit.fault)}</span></div>'
            )
            continue
        rate, low, high = fit.effect.rate
        rows.append(_row(name, Share(rate, fit.n, (low, high))))
        # Length and markdown are logarithms, of which a doubling adds ln 2.
        covariates = [("standing first", fit.side, 1.0), ("twice as long", fit.length, LN2), ("twice the markdown", fit.markdown, LN2)]  # fmt: skip
        parts = [
            f"{what} {unit * effect.value:+.2f} ({unit * effect.interval[0]:+.2f} to {unit * effect.interval[1]:+.2f})"
            for what, effect, unit in covariates
            if effect
        ]
        added = f"What else adds to it, in log-odds: {'; '.join(parts)}. " if parts else ""
        rows.append(f'<p class="pl-quiet">{added}{fit.raters} rater{"" if fit.raters == 1 else "s"}.</p>')
    if not rows:
        return ""
    return (
        "<h3>At equal length, markdown and side</h3><p>What would be preferred if both answers were equally long and equally "
        'marked up (logistic regression; the intercept as a win rate).</p><div class="pl-figures">'
        f"{''.join(rows)}</div>"
    )


def _groups(found: Report) -> str:
    cards = []
    for number, group in enumerate(found.slow.groups):
        rows = []
        for strength in group.strengths:
            rate, low, high = strength.against_average
            shown = Share(rate, round(strength.n), (low, high))
            name = entity(strength.name)
            rows.append(f'<div class="pl-figure"><span>{name[:1].upper() + name[1:]}</span>{interval_plot(shown)}<span>{rate:.0%} ({low:.0%} to {high:.0%}), {strength.n:g} comparisons; strength {strength.value:+.2f}</span></div>')  # fmt: skip
        held = (
            '<p class="pl-quiet">One of them won or lost everything, where a strength would be without bound: each was given half a '
            "win and half a loss (log-F(1,1) prior).</p>"
            if group.held_back
            else ""
        )
        title = f" {number + 1}" if len(found.slow.groups) > 1 else ""
        cards.append(f'<h4>Group{title}</h4><div class="pl-figures">{"".join(rows)}</div>{held}' if title else f'<div class="pl-figures">{"".join(rows)}</div>{held}')  # fmt: skip
    apart = (
        '<p class="pl-quiet">Answers of different groups never met, so that nothing says which group is stronger.</p>'
        if len(cards) > 1
        else ""
    )
    return (
        '<div class="pl-card"><h3>Who is strongest?</h3><p>One strength for each kind of answer from all votes, ties as half '
        f"(Bradley-Terry); shown is how often it would win against an average one of its group.</p>{''.join(cards)}{apart}</div>"
    )


def _agreement(found: Report) -> str:
    slow = found.slow
    between, rows = slow.agreement, []
    if slow.itself:
        rows.append(_row("A rater chose the same when an item came back with its sides exchanged (self-agreement)", slow.itself))  # fmt: skip
    named = {"Krippendorff's alpha": between.alpha, "Cohen's kappa": between.cohen, "Fleiss' kappa": between.fleiss}
    for name, value in named.items():
        if value:
            low, high = value.interval
            rows.append(f'<div class="pl-figure"><span>{escape(name)}</span><span></span><span>{value.value:.2f} ({low:.2f} to {high:.2f}) on {value.n} items, {value.judgements} votes</span></div>')  # fmt: skip
    if not rows:
        why = (
            f"Raters gave only one kind of answer to {between.items} shared items, so that chance cannot be told from agreement."
            if between.items
            else "No item was judged by two people, or twice by one; a study in the labelling room sees to both."
        )
        return f'<div class="pl-card"><h3>Do people agree?</h3><p>{why}</p></div>'
    return (
        '<div class="pl-card"><h3>Do people agree?</h3><p>1 is full agreement, 0 is what chance would give; which answer was preferred, '
        f'tie, or both bad.</p><div class="pl-figures">{"".join(rows)}</div></div>'
    )
