"""The online loop as HTML, pure functions: live curves and what came of it. Texts are escaped here; no Gradio."""

from html import escape

from app.annotators.preference import Cost
from app.online import OnlineOutcome
from app.refresh.feedback import OnlineStep
from app.refresh.judging import Asking
from app.ui.render import samples

STOPPED = {
    "steps": "all steps are done",
    "seconds": "the time was up",
    "tokens": "the judge's tokens were spent",
    "plateau": "the judge saw no more improvement",
}
WIDTH, HEIGHT, EDGE = 300, 110, 8


def progress(steps: list[OnlineStep], asking: Asking | None) -> str:
    """A progress bar, what the judge is at, and the curves so far."""
    last = steps[-1] if steps else None
    percent = round(100 * last.step / last.steps) if last else 0
    title = f"Step {last.step} of {last.steps}" if last else "Begins"
    parts = [
        f"the judge has read {asking.answered} of {asking.asked} pairs" if asking else "",
        "" if last is None else f"{last.kept} pairs learnt in the last step, {last.dropped} left out",
        "" if last is None else _cost(last.cost),
    ]
    return (
        f'<div class="pl-card" role="progressbar" aria-valuenow="{percent}" aria-valuemin="0" aria-valuemax="100" aria-label="A judge chooses">'
        f'<h3>{title}</h3><div class="pl-bar"><i style="width:{percent}%"></i></div>'
        f'<div class="pl-quiet">{" · ".join(filter(None, parts))}</div></div>{curves(steps)}'
    )


def outcome(result: OnlineOutcome) -> str:
    """What came of a run: the verdict, the win rate with its n, the curves, and how plain answers changed."""
    low, high = result.win_rate.interval
    return (
        f'<div class="pl-card"><h3>Version {escape(result.version)}: {result.pairs} choices of a judge, learnt in {result.seconds:.0f} s</h3>'
        f'<p class="{"pl-good" if result.published else "pl-bad"}">{escape(result.reason[:1].upper() + result.reason[1:])}.</p>'
        f"<p>Against the model it started from, on {result.win_rate.n} prompts kept aside, the judge prefers the new answers in "
        f"<b>{result.win_rate.value:.0%}</b> (win rate, ties half; 95 % interval {low:.0%} to {high:.0%}). It ended because "
        f"{STOPPED[result.stopped]}.</p>"
        f'<p class="pl-quiet">The same judge chose and measures: this shows that the model follows the judge, not that people agree. '
        f"{_cost(result.cost)}</p></div>{curves(result.curve)}{samples(result.samples) if result.samples else ''}"
    )


def curves(steps: list[OnlineStep]) -> str:
    """Win rate, answer length and KL over the steps, as three small charts."""
    won = [(0, 0.5), *((s.step, s.win_rate.value) for s in steps if s.win_rate)]
    bars = [(s.step, *s.win_rate.interval) for s in steps if s.win_rate]
    tokens = [(s.step, s.tokens) for s in steps if s.tokens is not None]
    kl = [(s.step, s.kl) for s in steps if s.kl is not None]
    last = steps[-1].steps if steps else 1
    charts = [
        _chart("Preferred to the start (win rate)", won, bars, (0.0, 1.0), last, "{:.0%}", level=0.5),
        _chart("Length of its answers, in tokens", tokens, [], (0.0, _top(tokens, 1.0)), last, "{:.0f}"),
        _chart(
            "Distance from the start (KL a token)",
            kl,
            [],
            (min([0.0, *(v for _, v in kl)]), _top(kl, 0.01)),
            last,
            "{:.3f}",
        ),
    ]
    return f'<div class="pl-panes">{"".join(charts)}</div>'


def _top(points: list[tuple[int, float]], least: float) -> float:
    return max([least, *(1.1 * value for _, value in points)])


def _chart(
    title: str,
    points: list[tuple[int, float]],
    bars: list[tuple[int, float, float]],
    bounds: tuple[float, float],
    last: int,
    form: str,
    level: float | None = None,
) -> str:
    low, high = bounds

    def x(step: int) -> float:
        return round(EDGE + (WIDTH - 2 * EDGE) * step / last, 1)

    def y(value: float) -> float:
        return round(EDGE + (HEIGHT - 2 * EDGE) * (high - value) / (high - low), 1)

    now = form.format(points[-1][1]) if points else "not measured yet"
    line = " ".join(f"{x(step)},{y(value)}" for step, value in points)
    whiskers = "".join(
        f'<line x1="{x(step)}" x2="{x(step)}" y1="{y(above)}" y2="{y(below)}" stroke="var(--pl-quiet)" stroke-width="1"/>'
        for step, below, above in bars
    )
    dots = "".join(f'<circle cx="{x(step)}" cy="{y(value)}" r="2.5" fill="var(--pl-brass)"/>' for step, value in points)
    dashes = (
        ""
        if level is None
        else f'<line x1="0" x2="{WIDTH}" y1="{y(level)}" y2="{y(level)}" stroke="var(--pl-line)" stroke-dasharray="4 4"/>'
    )
    return (
        f'<section class="pl-card"><h3>{escape(title)}</h3><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" width="100%" '
        f'aria-label="{escape(title)}: {now} after {points[-1][0] if points else 0} steps">'
        f'{dashes}{whiskers}<polyline points="{line}" fill="none" stroke="var(--pl-brass)" stroke-width="2"/>{dots}</svg>'
        f'<div class="pl-quiet">now {now} · {form.format(low)} to {form.format(high)} over {last} steps</div></section>'
    )


def _cost(cost: Cost) -> str:
    if cost.prompt_tokens or cost.completion_tokens:
        return f"the judge has read {cost.prompt_tokens} and written {cost.completion_tokens} tokens"
    return f"the judge took {cost.forwards} passes of a model on this machine"
