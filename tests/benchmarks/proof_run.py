"""Runs `python -m app evaluate` for the proof and reads what it wrote. Knows the command line only."""

import json
from pathlib import Path
from typing import Any

from app.__main__ import main


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
