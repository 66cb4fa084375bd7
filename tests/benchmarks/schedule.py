"""`python -m tests.benchmarks.schedule`: which rank, rate, epochs, schedule and end let twenty choices teach a style and cost least.

The simulated person of `learning` makes twenty choices for a style once. Every variation learns from the same ones, one thing changed
against `BASE`; measured are choices that none saw and plain answers to other prompts, beside the original model's, asked and not. What
was measured once is kept in `--work`, so that a killed run goes on where it was; the report is of all that is there.
"""

import argparse
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
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
from app.starter import CORPUS_FOLDER
from app.starter.compose import load_topics
from app.starter.dataset import is_held_out
from tests.benchmarks.learning import CHOICES, choose, is_fluent, on_topic, preference
from tests.benchmarks.machine import machine
from tests.benchmarks.proof_online import answered, principle_of, voices
from tests.benchmarks.proof_run import kept

STYLES = ("robot", "curt", "nervous", "cheerleader", "pirate")
FURTHER, UNSEEN = 40, 100
ADAPTER, PLAIN, ASKED, BEFORE = "schedule", "original, not asked", "original, asked", "as it was"
FLAGS = ("style", "on_topic", "fluent")
# What twenty choices, 18 of them to learn from, meant before any of this was measured: 35 steps, 5 an epoch.
BASE = RefreshSettings(rank=8, learning_rate=1.5e-3, epochs=7)

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
    """How to learn: `shape` is the share of the learning rate at a step; the end comes as soon as `is_enough`."""

    settings: RefreshSettings = BASE
    shape: Shape = learner.schedule
    enough: float = math.inf


def changed(shape: Shape = learner.schedule, enough: float = math.inf, **changes: Any) -> Variation:
    """`BASE` with some settings changed."""
    return Variation(BASE.model_copy(update=changes), shape, enough)


VARIATIONS = (
    {BEFORE: Variation()}
    | {f"epochs {epochs}": changed(epochs=epochs) for epochs in (1, 2, 3, 4, 5, 14)}
    | {f"rank {rank}": changed(rank=rank) for rank in (2, 4, 16, 32)}
    | {f"rate x{x:.2g}": changed(learning_rate=x * BASE.learning_rate) for x in (1 / 3, 2)}
    | {"constant": changed(constant), "cosine": changed(cosine)}
    | {f"enough at {margin}": changed(enough=margin) for margin in (2, 5, 8)}
    | {f"sft_weight {weight:g}": changed(sft_weight=weight) for weight in (0.3, 0)}
)


def is_enough(epoch: Sequence[Step], margin: float) -> bool:
    """Whether every step of an epoch had all its pairs right, and by such a mean margin (as `Step.margin`)."""
    return all(step.accuracy == 1 and step.margin >= margin for step in epoch)


@cache
def topics_of(seed: int) -> tuple[list[dict], list[dict], list[dict]]:
    """Topics to answer after learning, topics to choose on, and all of them."""
    topics = [t for t in load_topics(CORPUS_FOLDER / "topics") if not is_held_out("topic", t["prompts"][0])]
    random.Random(seed).shuffle(topics)
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
    with patch.object(learner, "schedule", variation.shape):
        running = train(model, encode(model, pairs), variation.settings, ADAPTER)
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
        "fluent": [is_fluent(text) for text in texts],
        "examples": texts[:5],
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
        found["accuracy"] = share(count_above_zero(torch.tensor(gaps)), len(gaps)).__dict__
        found["margin"] = clustered_mean(gaps, np.arange(len(gaps))).__dict__
    both = [style for style in cells if style in before]
    for flag in FLAGS:
        found[flag] = _mean([cell[flag] for cell in cells.values()])
        found[f"lowest {flag}"] = min(float(np.mean(cell[flag])) for cell in cells.values())
        if both:
            gains = [np.subtract(cells[style][flag], before[style][flag], dtype=float) for style in both]
            found[f"{flag} minus {BEFORE}"] = _mean(gains)
    return found


def of_style(cell: Cell) -> dict[str, Any]:
    """A row of one style: what was counted, without its answers."""
    found: dict[str, Any] = {flag: share(sum(cell[flag]), len(cell[flag])).__dict__ for flag in FLAGS}
    found["words"] = round(float(np.mean(cell["words"])), 1)
    if "gaps" in cell:
        gaps = torch.tensor(cell["gaps"])
        found |= {key: cell[key] for key in ("steps", "seconds", "losses")}
        found["accuracy"] = share(count_above_zero(gaps), len(gaps)).__dict__
        found["margin"] = clustered_mean(gaps.numpy(), np.arange(len(gaps))).__dict__
    return found


def _mean(rows: Sequence[Sequence[float]]) -> dict[str, Any]:
    # One row a style, one column a prompt.
    values = np.array(rows, float)
    return clustered_mean(values.ravel(), np.tile(np.arange(values.shape[1]), len(values))).__dict__


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows over all styles as Markdown."""
    lines = [
        f"| | steps | s | right | nats | style (lowest) | on topic (lowest) | minus {BEFORE} | fluent (lowest) |",
        "|" + "---|" * 9,
    ]
    for name, row in rows.items():
        learnt_ = "– | – | – | –"
        if "steps" in row:
            steps = "/".join(map(str, row["steps"])) if len(set(row["steps"])) > 1 else str(row["steps"][0])
            learnt_ = f"{steps} | {row['seconds']:.1f} | {_shown(row['accuracy'])} | {row['margin']['value']:+.0f}"
        flags = {flag: f"{_shown(row[flag])} ({row[f'lowest {flag}']:.2f})" for flag in FLAGS}
        gain = _shown(row[f"on_topic minus {BEFORE}"], "+") if f"on_topic minus {BEFORE}" in row else "–"
        lines.append(f"| {name} | {learnt_} | {flags['style']} | {flags['on_topic']} | {gain} | {flags['fluent']} |")
    return "\n".join(lines)


def _shown(mean: dict[str, Any], sign: str = "") -> str:
    low, high = mean["interval"]
    return f"{mean['value']:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"


def main() -> None:
    """Measures what is not measured yet; prints and keeps the rest with it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.schedule", description=__doc__.splitlines()[0])
    rows = (PLAIN, ASKED, *VARIATIONS)
    parser.add_argument("--only", nargs="+", choices=rows, default=rows, metavar="ROW", help="; ".join(rows))
    parser.add_argument("--styles", nargs="+", default=STYLES)
    parser.add_argument("--choices", type=int, default=CHOICES, help="choices that are learnt from, a tenth kept aside")
    parser.add_argument("--seed", type=int, default=0, help="of the prompts")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "plumbline-schedule")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = LanguageModel.load("starter")
    folder = options.work / f"{model.revision}-{options.choices}-{options.seed}"
    cells: dict[str, dict[str, Cell]] = {name: {} for name in rows}
    for style in options.styles:
        kept_choices = kept(
            folder / style / "choices.json", lambda style=style: choices(style, options.seed, options.choices + FURTHER)
        )
        made = [make_pair(choice["messages"], *choice["texts"]) for choice in kept_choices]
        for name in rows:
            file = folder / style / f"{name}.json"
            if name not in options.only and not file.exists():
                continue
            make = lambda style=style, made=made, name=name: measured(  # noqa: E731
                model, style, options.seed, made, options.choices, name
            )
            cells[name][style] = kept(file, make)
            print(f"{style}, {name}: on topic {np.mean(cells[name][style]['on_topic']):.2f}", file=sys.stderr)
    found = {name: summary(by_style, cells[BEFORE]) for name, by_style in cells.items() if by_style}
    print(table(found))
    if options.json:
        about = {
            "machine": machine(),
            "revision": model.revision,
            "choices": options.choices,
            "seed": options.seed,
            "base": BASE.model_dump(),
            "rows": found,
            "styles": {
                style: {name: of_style(cells[name][style]) for name in rows if style in cells[name]}
                for style in options.styles
            },
        }
        options.json.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
