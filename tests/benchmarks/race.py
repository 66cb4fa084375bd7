"""How figures come about: sides that take turns at the clock, ratios inside one repeat, rows with a bar. Knows callables and numbers only."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.machine import machine

Sides = dict[str, Callable[[], Any]]
Seconds = list[dict[str, float]]


def race(heats: Callable[[int], Iterable[Sides]], repeats: int) -> tuple[Seconds, list[dict[str, Any]]]:
    """Runs every heat `repeats` times. Within a heat the sides run one after another, and the order is turned round each time.

    Args:
        heats: from the number of the repeat to its heats, each a callable a side.
        repeats: at least 1.

    Returns:
        The seconds of each side, summed over the heats of a repeat, one dictionary a repeat; and what the sides returned, one
        dictionary a heat.
    """
    seconds: Seconds = []
    returned: list[dict[str, Any]] = []
    for repeat in range(repeats):
        sums: dict[str, float] = {}
        for sides in heats(repeat):
            results = {}
            for name in list(sides) if len(returned) % 2 == 0 else reversed(list(sides)):
                started = time.perf_counter()
                results[name] = sides[name]()
                sums[name] = sums.get(name, 0.0) + time.perf_counter() - started
            returned.append(results)
        seconds.append(sums)
    return seconds, returned


def ratios(seconds: Seconds, numerator: str, denominator: str) -> list[float]:
    """One side's seconds over another's, one number a repeat."""
    return [sums[numerator] / sums[denominator] for sums in seconds]


@dataclass(frozen=True)
class Row:
    """One line of a table: a figure a repeat, of which the median counts, and the bar that it has to meet.

    part, what: which part of the benchmark, and what the figure is.
    values: one a repeat.
    bar: None where the figure is for information only.
    at_least: whether the bar is a lower bound; else an upper one.
    details: further figures for the JSON.
    """

    part: str
    what: str
    values: list[float]
    bar: float | None = None
    at_least: bool = False
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The median over the repeats."""
        return median(self.values)

    @property
    def passed(self) -> bool | None:
        """Whether the bar is met; None without one."""
        if self.bar is None:
            return None
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def line(self) -> str:
        """The row as text for people."""
        bar = "" if self.bar is None else f"{'at least' if self.at_least else 'at most'} {self.bar:g}"
        verdict = {None: "", True: "met", False: "MISSED"}[self.passed]
        spread = f"{min(self.values):.2f} to {max(self.values):.2f}"
        return f"{self.part:3}{self.what:88}{self.value:8.2f}  {spread:18}{bar:16}{verdict}"


def report(rows: list[Row], about: dict[str, Any], path: Path | None) -> None:
    """Prints the table, and writes it with the machine as JSON where a path is given."""
    everything = {
        "machine": machine(),
        **about,
        "rows": [{**asdict(row), "value": row.value, "passed": row.passed} for row in rows],
    }
    print(", ".join(f"{key} {value}" for key, value in (everything["machine"] | about).items()))
    for row in rows:
        print(row.line())
    if path:
        path.write_text(json.dumps(everything, indent=1) + "\n")
