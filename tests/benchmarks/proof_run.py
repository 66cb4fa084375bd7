"""Runs `python -m app evaluate` for the proof and reads what it wrote; keeps what other parts have done. Knows no model and no method."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from app.__main__ import main
from app.insights.means import clustered_mean
from storage.files import whole_file


def evaluated(out: Path, *arguments: str) -> dict[str, Any]:
    """The results of one evaluation without its answers, which stay in the folder.

    Raises:
        RuntimeError: it was refused; why stands on standard error.
    """
    if main(["evaluate", "--out", str(out), "--batch", "32", *arguments]):
        raise RuntimeError(f"the evaluation in {out} was refused")
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    del results["cases"]
    return results


def cases_of(folder: Path) -> list[dict[str, Any]]:
    """The questions of an evaluation with everybody's answers and their scores."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))["cases"]


def paired(cases: list[dict[str, Any]], column: str, one: str, other: str) -> dict[str, Any]:
    """As `gain`, of any two arms, from the answers themselves; without the win rate."""
    both = [[case["answers"][arm]["scores"][column] for arm in (one, other)] for case in cases]
    there = [i for i, scores in enumerate(both) if None not in scores]
    gaps = np.array([both[i][0] - both[i][1] for i in there], float)
    return difference(gaps, np.array([cases[i]["prompt"] for i in there]))


def difference(gaps: np.ndarray, prompts: np.ndarray) -> dict[str, Any]:
    """The mean of paired differences with its 95 % interval over prompts; both of shape (answers,)."""
    found = clustered_mean(gaps, prompts)
    return {"mean": found.value, "low": found.interval[0], "high": found.interval[1], "n": found.n}


def gain(results: dict[str, Any], column: str, one: str, other: str) -> dict[str, Any]:
    """The mean difference of two arms' scores with its interval, and the win rate."""
    for win in results["wins"]:
        if win["judge"] == column and {win["one"], win["other"]} == {one, other}:
            low, high = win["gain"]["interval"]
            value, rate = win["gain"]["value"], win["rate"]["value"]
            if win["one"] == other:
                value, low, high, rate = -value, -high, -low, 1 - rate
            return {"mean": value, "low": low, "high": high, "n": win["gain"]["n"], "win rate": rate}
    raise KeyError(f"{one} and {other} were not compared by {column}")


def kept(file: Path, make: Callable[[], Any]) -> Any:
    """What a file holds as JSON; made and kept, whole or not at all, where it is not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        made = json.dumps(make(), ensure_ascii=False)
        with whole_file(file) as out:
            out.write(made.encode())
    return json.loads(file.read_text(encoding="utf-8"))
