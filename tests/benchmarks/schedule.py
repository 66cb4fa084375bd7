"""`python -m tests.benchmarks.schedule`: which rank, rate, epochs, schedule and end let twenty choices teach a style and cost least.

The simulated person of `learning` makes twenty choices for a style once. Every variation learns from the same ones, one thing changed
against `BASE`; measured are choices that none saw and plain answers to other prompts, beside the original model's, asked and not. What
was measured once is kept in `--work`, so that a killed run goes on where it was; the report is of all that is there.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from app.decoding.arms import DecodeSettings
from app.evaluation.scoring import follows
from app.insights import share
from app.insights.means import clustered_mean
from app.model import LanguageModel
from app.refresh import learner
from app.refresh.pairs import Pair, make_pair, split
from app.refresh.trainer import RefreshSettings, Step, count_above_zero, encode, margins, train
from app.services import build
from app.settings import Settings
from tests.benchmarks.learning import CHOICES, choose, is_fluent, known_topics, on_topic, preference
from tests.benchmarks.machine import machine
from tests.benchmarks.proof_online import answered, principle_of, voices
from tests.benchmarks.proof_run import kept

STYLES = ("robot", "curt", "nervous", "cheerleader", "pirate")
FURTHER, UNSEEN = 40, 50
ADAPTER, PLAIN, ASKED, BEFORE = "schedule", "original, not asked", "original, asked", "as it was"
FLAGS = ("style", "on_topic", "tells", "fluent")
# The defaults before any of this was measured, with as many epochs as make 32 steps at least.
BASE, BASE_STEPS = RefreshSettings(rank=8, learning_rate=1.5e-3), 32

Cell = dict[str, Any]
Shape = Callable[[int, int], float]


def constant(step: int, steps: int) -> float:
    """Up over the first tenth, then all of the learning rate to the end."""
    return min(1.0, (step + 1) / max(1, steps // 10))


def cosine(step: int, steps: int) -> float:
    """Up over the first tenth, then down by half a cosine."""
    warmup = max(1, steps // 10)
    done = max(0, step - warmup) / max(1, steps - warmup)
    return min(constant(step, steps), (1 + math.cos(math.pi * done)) / 2)


@dataclass(frozen=True)
class Variation:
    """How to learn: whole epochs of `steps` steps at least, `shape` is the share of the learning rate at each, and the end may come
    before, as soon as `is_enough`."""

    settings: RefreshSettings = BASE
    steps: int = BASE_STEPS
    shape: Shape = learner.schedule
    enough: float = math.inf


def changed(
    steps: int = BASE_STEPS, shape: Shape = learner.schedule, enough: float = math.inf, **changes: Any
) -> Variation:
    """`BASE` with some settings changed."""
    return Variation(BASE.model_copy(update=changes), steps, shape, enough)


VARIATIONS = (
    {BEFORE: Variation()}
    | {f"{steps} steps": changed(steps) for steps in (16, 24, 64)}
    | {f"rank {rank}": changed(rank=rank) for rank in (2, 16, 32, 64)}
    | {f"rate x{x:.2g}": changed(learning_rate=x * BASE.learning_rate) for x in (1 / 3, 2)}
    | {"constant": changed(shape=constant), "cosine": changed(shape=cosine)}
    | {"enough at 8": changed(enough=8.0), "rank 32, 24 steps": changed(24, rank=32)}
    | {f"draw {seed}": changed(seed=seed) for seed in (1, 2)}
    | {f"rank 32, draw {seed}": changed(rank=32, seed=seed) for seed in (1, 2)}
)


ROWS = (PLAIN, ASKED, *VARIATIONS)
DRAWS = ((BEFORE, "rank 32"), ("draw 1", "rank 32, draw 1"), ("draw 2", "rank 32, draw 2"))


def is_enough(epoch: Sequence[Step], margin: float) -> bool:
    """Whether every step of an epoch had all its pairs right, and by such a mean margin (as `Step.margin`)."""
    return all(step.accuracy == 1 and step.margin >= margin for step in epoch)


@cache
def topics_of(seed: int) -> tuple[list[dict], list[dict], list[dict]]:
    """Topics to answer after learning, topics to choose on, and all of them."""
    topics = known_topics(seed)
    return topics[:UNSEEN], topics[UNSEEN:], topics


def choices(style: str, seed: int, wanted: int) -> list[dict[str, Any]]:
    """So many clear choices of the simulated person, in order."""
    services = build(Settings(data=Path(tempfile.mkdtemp())))
    stream = islice(choose(services, style, topics_of(seed)[1], preference(style)), wanted)
    return [
        {"messages": services.store.round(round_id).messages, "texts": [better.text, other.text]}
        for round_id, better, other, _ in stream
    ]


def learnt(model: LanguageModel, pairs: list[Pair], variation: Variation) -> list[Step]:
    """The steps of one refresh, to its end or until enough is learnt."""
    steps: list[Step] = []
    epoch = math.ceil(len(pairs) / variation.settings.pairs_per_step)
    settings = variation.settings.model_copy(update={"epochs": math.ceil(variation.steps / epoch)})
    with patch.object(learner, "schedule", variation.shape):
        running = train(model, encode(model, pairs), settings, ADAPTER)
        for step in running:
            steps.append(step)
            if len(steps) >= epoch and is_enough(steps[-epoch:], variation.enough):
                running.close()
    return steps


def answers(model: LanguageModel, style: str, seed: int, adapter: str | None, told: str = "") -> Cell:
    """What greedy answers to prompts that nobody chose on are like, one figure an answer; `told` is a principle, framed."""
    topics, _, everything = topics_of(seed)
    decode = DecodeSettings(temperature=0, max_new_tokens=120, no_repeat_ngram=model.no_repeat_ngram)
    asked = [[{"role": "user", "content": topic["prompts"][0]}] for topic in topics]
    texts = [model.decode(ids) for ids in answered(model, asked, adapter, decode, [0] * len(asked), told)]
    return {
        "words": [len(text.split()) for text in texts],
        "style": [follows(text, voices()[style]) for text in texts],
        "on_topic": on_topic(texts, topics, everything),
        # A robot that does not know says so about the right thing: on topic, and no use to anybody.
        "tells": on_topic(texts, topics, everything, beyond=True),
        "fluent": [is_fluent(text) for text in texts],
        "texts": texts,
    }


def measured(model: LanguageModel, style: str, seed: int, made: list[Pair], wanted: int, name: str) -> Cell:
    """One row for one style: learns, measures and forgets.

    Args:
        model, style, seed: what learns, what, and the seed of the prompts.
        made: all choices; the first `wanted` are voted, the others only measured on.
        name: a variation, or one of the two rows of the original model.
    """
    if name in (PLAIN, ASKED):
        return answers(model, style, seed, None, principle_of(style) if name == ASKED else "")
    variation, further = VARIATIONS[name], encode(model, made[wanted:])
    training, _ = split(made[:wanted], variation.settings.seed)
    began = time.perf_counter()
    try:
        steps = learnt(model, training, variation)
        seconds = round(time.perf_counter() - began, 2)
        with torch.no_grad():
            gaps = margins(model, further, ADAPTER) - margins(model, further, None)
        found = answers(model, style, seed, ADAPTER)
    finally:
        model.drop_adapter(ADAPTER)
    losses = [float(f"{step.loss:.3g}") for step in steps]
    return {"steps": len(steps), "seconds": seconds, "losses": losses, "gaps": gaps.tolist()} | found


def summary(cells: dict[str, Cell], before: dict[str, Cell]) -> dict[str, Any]:
    """A row over the styles: shares and means with 95 % intervals, drawn over the prompts, which all styles have in common.

    Args:
        cells: of one row, by style.
        before: of `BEFORE`, by style; what this row is less or more is told of the styles that both have.
    """
    found: dict[str, Any] = {"styles": len(cells), "words": _mean([cell["words"] for cell in cells.values()])}
    if all("gaps" in cell for cell in cells.values()):
        gaps = np.concatenate([cell["gaps"] for cell in cells.values()])
        found["steps"] = [cell["steps"] for cell in cells.values()]
        found["seconds"] = median(cell["seconds"] for cell in cells.values())
        found |= ahead_of_the_original(gaps)
    both = [style for style in cells if style in before]
    for flag in FLAGS:
        found[flag] = _mean([cell[flag] for cell in cells.values()])
        found[f"lowest {flag}"] = min(float(np.mean(cell[flag])) for cell in cells.values())
        if both:
            gains = [np.subtract(cells[style][flag], before[style][flag], dtype=float) for style in both]
            found[f"{flag} minus {BEFORE}"] = _mean(gains)
    return found


def run_by_run(cells: list[dict[str, dict[str, Cell]]]) -> dict[str, Any]:
    """By how much rank 32 is ahead of `BASE`, a figure a run: the same choices, draw and prompts, whose 95 % interval is over runs.

    Args:
        cells: of each seed of the prompts, by row and style.
    """
    pairs = {
        f"{style}, prompts {number}, {one}": (by_row[one][style], by_row[other][style])
        for number, by_row in enumerate(cells)
        for one, other in DRAWS
        for style in by_row.get(one, {})
        if style in by_row.get(other, {})
    }
    found: dict[str, Any] = {"runs": len(pairs)}
    for flag in FLAGS:
        each = {run: [round(float(np.mean(cell[flag])), 3) for cell in pair] for run, pair in pairs.items()}
        values = np.array(list(each.values())).reshape(-1, 2)
        gains = clustered_mean(values[:, 1] - values[:, 0], np.arange(len(values))).__dict__
        lowest = values.min(axis=0).tolist() if pairs else None
        found[flag] = {"rank 32 minus rank 8": gains, "lowest of each": lowest, "each": each}
    return found


def of_style(cell: Cell) -> dict[str, Any]:
    """A row of one style: what was counted, without its answers."""
    found: dict[str, Any] = {flag: share(sum(cell[flag]), len(cell[flag])).__dict__ for flag in FLAGS}
    found["words"] = round(float(np.mean(cell["words"])), 1)
    if "gaps" in cell:
        found |= {key: cell[key] for key in ("steps", "seconds", "losses")}
        found |= ahead_of_the_original(np.array(cell["gaps"]))
    return found


def ahead_of_the_original(gaps: np.ndarray) -> dict[str, Any]:
    """How many further pairs come out right against the original model, and by how many nats; `gaps` one a pair."""
    return {
        "accuracy": share(count_above_zero(torch.from_numpy(gaps)), len(gaps)).__dict__,
        "margin": clustered_mean(gaps, np.arange(len(gaps))).__dict__,
    }


def _mean(rows: Sequence[Sequence[float]]) -> dict[str, Any]:
    # One row a style, one column a prompt.
    values = np.array(rows, float)
    return clustered_mean(values.ravel(), np.tile(np.arange(values.shape[1]), len(values))).__dict__


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows over their styles as Markdown; in round brackets the lowest of the styles."""
    lines = [
        f"| | styles | steps | s | right | nats | style | on topic | tells of it | minus {BEFORE} | fluent | words |",
        "|" + "---|" * 12,
    ]
    for name, row in rows.items():
        steps = seconds = right = nats = "–"
        if "steps" in row:
            steps, seconds = "/".join(map(str, dict.fromkeys(row["steps"]))), f"{row['seconds']:.1f}"
            right, nats = _shown(row["accuracy"]), f"{row['margin']['value']:+.0f}"
        style, topic, tells, fluent = (f"{_shown(row[flag])} ({row[f'lowest {flag}']:.2f})" for flag in FLAGS)
        gain = _shown(row[f"tells minus {BEFORE}"], "+") if f"tells minus {BEFORE}" in row else "–"
        words = f"{row['words']['value']:.1f}"
        cells = (name, row["styles"], steps, seconds, right, nats, style, topic, tells, gain, fluent, words)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _shown(mean: dict[str, Any], sign: str = "") -> str:
    low, high = mean["interval"]
    return f"{mean['value']:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"


def measured_rows(
    model: LanguageModel, folder: Path, styles: Sequence[str], only: Sequence[str], seed: int, wanted: int
) -> dict[str, dict[str, Cell]]:
    """Measures what is asked for and not kept yet; returns all that is kept, by row and style."""
    cells: dict[str, dict[str, Cell]] = {}
    for style in styles:
        make = partial(choices, style, seed, wanted + FURTHER)
        found = kept(folder / style / "choices.json", make) if only else []
        made = [make_pair(choice["messages"], *choice["texts"]) for choice in found]
        for name in only:
            make = partial(measured, model, style, seed, made, wanted, name)
            cell = kept(folder / style / f"{name}.json", make)
            flags = ", ".join(f"{flag} {np.mean(cell[flag]):.2f}" for flag in FLAGS)
            print(f"{style}, {name}: {flags}", file=sys.stderr)
        for name in ROWS:
            if (file := folder / style / f"{name}.json").exists():
                cells.setdefault(name, {})[style] = json.loads(file.read_text(encoding="utf-8"))
    return {name: cells[name] for name in ROWS if name in cells}


def main() -> None:
    """Measures what is not measured yet; prints and keeps the rest with it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.schedule", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="*", default=ROWS, metavar="ROW", help=f"none: report what is kept; {'; '.join(ROWS)}"
    )
    parser.add_argument("--styles", nargs="+", default=STYLES)
    parser.add_argument("--choices", type=int, default=CHOICES, help="choices to learn from, some of them held out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the prompts, to choose on and to answer")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "plumbline-schedule")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if unknown := set(options.only) - set(ROWS):
        parser.error(f"there is no row {', '.join(sorted(unknown))}; the rows are {'; '.join(ROWS)}")
    model = LanguageModel.load("starter")
    about = {"machine": machine(), "revision": model.revision, "choices": options.choices}
    about |= {"base": BASE.model_dump() | {"steps": BASE_STEPS}}
    measured_: dict[int, dict[str, dict[str, Cell]]] = {}
    for seed in options.seeds:
        folder = options.work / f"{model.revision}-{options.choices}-{seed}"
        cells = measured_[seed] = measured_rows(model, folder, options.styles, options.only, seed, options.choices)
        rows = {name: summary(by_style, cells.get(BEFORE, {})) for name, by_style in cells.items()}
        print(f"prompts {seed}\n{table(rows)}")
        styles = {style: {n: of_style(row[style]) for n, row in cells.items() if style in row} for style in STYLES}
        about[f"prompts {seed}"] = {"rows": rows, "styles": styles}
    about["run by run"] = run_by_run(list(measured_.values()))
    if options.json:
        options.json.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
