"""Scatter plots as inline SVG: lines through the points of one family, whiskers for intervals, the frontier ringed. Knows numbers and names.

Nothing is fetched and nothing runs in the reader's browser; every name is escaped.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 320  # as wide as it is shown, so that its words keep their size
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 16, 48
FEWEST_TICKS = 4
# Okabe and Ito's colours, which the colour-blind tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#666666")


@dataclass(frozen=True)
class Spot:
    """One contestant on a plot. `low`, `high`: the interval of y. `label`: said beside it; `tells`: said where it is pointed at."""

    x: float
    y: float
    low: float
    high: float
    label: str
    tells: str


def frontier(spots: Iterable[Spot], less_x: bool) -> set[Spot]:
    """The spots that no other beats in x and y alike (Pareto).

    Args:
        less_x: whether less of x is better, as of a cost; more of y always is.
    """
    kept, sign = list(spots), -1 if less_x else 1

    def beats(one: Spot, other: Spot) -> bool:
        better = (sign * one.x, one.y)
        worse = (sign * other.x, other.y)
        return better != worse and better[0] >= worse[0] and better[1] >= worse[1]

    return {spot for spot in kept if not any(beats(other, spot) for other in kept)}


def scatter(families: dict[str, list[Spot]], x_name: str, y_name: str, less_x: bool) -> str:
    """One plot with its legend.

    Args:
        families: spots by name, joined in their order.
        x_name, y_name: of the axes, with their unit.
        less_x: see `frontier`.
    """
    spots = [spot for family in families.values() for spot in family]
    xs, ys = _span(s.x for s in spots), _span(y for s in spots for y in (s.low, s.high))

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - xs[0]) / (xs[1] - xs[0]) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - ys[0]) / (ys[1] - ys[0]) * (HEIGHT - TOP - BOTTOM),
        )

    best = frontier(spots, less_x)
    parts = [_axes(at, xs, ys, x_name, y_name)]
    for number, family in enumerate(families.values()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(s.x, s.y) for s in family))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-opacity="0.5"/>')
        parts += [_spot(spot, at, colour, spot in best) for spot in family]
    legend = "".join(
        f'<span><i style="background:{COLOURS[n % len(COLOURS)]}"></i>{escape(name)}</span>'
        for n, name in enumerate(families)
    )
    picture = "".join(parts)
    title = escape(f"{y_name} over {x_name}")
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{picture}</svg>'
        f"<figcaption>{legend}</figcaption></figure>"
    )


def _spot(spot: Spot, at: Callable[[float, float], tuple[float, float]], colour: str, ringed: bool) -> str:
    (x, y), (_, low), (_, high) = at(spot.x, spot.y), at(spot.x, spot.low), at(spot.x, spot.high)
    ring = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill="none" stroke="{colour}"/>' if ringed else ""
    return (
        f'<g><title>{escape(spot.tells)}</title><line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" '
        f'stroke="{colour}" stroke-opacity="0.5"/>{ring}<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
        f'<text x="{x + 9:.1f}" y="{y - 7:.1f}">{escape(spot.label)}</text></g>'
    )


def _axes(
    at: Callable[[float, float], tuple[float, float]],
    xs: tuple[float, float],
    ys: tuple[float, float],
    x_name: str,
    y_name: str,
) -> str:
    parts = []
    for value in ticks(*ys):
        y = at(xs[0], value)[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in ticks(*xs):
        x = at(value, ys[0])[0]
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{value:g}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_name)}</text>'
    )
    parts.append(f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(y_name)}</text>')
    return "".join(parts)


def ticks(low: float, high: float) -> list[float]:
    """At least `FEWEST_TICKS` round numbers between two numbers: multiples of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.ceil(math.log10(high - low))
    steps = (power * part for scale in (1, 0.1, 0.01) for part in (scale, scale / 2, scale / 5))
    for step in steps:
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first + 1 >= FEWEST_TICKS:
            return [round(i * step, 12) for i in range(first, last + 1)]
    raise ValueError(f"no round numbers between {low} and {high}")


def _span(values: Iterable[float]) -> tuple[float, float]:
    there = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(there), max(there)
    room = (high - low) * 0.06 or 0.5
    return low - room, high + room
