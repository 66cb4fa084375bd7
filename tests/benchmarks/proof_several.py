"""The proof's part on several principles at once: answers that follow both, and a negative weight that takes one of them out.

Each pair is of two personas whose rules leave each other room; prompts are asked in every way, and every answer is held against the
rules of both, and against the corpus's trigrams, which tell word salad from sentences. Nothing is learnt here; what decodes is the product's own linear alignment, one context a principle.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.decoding.arms import DecodeSettings, build_arms
from app.decoding.run import Run
from app.evaluation.answering import written
from app.evaluation.plan import Written
from app.evaluation.questions import Case, Principle, own_prompts
from app.evaluation.scoring import by_likelihood, follows, starter_fluency, well_formed
from app.insights.means import clustered_mean
from app.insights.rates import clustered_share
from app.model import LanguageModel
from app.prompts import contexts
from tests.benchmarks.proof_online import finished, principle_of, voices
from tests.benchmarks.proof_run import difference, kept

Row = dict[str, Any]
Pair = tuple[str, str]
Fluent = Callable[[str, bool], bool]  # from a text, and whether it ended by itself

PAIRS: tuple[Pair, ...] = (
    ("pirate", "curt"),
    ("pirate", "lister"),
    ("cheerleader", "lister"),
    ("pirate", "cheerleader"),
)
PROMPTS = 25
SETTINGS = DecodeSettings(temperature=0, max_new_tokens=120)
SHARES = ("first", "second", "both", "both, fluent", "fluent", "well_formed")
MEANS = ("implicit first", "implicit second", "words", "forwards")


@dataclass(frozen=True)
class Way:
    """A way of asking.

    arm: of `app.decoding.arms`; aligned at the usual ratio.
    weights: of the first principle, of the second, and of both sentences in one prompt; what has weight 0 is not read.
    """

    name: str
    arm: str
    weights: tuple[float, float, float]


TAKEN_OUT = "the same, the second at -1 beside it"
WAYS = (
    Way("plain", "baseline", (0, 0, 0)),
    Way("asked for the first", "principle_prompted", (1, 0, 0)),
    Way("asked for both in one prompt", "principle_prompted", (0, 0, 1)),
    Way("asked, weights 1 and 1", "principle_prompted", (1, 1, 0)),
    Way("aligned with the first", "linear_aligned", (1, 0, 0)),
    Way("aligned, weights 1 and 1", "linear_aligned", (1, 1, 0)),
    Way("aligned, weights 1 and 0.5", "linear_aligned", (1, 0.5, 0)),
    Way("aligned, weights 1 and -1", "linear_aligned", (1, -1, 0)),
    Way("aligned with both in one prompt", "linear_aligned", (0, 0, 1)),
    Way(TAKEN_OUT, "linear_aligned", (0, -1, 1)),
)
# What is told of two ways beside each other: the ways, the later one first, and the columns.
STEPS = (
    ("asked, weights 1 and 1", "asked for the first", ("first", "second", "both", "fluent")),
    ("aligned, weights 1 and 1", "aligned with the first", ("first", "second", "both", "fluent")),
    ("aligned, weights 1 and 1", "asked for both in one prompt", ("both", "fluent")),
    ("aligned, weights 1 and -1", "aligned with the first", ("first", "implicit second", "fluent")),
    (TAKEN_OUT, "aligned with both in one prompt", ("first", "second", "implicit second", "fluent")),
)


def measure(work: Path, limit: int) -> dict[str, Any]:
    """Every way for every pair, its shares over all pairs and by pair, and the steps between ways.

    Args:
        work: where finished answers are kept.
        limit: how many of the own prompts are answered, at most `PROMPTS`.
    """
    model = LanguageModel.load("starter")
    fluent = starter_fluency()
    prompts = [question.prompt for question in own_prompts()[: min(limit, PROMPTS)]]
    rows: dict[str, dict[Pair, list[Row]]] = {}
    for way in WAYS:
        for pair in PAIRS:
            file = work / f"{way.name}, {' and '.join(pair)}.json"
            found = kept(file, lambda pair=pair, way=way: answers(model, pair, way, prompts, fluent))
            rows.setdefault(way.name, {})[pair] = found
        print(way.name, file=sys.stderr)
    return {"pairs": PAIRS, "settings": SETTINGS.model_dump()} | told(rows)


def answers(
    model: LanguageModel,
    pair: Pair,
    way: Way,
    prompts: list[str],
    fluent: Fluent,
    settings: DecodeSettings = SETTINGS,
) -> list[Row]:
    """A row for each prompt: what was answered, which of the two rules it follows, how likely each principle makes it."""
    texts = finished(written(model, runs(model, pair, way, prompts, settings)))
    likely = [likelihoods(model, persona, prompts, texts) for persona in pair]
    return [row(pair, fluent, *one) for one in zip(prompts, texts, *likely, strict=True)]


def runs(model: LanguageModel, pair: Pair, way: Way, prompts: list[str], settings: DecodeSettings) -> list[Run]:
    """The prompts as the engine takes them: a context without any principle, and one for each that has a weight."""
    first, second = map(principle_of, pair)
    read = [(text, w) for text, w in zip((first, second, f"{first} {second}"), way.weights, strict=True) if w]
    settings = settings.model_copy(update={"no_repeat_ngram": model.no_repeat_ngram})
    arms = build_arms([way.arm], torch.tensor([w for _, w in read], device=model.device), settings)
    chats = [contexts([{"role": "user", "content": prompt}], [text for text, _ in read]) for prompt in prompts]
    asked = [[model.chat_ids(chat) for chat in each] for each in chats]
    return [Run(each, arms, settings, model.end_ids, word_starts=model.word_starts) for each in asked]


def likelihoods(model: LanguageModel, persona: str, prompts: list[str], texts: list[Written]) -> list[float | None]:
    """As the implicit judge scores each answer under a persona's principle; None for an empty one."""
    cases = [Case(prompt, Principle(principle_of(persona), persona)) for prompt in prompts]
    return [score["implicit"] for score in by_likelihood(model)(cases, texts)]


def row(pair: Pair, fluent: Fluent, prompt: str, answer: Written, first: float | None, second: float | None) -> Row:
    """One answer held against both rules; `first` and `second` are its likelihoods."""
    shown = [shows(answer.text, persona) for persona in pair]
    reads_well = fluent(answer.text, answer.ended)
    return {
        "prompt": prompt,
        "text": answer.text,
        "first": shown[0],
        "second": shown[1],
        "both": all(shown),
        "both, fluent": all(shown) and reads_well,
        "fluent": reads_well,
        "well_formed": well_formed(answer.text, answer.ended),
        "implicit first": first,
        "implicit second": second,
        "words": len(answer.text.split()),
        "forwards": answer.forwards,
    }


def shows(text: str, persona: str) -> bool:
    """Whether a text shows a manner beside another one: its rule, but that a sentence in the other manner may stand above a list."""
    voice = voices()[persona]
    if voice.check == "dashes":
        return sum(line.startswith("- ") for line in text.splitlines()) > 1
    return follows(text, voice)


def told(rows: dict[str, dict[Pair, list[Row]]]) -> dict[str, Any]:
    """The figures of every way and of every step, from the rows by way and pair."""
    ways = {
        name: summary([row for each in by_pair.values() for row in each])
        | {
            "by pair": {"+".join(pair): summary(each) for pair, each in by_pair.items()},
            "examples": {"+".join(pair): each[0]["text"] for pair, each in by_pair.items()},
        }
        for name, by_pair in rows.items()
    }
    together = {name: [row for each in by_pair.values() for row in each] for name, by_pair in rows.items()}
    steps = {
        f"{later} minus {before}": {column: gap(together[later], together[before], column) for column in columns}
        for later, before, columns in STEPS
    }
    return {"ways": ways, "steps": steps}


def summary(rows: list[Row]) -> dict[str, Any]:
    """Shares and means of rows, with 95 % intervals over prompts."""
    return {column: over_prompts(rows, column) for column in (*SHARES, *MEANS)}


def over_prompts(rows: list[Row], column: str) -> dict[str, Any]:
    """A share or a mean whose interval holds for prompts at large: answers to one prompt come together."""
    there = [row for row in rows if row[column] is not None]
    values, prompts = np.array([row[column] for row in there], float), np.array([row["prompt"] for row in there])
    if column in SHARES:
        _, groups = np.unique(prompts, return_inverse=True)
        return clustered_share(np.bincount(groups, weights=values), np.bincount(groups)).__dict__
    return clustered_mean(values, prompts).__dict__


def gap(later: list[Row], before: list[Row], column: str) -> dict[str, Any]:
    """The mean difference of two ways on the same prompts of the same pairs."""
    both = [(a, b) for a, b in zip(later, before, strict=True) if None not in (a[column], b[column])]
    gaps = np.array([float(a[column]) - float(b[column]) for a, b in both])
    return difference(gaps, np.array([a["prompt"] for a, _ in both]))
