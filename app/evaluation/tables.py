"""The figures of an evaluation as JSON and as CSV: every number with its n and both ends of its interval. Knows no page."""

import csv
import io
import math
from dataclasses import asdict
from typing import Any

from app.evaluation.plan import Outcome, Plan
from app.evaluation.summary import Figures, Summary, Win
from app.insights.means import Mean
from app.insights.rates import Share


def as_json(plan: Plan, outcome: Outcome, summary: Summary, machine: dict[str, Any]) -> dict[str, Any]:
    """Everything, with every answer and its scores under its question; a number that there is not is null.

    Args:
        machine: what the seconds were measured on.
    """
    told = plan.told()
    del told["cases"]
    return finite(
        {
            "plan": told,
            "machine": machine,
            "figures": [asdict(figures) for figures in summary.figures],
            "wins": [asdict(win) for win in summary.wins],
            "cases": [_case(plan, outcome, i) for i in range(len(plan.cases))],
        }
    )


def _case(plan: Plan, outcome: Outcome, i: int) -> dict[str, Any]:
    case = plan.cases[i]
    answers = {
        name: asdict(written[i]) | {"scores": {c: by_name[name][i] for c, by_name in outcome.scores.items()}}
        for name, written in outcome.answers.items()
    }
    return {
        "prompt": case.prompt,
        "principle": case.principle.text,
        "persona": case.principle.persona,
        "answers": answers,
    }


def finite(value: Any) -> Any:
    """The same without infinities and what is no number, which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def figures_csv(figures: list[Figures]) -> str:
    """A row for every contestant and column of scores."""
    rows = [
        [one.name, column, *_numbers(found), one.words, one.forwards, one.seconds]
        for one in figures
        for column, found in one.scores.items()
    ]
    return _csv(["arm", "judge", "mean", "low", "high", "n", "words", "forwards", "seconds"], rows)


def wins_csv(wins: list[Win]) -> str:
    """A row for every judge and pair of contestants."""
    rows = [
        [
            *(win.judge, win.one, win.other, *_numbers(win.rate), win.ties),
            *(_numbers(win.gain)[:3] if win.gain else ["", "", ""]),
            win.longer,
            *(win.at_equal_length or ["", "", ""]),
            *(win.forwards, win.seconds),
        ]
        for win in wins
    ]
    names = [
        "judge",
        "arm",
        "against",
        "win_rate",
        "low",
        "high",
        "n",
        "ties",
        "gain",
        "gain_low",
        "gain_high",
        "longer",
    ]
    names += ["rate_at_equal_length", "equal_low", "equal_high", "forwards_ratio", "seconds_ratio"]
    return _csv(names, rows)


def _numbers(found: Mean | Share) -> list[Any]:
    return ["" if value is None else value for value in finite([found.value, *found.interval, found.n])]


def _csv(names: list[str], rows: list[list[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[round(cell, 6) if isinstance(cell, float) else cell for cell in row] for row in rows])
    return text.getvalue()
