"""Learning as HTML, pure functions: how far the choices go, what they teach, live curves, and what came of it. Texts are escaped here.

Knows no Gradio and no use case's inside; every figure has its n and its interval.
"""

from collections.abc import Sequence
from html import escape

from app.insights import Share
from app.insights.lessons import Lesson, Telling
from app.learn import Outcome, Sample
from app.learned import Taught
from app.refresh.pairs import FEWEST_PAIRS, FEWEST_PROMPTS
from app.refresh.trainer import Step
from app.ui.charts import chart, nice_top, running_mean
from app.ui.insights_plots import interval_plot

WINDOW = 8  # steps that a point of a curve is the mean of
# By measure: its name, the words for more, for less and for neither, the unit of one and of several, and how its numbers are written.
MEASURES = {
    "length": ("Length", "longer", "shorter", "equally long", "words", "{:+.1f}"),
    "markdown": ("Style: lists, headings, bold (markdown)", "more marked up", "plainer", "alike", "marks", "{:+.2f}"),
    "exclamations": ("Style: exclamation marks", "louder", "calmer", "alike", "exclamation marks", "{:+.2f}"),
    "fidelity": ("Following the principle (fidelity)", "truer to the principle", "less true to it", "alike", "nats a token", "{:+.3f}"),
}  # fmt: skip
EMPTY = (
    '<div class="pl-card pl-how"><h3>No choices yet: here is how</h3><ol>'
    "<li><b>Compare.</b> On the tab Compare, ask something under a persona.</li>"
    "<li><b>Choose.</b> Say which answer is better; a clear choice becomes a pair.</li>"
    f"<li><b>Learn.</b> From {FEWEST_PAIRS} clear choices on {FEWEST_PROMPTS} different prompts on, the button below is worth pressing.</li>"
    "</ol></div>"
)


def count(pairs: int, prompts: int) -> str:
    """How many clear choices there are, and how many are still missing before anything can be learnt."""
    missing = max(FEWEST_PAIRS - pairs, FEWEST_PROMPTS - prompts)
    need = f"{missing} more needed before it can learn." if missing > 0 else "Enough to learn from; more make it surer."
    percent = round(100 * min(1.0, pairs / FEWEST_PAIRS, prompts / FEWEST_PROMPTS))
    on = f" on {prompts} prompt{'' if prompts == 1 else 's'}" if pairs else ""
    return (
        f'<div class="pl-status pl-count" role="status"><b>{pairs} clear choice{"" if pairs == 1 else "s"}</b>{on}. {need}'
        f'<div class="pl-bar" aria-hidden="true"><i style="width:{percent}%"></i></div></div>'
    )


def taught(found: Taught, fidelity: Lesson | None, measuring: bool) -> str:
    """What the choices teach, in words and figures; how to begin where there are none.

    Args:
        found: what the texts tell.
        fidelity: how the answers follow the principle; None while it is being measured, or where it cannot be.
        measuring: whether it is being measured just now.
    """
    if not found.pairs:
        return EMPTY
    rows = "".join(_lesson(item) for item in found.lessons)
    if fidelity:
        rows += _lesson(fidelity)
    else:
        told = "being measured …" if measuring else "not measured: it takes choices made under one principle"
        rows += (
            f'<div class="pl-figure"><span><b>{MEASURES["fidelity"][0]}</b></span>{interval_plot(Share(0.5, 0, (0, 1)))}'
            f'<span class="pl-quiet">{told}</span></div>'
        )
    return (
        f'<div class="pl-card pl-taught"><h3>What these choices teach</h3><div class="pl-figures">{rows}</div>{_telling(found.words)}'
        '<p class="pl-quiet">The chosen answer against the rejected one. The dot is the share of pairs in which the chosen one has more, '
        "among those that differ; the bar is its 95 % interval (Wilson), and the line in the middle is no preference. The mean difference "
        "has a 95 % t interval.</p></div>"
    )


def _lesson(item: Lesson) -> str:
    title, more, less, neither, unit, form = MEASURES[item.measure]
    if item.more.n == 0:
        words = f"all pairs are {neither}"
    else:
        # Told from the side that is the more frequent one.
        value, (low, high), word = item.more.value, item.more.interval, more
        if value < 0.5:
            value, low, high, word = 1 - value, 1 - high, 1 - low, less
        told = f"in {value:.0%} of {item.more.n} pairs ({low:.0%} to {high:.0%})"
        words = f"chosen answers are <b>{word}</b> {told}" if item.direction else f"{word} {told}: no clear preference"
    ends = "" if item.interval is None else f" ({form.format(item.interval[0])} to {form.format(item.interval[1])})"
    return (
        f'<div class="pl-figure"><span><b>{title}</b></span>{interval_plot(item.more)}'
        f'<span>{words}<br><small class="pl-quiet">{form.format(item.mean)}{ends} {unit} on average, n = {item.n}</small></span></div>'
    )


def _telling(words: list[Telling]) -> str:
    if not words:
        return ""
    shown = " ".join(
        f'<span class="pl-word {"pl-more" if w.chosen > w.rejected else "pl-less"}">{escape(w.word)} <small>+{w.chosen} −{w.rejected}</small></span>'
        for w in words
    )
    return (
        f'<p class="pl-words"><b>Telling words</b> {shown}</p><p class="pl-quiet">In so many pairs the word stands in the chosen answer only (+), '
        "and in the rejected one only (−). Counts, not proof.</p>"
    )


def training(steps: Sequence[Step]) -> str:
    """A progress bar and the curves so far; at least one step has been made."""
    last = steps[-1]
    percent = round(100 * last.step / last.steps)
    return (
        f'<div class="pl-card" role="progressbar" aria-valuenow="{percent}" aria-valuemin="0" aria-valuemax="100" aria-label="Learning">'
        f"<h3>Learning: step {last.step} of {last.steps}</h3>"
        f'<div class="pl-bar"><i style="width:{percent}%"></i></div><div class="pl-quiet">The version in use stays as it is until the end.</div></div>'
        f"{curves(steps)}"
    )


def curves(steps: Sequence[Step]) -> str:
    """Loss, accuracy and margin over the steps: a dot a step, and the mean of the last few as a line."""
    last = steps[-1].steps
    found = {name: [(s.step, getattr(s, name)) for s in steps] for name in ("loss", "accuracy", "margin")}
    means = {name: running_mean(points, WINDOW) for name, points in found.items()}
    charts = [
        ("Loss: what is being lowered", "loss", (0.0, _top(found["loss"])), "{:.3f}", None),
        ("Choices that come out right (accuracy)", "accuracy", (0.0, 1.0), "{:.0%}", 0.5),
        ("Chosen above rejected (rewards/margins)", "margin", _around_zero(found["margin"]), "{:.2f}", 0.0),
    ]
    shown = "".join(
        chart(title, means[name], bounds, last, form, level, dots=found[name])
        for title, name, bounds, form, level in charts
    )
    return (
        f'<div class="pl-panes pl-curves">{shown}</div><p class="pl-quiet pl-under">Every dot is one step on a few of the choices that are learnt from; '
        f"the line is the mean of the last {WINDOW} steps. What counts is the share on choices that were kept aside, at the end.</p>"
    )


def _top(points: list[tuple[int, float]]) -> float:
    return nice_top(max(value for _, value in points))


def _around_zero(points: list[tuple[int, float]]) -> tuple[float, float]:
    lowest = min(value for _, value in points)
    return (-nice_top(-lowest) if lowest < 0 else 0.0, _top(points))


def outcome(result: Outcome, steps: Sequence[Step], before: str) -> str:
    """Before and after on choices that were kept aside, the curves, and how plain answers changed.

    Args:
        result: what a refresh did.
        steps: all of its steps.
        before: what a person calls the version that answered until now.
    """
    verdict = "pl-good" if result.published else "pl-bad"
    return (
        f'<div class="pl-card"><h3>Version {escape(result.version)}: {result.pairs_train} choices learnt in {result.seconds:.0f} s</h3>'
        f'<p class="{verdict}">{escape(result.reason[:1].upper() + result.reason[1:])}.</p>'
        f'<div class="pl-scroll"><table class="pl-table"><tr><th>Choices kept aside, that come out right</th><th>Share</th><th>95 % interval</th><th>n</th></tr>'
        f"{_accuracy_row(f'before: {before}', result.before)}{_accuracy_row(f'after: {result.version}', result.after)}</table></div>"
        f'<p class="pl-quiet">A handful of choices moves style, length and wording, not knowledge. An untrained model scores 50 %.</p></div>'
        f"{samples(result.samples, f'Before: {before}', f'After: {result.version}')}{curves(steps)}"
    )


def _accuracy_row(name: str, value: Share) -> str:
    low, high = value.interval
    return (
        f"<tr><td>{escape(name)}</td><td>{value.value:.0%}</td><td>{low:.0%} to {high:.0%}</td><td>{value.n}</td></tr>"
    )


def samples(items: Sequence[Sample], before: str = "Before", after: str = "After") -> str:
    """The plain model's greedy answers side by side, no principle in the prompt; nothing where there are none.

    Args:
        items: prompts that were kept aside, each with both answers.
        before, after: what stands above the answers.
    """
    if not items:
        return ""
    shown = "".join(
        f'<h4>{escape(s.prompt)}</h4><div class="pl-panes pl-two">{_said(before, s.before)}{_said(after, s.after, "pl-after")}</div>'
        for s in items
    )
    return (
        f'<div class="pl-card pl-samples"><h3>Plain answers, before and after</h3>{shown}'
        '<p class="pl-quiet">Prompts that were kept aside; the likeliest word each time (greedy), and no principle in the prompt.</p></div>'
    )


def _said(title: str, text: str, kind: str = "") -> str:
    words = len(text.split())
    return (
        f'<section class="pl-pane {kind}" aria-label="{escape(title)}"><h5>{escape(title)}</h5><div class="pl-text">{escape(text)}</div>'
        f'<div class="pl-foot"><span>{words} word{"" if words == 1 else "s"}</span></div></section>'
    )
