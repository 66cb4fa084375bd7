"""Small plots as inline SVG in the theme's colours: nothing is fetched, and they follow light and dark. Knows shares, no Gradio."""

from html import escape

from app.insights import Share
from app.insights.figures import Part

WIDTH, HEIGHT, EDGE = 640, 170, 8


def interval_plot(share: Share) -> str:
    """A share on a line from 0 to 100 % with its interval, and a mark at 50 %. What it shows stands beside it as text."""
    low, high = (round(200 * end, 1) for end in share.interval)
    shown = (
        f'<line x1="{low}" x2="{high}" y1="9" y2="9" stroke="var(--pl-brass)" stroke-width="3" stroke-linecap="round" opacity="0.55"/>'
        f'<circle cx="{round(200 * share.value, 1)}" cy="9" r="5" fill="var(--pl-brass)"/>'
        if share.n
        else ""
    )
    return (
        '<svg class="pl-interval" viewBox="-6 0 212 18" aria-hidden="true" preserveAspectRatio="none">'
        '<line x1="0" x2="200" y1="9" y2="9" stroke="var(--pl-line)"/>'
        f'<line x1="100" x2="100" y1="1" y2="17" stroke="var(--pl-quiet)" stroke-dasharray="2 2"/>{shown}</svg>'
    )


def time_plot(parts: list[Part], unit: str) -> str:
    """Win rates over time with their intervals, evenly spaced; parts without a decisive vote leave a gap."""
    step = (WIDTH - 2 * EDGE) / max(1, len(parts) - 1)

    def y(value: float) -> float:
        return round(EDGE + (HEIGHT - 2 * EDGE) * (1 - value), 1)

    marks = []
    for number, part in enumerate(parts):
        if part.decisive.n:
            x, (low, high) = round(EDGE + number * step, 1), part.decisive.interval
            marks.append(
                f'<line x1="{x}" x2="{x}" y1="{y(high)}" y2="{y(low)}" stroke="var(--pl-quiet)" stroke-width="1.5"/>'
                f'<circle cx="{x}" cy="{y(part.decisive.value)}" r="4" fill="var(--pl-brass)"/>'
            )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" width="100%" aria-label="Win rate by {unit} with intervals, {len(parts)} '
        f'{unit}s; the numbers follow"><line x1="0" x2="{WIDTH}" y1="{y(0.5)}" y2="{y(0.5)}" stroke="var(--pl-line)" '
        f'stroke-dasharray="4 4"/>{"".join(marks)}</svg><p class="pl-quiet">{escape(parts[0].name)} to {escape(parts[-1].name)}; bottom 0 %, middle '
        "50 %, top 100 %.</p>"
    )
