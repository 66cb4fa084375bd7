"""The report of an evaluation: one HTML page that needs nothing else. All text of people and models is escaped. Knows no model.

The words are for a curious person; the terms of the field stand beside them.
"""

from html import escape

from app.evaluation.columns import COLUMNS
from app.evaluation.plan import Outcome, Plan
from app.evaluation.plots import Spot, scatter
from app.evaluation.summary import Figures, Summary, Win
from app.insights.means import Mean
from app.insights.rates import Share

EXAMPLES = 6
STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --paper: #faf8f3; --line: #ddd6c6; --soft: #5b5f66; --card: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e9e6df; --paper: #15171b; --line: #33363d; --soft: #a9a69f; --card: #1d2026; } }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 ui-sans-serif, system-ui, "Segoe UI", Arial, sans-serif; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; } p, li { max-width: 46rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.875rem; background: var(--card); }
th, td { padding: 0.3rem 0.7rem; border: 1px solid var(--line); text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
th:first-child, td:first-child, td.text, th.text { text-align: left; } td.text { white-space: pre-wrap; min-width: 16rem; }
small, .soft, figcaption { color: var(--soft); } figure { margin: 1rem 0; max-width: 44rem; background: var(--card);
  border: 1px solid var(--line); } .plots { display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 0 1rem; } svg { display: block; width: 100%; height: auto; }
svg text { font-size: 12px; fill: currentColor; } svg .grid { stroke: var(--line); }
figcaption { display: flex; flex-wrap: wrap; gap: 0.3rem 1rem; padding: 0.3rem 0.8rem 0.7rem; font-size: 0.875rem; }
figcaption i { display: inline-block; width: 0.7rem; height: 0.7rem; border-radius: 50%; margin-right: 0.4rem; }
"""


def report(plan: Plan, outcome: Outcome, summary: Summary) -> str:
    """The whole page.

    Args:
        plan, outcome, summary: what was to be done, what was done, and its figures.
    """
    prompts = len({case.prompt for case in plan.cases})
    principles = len({case.principle.text for case in plan.cases})
    said = f"{len(plan.cases)} questions: {prompts} prompts under {principles} principles, model {plan.model}"
    body = [
        f"<h1>What each way of answering gains, and what it costs</h1><p>{escape(said)} ({escape(plan.revision)}).</p>",
        _reading(summary),
        _plots(summary),
        "<h2>Each way of answering</h2>",
        _figures(summary.figures),
        "<h2>One against another</h2>",
        *(_wins(judge, summary.wins) for judge in dict.fromkeys(win.judge for win in summary.wins)),
        "<h2>Some answers</h2>",
        _examples(plan, outcome),
        f"<h2>How it was made</h2><p class='soft'>{escape(_made(plan))}</p>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Plumbline: an evaluation</title><style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _reading(summary: Summary) -> str:
    there = [column for column in COLUMNS if any(column in one.scores for one in summary.figures)]
    rows = "".join(f"<li><b>{escape(column)}</b>: {escape(COLUMNS[column].says)}</li>" for column in there)
    return (
        "<p>Brackets are 95 % intervals. They are drawn over prompts, since answers to the same prompt under several principles "
        "are alike. A win rate of 0.5 says that neither is preferred; ties count half. Cost is what the model has to read: one "
        f"<i>forward</i> a context and word piece. Seconds are of answers written in batches, on the machine that ran it.</p><ul>{rows}</ul>"
    )


def _plots(summary: Summary) -> str:
    there = [column for column in COLUMNS if all(column in one.scores for one in summary.figures)]
    fluency = [column for column in ("fluent", "natural", "well_formed") if column in there][:1]
    parts = []
    for column in there:
        if COLUMNS[column].fidelity:
            for over in fluency:
                parts.append(_plot(summary, column, over))
            parts.append(_plot(summary, column, ""))
    note = "<p class='soft'>Ringed: nobody else is better in both (the Pareto frontier). A line joins one way of answering at several strengths.</p>"
    return (
        f"<h2>Following the principle, against reading well and against cost</h2>{note}<div class='plots'>{''.join(parts)}</div>"
        if parts
        else ""
    )


def _plot(summary: Summary, column: str, over: str) -> str:
    families: dict[str, list[Spot]] = {}
    for one in summary.figures:
        found = one.scores[column]
        x = one.scores[over].value if over else one.forwards
        if found.n == 0:
            return ""
        families.setdefault(one.family, []).append(
            Spot(x, found.value, *found.interval, one.strength, f"{one.name}: {found.value:.3f}")
        )
    x_name = f"reads well ({over})" if over else "cost: forwards an answer"
    return scatter(families, x_name, f"follows the principle ({column})", less_x=not over)


def _number(found: Mean | Share | None) -> str:
    if found is None or found.n == 0:
        return "–"
    low, high = found.interval
    return f"{found.value:.3f} <small>[{low:.3f}, {high:.3f}]</small>"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"


def _figures(figures: list[Figures]) -> str:
    columns = [column for column in COLUMNS if any(column in one.scores for one in figures)]
    rows = [
        [
            escape(one.name),
            *(_number(one.scores.get(column)) for column in columns),
            *(f"{value:.1f}" for value in (one.words, one.forwards)),
            f"{one.seconds:.3f}",
        ]
        for one in figures
    ]
    return _table(["", *columns, "words", "forwards", "seconds"], rows)


def _wins(judge: str, wins: list[Win]) -> str:
    rows = []
    for win in wins:
        if win.judge == judge and win.rate.n:
            level = win.at_equal_length
            equal = f"{level[0]:.3f} <small>[{level[1]:.3f}, {level[2]:.3f}]</small>" if level else "–"
            rows.append(
                [
                    f"{escape(win.one)} <small>against {escape(win.other)}</small>",
                    *(_number(win.rate), str(win.rate.n), str(win.ties), _number(win.gain), f"{win.longer:.2f}", equal),
                    *(f"{win.forwards:.2f}", f"{win.seconds:.2f}"),
                ]
            )
    heads = ["", "win rate", "n", "ties", "gain", "words, ratio", "win rate at equal length"]
    return f"<h3>{escape(judge)}</h3>{_table([*heads, 'forwards, ratio', 'seconds, ratio'], rows)}" if rows else ""


def _examples(plan: Plan, outcome: Outcome) -> str:
    step = max(1, len(plan.cases) // EXAMPLES)
    parts = []
    for i in range(0, len(plan.cases), step)[:EXAMPLES]:
        case = plan.cases[i]
        rows = "".join(
            f'<tr><td>{escape(name)}</td><td class="text">{escape(written[i].text)}</td></tr>'
            for name, written in outcome.answers.items()
        )
        parts.append(
            f"<h3>{escape(case.prompt)}</h3><p class='soft'>{escape(case.principle.text)}</p>"
            f"<div class='wide'><table><tbody>{rows}</tbody></table></div>"
        )
    return "".join(parts)


def _made(plan: Plan) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in plan.settings.model_dump().items())
    return f"Judges: {', '.join(plan.judges)}. Settings: {settings}. Batches of {plan.batch}."
