"""A sweep over the strength as one picture and a table, escaped. Knows no Gradio."""

from html import escape

from app.sweep import Point

NAMES = {"ratio": "Strength (ratio)", "kl_budget": "Limit (KL budget, nats)"}
FIDELITY = "Fidelity: how much likelier the principle makes the answer"
FLUENCY = "Fluency: how natural the answer is to the plain model"
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 460, 150, 16, 30, 24


def sweep(points: list[Point], over: str) -> str:
    """Both measures over the points, side by side, and under them every point's answer."""
    pictures = ""
    if any(point.fidelity is not None for point in points):
        pictures = (
            '<div class="pl-charts">'
            f"{_chart(FIDELITY, 'pl-up', [(p.value, p.fidelity) for p in points])}"
            f"{_chart(FLUENCY, 'pl-down', [(p.value, p.fluency) for p in points])}</div>"
            '<p class="pl-quiet">Both in nats a token, by the original model. A good strength is high on the left before it falls on the right; '
            "the model that answers is also the one that judges, so read the answers, too.</p>"
        )
    rows = "".join(
        f'<tr><th scope="row">{p.value:g}</th><td>{_number(p.fidelity)}</td><td>{_number(p.fluency)}</td><td>{escape(p.text)}</td></tr>'
        for p in points
    )
    return (
        f'<div class="pl-card"><h3>The same prompt at every strength</h3>{pictures}<div class="pl-scroll"><table class="pl-table">'
        f"<tr><th>{NAMES[over]}</th><th>Fidelity</th><th>Fluency</th><th>Aligned answer</th></tr>{rows}</table></div></div>"
    )


def _chart(title: str, kind: str, found: list[tuple[float, float | None]]) -> str:
    # Points stand evenly: the values are chosen to be told apart, not to be measured along an axis.
    step = (WIDTH - 2 * LEFT) / max(1, len(found) - 1)
    known = [y for _, y in found if y is not None]
    low, span = min(known), (max(known) - min(known)) or 1.0
    height = HEIGHT - TOP - BOTTOM
    at = [
        (LEFT + i * step, None if y is None else TOP + height * (1 - (y - low) / span))
        for i, (_, y) in enumerate(found)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at if y is not None)
    marks = "".join(
        f'<text x="{x:.1f}" y="{HEIGHT - 4}">{value:g}</text>'
        + (
            ""
            if y is None
            else f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/><text x="{x:.1f}" y="{y - 9:.1f}">{_number(known_y)}</text>'
        )
        for (x, y), (value, known_y) in zip(at, found, strict=True)
    )
    told = "; ".join(f"{value:g}: {_number(y)}" for value, y in found)
    return (
        f'<figure class="pl-chart {kind}"><figcaption>{title}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}. {told}">'
        f'<polyline points="{line}"/>{marks}</svg></figure>'
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
