"""The online loop as HTML, pure functions: live curves and what came of it. Texts are escaped here; no Gradio."""

from html import escape

from app.annotators.preference import Cost
from app.online import OnlineOutcome
from app.refresh.feedback import OnlineStep
from app.refresh.judging import Asking
from app.ui.charts import chart
from app.ui.learn_render import samples

STOPPED = {
    "steps": "all steps are done",
    "seconds": "the time was up",
    "tokens": "the judge's tokens were spent",
    "plateau": "the judge saw no more improvement",
    "button": "it was asked to stop",
}


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
        chart("Preferred to the start (win rate)", won, (0.0, 1.0), last, "{:.0%}", level=0.5, bars=bars),
        chart("Length of its answers, in tokens", tokens, (0.0, _top(tokens, 1.0)), last, "{:.0f}"),
        chart(
            "Distance from the start (KL a token)",
            kl,
            (min([0.0, *(v for _, v in kl)]), _top(kl, 0.01)),
            last,
            "{:.3f}",
        ),
    ]
    return f'<div class="pl-panes">{"".join(charts)}</div>'


def _top(points: list[tuple[int, float]], least: float) -> float:
    return max([least, *(1.1 * value for _, value in points)])


def _cost(cost: Cost) -> str:
    if cost.prompt_tokens or cost.completion_tokens:
        return f"the judge has read {cost.prompt_tokens} and written {cost.completion_tokens} tokens"
    return f"the judge took {cost.forwards} passes of a model on this machine"
