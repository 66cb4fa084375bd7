"""One small line chart as inline SVG in the theme's colours: nothing is fetched, and it follows light and dark. Knows numbers only.

The axis of steps is as long as the run will be, so that nothing moves while points come in. The figures stand beside it as text.
"""

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, EDGE = 300, 110, 8

Point = tuple[int, float]


def chart(
    title: str,
    points: Sequence[Point],
    bounds: tuple[float, float],
    last: int,
    form: str,
    level: float | None = None,
    bars: Sequence[tuple[int, float, float]] = (),
    dots: Sequence[Point] | None = None,
) -> str:
    """A card with a line over the steps.

    Args:
        title: what is shown.
        points: step and value of the line.
        bounds: lowest and highest value of the picture.
        last: the step at its right end.
        form: how a number is written, as `str.format` takes it.
        level: a value that is marked across.
        bars: step with the lower and the upper end of an interval.
        dots: single values; those of the line where there are no others.
    """
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
    # A line of no length with round ends is a dot: one element for all of them.
    marks = "".join(f"M{x(step)} {y(value)}h0" for step, value in (points if dots is None else dots))
    faint = "" if dots is None else ' opacity="0.4"'
    across = (
        ""
        if level is None
        else f'<line x1="0" x2="{WIDTH}" y1="{y(level)}" y2="{y(level)}" stroke="var(--pl-quiet)" stroke-dasharray="2 4"/>'
    )
    return (
        f'<section class="pl-card pl-curve"><h3>{escape(title)}</h3><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" width="100%" '
        f'aria-label="{escape(title)}: {now} after {points[-1][0] if points else 0} steps">{across}{whiskers}'
        f'<path d="{marks}" stroke="var(--pl-brass)" stroke-width="5" stroke-linecap="round"{faint}/>'
        f'<polyline points="{line}" fill="none" stroke="var(--pl-brass)" stroke-width="2"/></svg>'
        f'<div class="pl-quiet">now {now} · {form.format(low)} to {form.format(high)} over {last} steps</div></section>'
    )


def nice_top(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten that is not below: an upper bound that seldom changes while values come in."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))


def running_mean(points: Sequence[Point], window: int) -> list[Point]:
    """Each point's mean with those before it, `window` of them at the most."""
    values = [value for _, value in points]
    return [
        (step, sum(part := values[max(0, i + 1 - window) : i + 1]) / len(part)) for i, (step, _) in enumerate(points)
    ]
