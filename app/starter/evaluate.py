"""`python -m app.starter.evaluate`: measures the starter on held-out wordings, new topics and new personas, and writes the scores.

The judges are in `measures`, the decoding in `answering`. Every share comes with its number of cases and a 95 % interval; where
the project set itself a bar, the table shows it, met or not.
"""

import argparse
import json
import random
import re
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from sklearn.feature_extraction.text import TfidfVectorizer

from app.decoding.arms import DecodeSettings
from app.insights import share
from app.model import LanguageModel
from app.starter import STARTER_FOLDER
from app.starter.answering import ARMS, Case, answer
from app.starter.compose import read_lines
from app.starter.dataset import Corpus, Sample, draw_prompt
from app.starter.held_out import is_held_out
from app.starter.measures import (
    ADMISSION,
    Admission,
    Fluency,
    PersonaClassifier,
    Relevance,
    bootstrap_interval,
    first_sentence_removed,
    names_the_thing,
)
from app.starter.wordings import GROUPS

FOLDER = STARTER_FOLDER / "evaluation"
SCORES = STARTER_FOLDER / "scores.json"
CONFIG = STARTER_FOLDER / "config.yaml"
INVENTED_THINGS = 100
TRAINED_PROMPTS = 200
FAR = 0.6  # cosine by TF-IDF to the nearest trained prompt, below which a fresh prompt is really new
# The bars of the project, by a row's name without its decoding: at least this share, or this low end of a difference's interval.
BARS = {
    "classifier on gold answers kept aside": 0.85,
    "persona: prompted": 0.75,
    "persona: baseline is plain": 0.95,
    "persona: aligned 2 minus prompted": 0.0,
    "persona: the same, first sentence removed": 0.0,
    "relevance: baseline": 0.80,
    "relevance: aligned 2": 0.70,
    **{f"fluency: {arm}": 0.97 for arm in ARMS if arm != "baseline"},
    "new things: fresh prompts, on topic or honestly unsure": 0.5,
    "new things: copying an invented name": 0.8,
    "new things: copying a real name": 0.8,
    "unseen persona: prompted": 0.6,
}


def fraction(flags: list[bool]) -> dict[str, Any]:
    """A share with its Wilson interval, as JSON."""
    found = share(sum(flags), len(flags))
    low, high = found.interval
    return {"share": round(found.value, 3), "low": round(low, 3), "high": round(high, 3), "n": len(flags)}


def difference(after: list, before: list) -> dict[str, Any]:
    """A mean paired difference with its bootstrap interval, as JSON."""
    mean, low, high = bootstrap_interval([float(a) - float(b) for a, b in zip(after, before, strict=True)])
    return {"mean": round(mean, 3), "low": round(low, 3), "high": round(high, 3), "n": len(after)}


def known_cases(corpus: Corpus, rng: random.Random, per_persona: int) -> list[Case]:
    """Trained topics in held-out prompt wordings, each under a held-out wording of a persona."""
    topics = [t for t in corpus.known_topics if any(is_held_out("prompt", p) for p in t["prompts"])]
    return [
        Case(corpus.composed(rng, topic, True, persona))
        for persona in corpus.wordings
        for topic in rng.sample(topics, per_persona)
    ]


def trained_cases(corpus: Corpus, rng: random.Random) -> list[Case]:
    """Trained topics in prompts that training draws, for the plain voice: what held-out prompts are to be compared with."""
    return [
        Case(Sample((), draw_prompt(rng, topic["prompts"], held_out=False), "", topic=topic["prompts"][0]))
        for topic in rng.sample(corpus.known_topics, TRAINED_PROMPTS)
    ]


def persona_scores(cases: list[Case], corpus: Corpus, classifier: PersonaClassifier) -> dict[str, Any]:
    """Fidelity of each arm, and aligned against prompted with a paired bootstrap, whole and without the first sentence."""
    personas = [case.sample.persona for case in cases]
    named = {arm: classifier.name([case.text(arm) for case in cases]) for arm in ARMS}
    right = {arm: [a == b for a, b in zip(named[arm], personas, strict=True)] for arm in ARMS}
    scores: dict[str, Any] = {arm: fraction(right[arm]) for arm in ARMS if arm != "baseline"}
    scores["baseline is plain"] = fraction([name == "plain" for name in named["baseline"]])
    # A held-out role is often a trained role in another template; the other wordings are new sentences.
    sentences = [_is_sentence(case, corpus) for case in cases]
    for arm in ("prompted", "aligned 2"):
        scores[f"{arm}, roles and readers"] = fraction([r for r, s in zip(right[arm], sentences, strict=True) if not s])
        scores[f"{arm}, whole sentences"] = fraction([r for r, s in zip(right[arm], sentences, strict=True) if s])
        marked = [(_is_marked(case.text(arm), case.sample.persona, corpus)) for case in cases]
        scores[f"{arm}, a marker is there"] = fraction([mark for mark in marked if mark is not None])
    scores["aligned 2 minus prompted"] = difference(right["aligned 2"], right["prompted"])
    sure = {arm: classifier.probability([c.text(arm) for c in cases], personas) for arm in ("prompted", "aligned 2")}
    scores["the same, classifier's probability"] = difference(sure["aligned 2"], sure["prompted"])
    # A curt answer is one sentence: without it nothing is left to judge.
    longer = [case for case in cases if case.sample.persona != "curt"]
    hits = {}
    for arm in ("prompted", "aligned 2"):
        rest = classifier.name([first_sentence_removed(case.text(arm)) for case in longer])
        hits[arm] = [name == case.sample.persona for name, case in zip(rest, longer, strict=True)]
    scores["the same, first sentence removed"] = difference(hits["aligned 2"], hits["prompted"])
    scores["by persona (prompted, aligned 2)"] = {
        persona: [_mean([r for r, p in zip(right[arm], personas, strict=True) if p == persona]) for arm in hits]
        for persona in sorted(set(personas))
    }
    return scores


def _mean(flags: list[bool]) -> float:
    return round(sum(flags) / len(flags), 2)


def _is_sentence(case: Case, corpus: Corpus) -> bool:
    groups = dict(zip(GROUPS, corpus.wordings[case.sample.persona].groups, strict=True))
    return not any(wording in groups["roles"] or wording in groups["readers"] for wording in case.sample.wordings)


def _is_marked(text: str, persona: str, corpus: Corpus) -> bool | None:
    """Whether the text holds a marker of the persona's voice; None where the voice is known by its form alone."""
    markers = corpus.voices[persona].markers
    return any(re.search(marker, text) for marker in markers) if markers else None


def relevance_scores(
    cases: list[Case], trained: list[Case], relevance: Relevance, admits: Callable[[str], bool]
) -> dict[str, Any]:
    """Each arm's answers, as they are and without the words of their prompt; the baseline on prompts that training draws; how often an
    arm says of a known topic that it does not know; and what echoing the prompt alone would reach."""
    scores: dict[str, Any] = {}
    for arm in ("baseline", "prompted", "aligned 2"):
        scores[arm] = fraction([relevance.is_first(c.text(arm), c.sample.topic) for c in cases])
        kept = [relevance.is_first(c.text(arm), c.sample.topic, without=c.sample.user) for c in cases]
        scores[f"{arm}, without the prompt's words"] = fraction(kept)
    scores["baseline, trained wordings"] = fraction(
        [relevance.is_first(c.text("baseline"), c.sample.topic) for c in trained]
    )
    for arm in ("baseline", "prompted", "aligned 2"):
        scores[f"{arm}, says that it does not know"] = fraction([admits(c.text(arm)) for c in cases])
    scores["the prompt itself as the answer"] = fraction(
        [relevance.is_first(c.sample.user, c.sample.topic) for c in cases]
    )
    return scores


def evaluate(model: LanguageModel, corpus: Corpus, per_persona: int, temperatures: dict[str, float]) -> dict[str, Any]:
    """All measures, as nested dictionaries of shares.

    Args:
        model: the starter, or any other model for comparison.
        corpus: gives held-out topics and wordings and teaches the judges.
        per_persona: prompts for each persona.
        temperatures: by name of the decoding, 0 for greedy.
    """
    classifier, fluent = PersonaClassifier(corpus), Fluency(corpus)
    relevance = Relevance({t["prompts"][0]: t["plain"] for t in corpus.topics})
    checked = defaultdict(list)
    for persona, right in classifier.check():
        checked[persona].append(right)
    scores: dict[str, Any] = {
        "classifier on gold answers kept aside": fraction([right for flags in checked.values() for right in flags]),
        "classifier on gold answers kept aside, by persona": {p: _mean(flags) for p, flags in sorted(checked.items())},
        "perplexity at most": round(fluent.strangest, 1),
    }
    for name, temperature in temperatures.items():
        cases = known_cases(corpus, random.Random(31), per_persona)
        answer(model, cases, list(ARMS), temperature, f"known topics, {name}")
        trained = trained_cases(corpus, random.Random(61))
        answer(model, trained, ["baseline"], temperature, f"trained wordings, {name}")
        scores[name] = {
            "persona": persona_scores(cases, corpus, classifier),
            "relevance": relevance_scores(cases, trained, relevance, Admission(corpus.unknown)),
            "fluency": {arm: fraction([fluent(*case.answers[arm]) for case in cases]) for arm in ARMS},
            "new things": new_things(model, corpus, relevance, temperature),
            "unseen persona": unseen_personas(model, corpus, classifier, temperature),
        }
    return scores


def new_things(model: LanguageModel, corpus: Corpus, relevance: Relevance, temperature: float) -> dict[str, Any]:
    """Held-out topics, prompts written apart from the corpus, and things that nobody told the model about."""
    rng = random.Random(41)
    topics = [t for t in corpus.topics if is_held_out("topic", t["prompts"][0])]
    unseen = [Case(Sample((), t["prompts"][0], "", "plain", t["prompts"][0])) for t in topics]
    entries = read_lines(FOLDER / "fresh_prompts.jsonl")
    fresh = [Case(Sample((), entry["prompt"], "")) for entry in entries]
    things = [e for e in corpus.beyond if is_held_out("topic", e["thing"])]
    real = [Case(Sample((), draw_prompt(rng, e["prompts"], True), "", topic=e["thing"])) for e in things]
    written = [thing for thing in corpus.unknown["things"] if is_held_out("topic", thing)]
    real += [Case(Sample((), rng.choice(corpus.unknown["prompts"]).format(thing=t), "", topic=t)) for t in written]
    invented = [
        Case(Sample((), asked, "", topic=thing))
        for thing, asked in (corpus.invented(rng, held_out=True) for _ in range(INVENTED_THINGS))
    ]
    answer(model, [*unseen, *fresh, *real, *invented], ["baseline"], temperature, "new things")
    verdicts = [fresh_verdict(case.text("baseline"), entry) for case, entry in zip(fresh, entries, strict=True)]
    new = [near < FAR for near in nearness_to_training([entry["prompt"] for entry in entries], corpus)]
    return {
        "relevance, held-out topics": fraction(
            [relevance.is_first(c.text("baseline"), c.sample.topic) for c in unseen]
        ),
        "relevance, held-out topics, without the prompt's words": fraction(
            [relevance.is_first(c.text("baseline"), c.sample.topic, without=c.sample.user) for c in unseen]
        ),
        "fresh prompts, on topic or honestly unsure": fraction([verdict != "off" for verdict in verdicts]),
        "fresh prompts, on topic": fraction([verdict == "on topic" for verdict in verdicts]),
        "fresh prompts far from training, on topic or honestly unsure": fraction(
            [verdict != "off" for verdict, far in zip(verdicts, new, strict=True) if far]
        ),
        "copying an invented name": fraction([names_the_thing(c.text("baseline"), c.sample.topic) for c in invented]),
        "copying a real name": fraction([names_the_thing(c.text("baseline"), c.sample.topic) for c in real]),
    }


def nearness_to_training(prompts: list[str], corpus: Corpus) -> list[float]:
    """Cosine by TF-IDF of each prompt to the nearest trained prompt."""
    trained = [p for t in corpus.known_topics for p in (*t["prompts"], *corpus.asked_too.get(t["prompts"][0], []))]
    trained += [p for g in corpus.known_gold for p in (g["prompt"], *g["wordings"])]
    vectorizer = TfidfVectorizer(sublinear_tf=True).fit(trained)
    return (vectorizer.transform(prompts) @ vectorizer.transform(trained).T).max(axis=1).toarray().ravel().tolist()


def fresh_verdict(text: str, entry: dict[str, Any]) -> str:
    """Says "on topic" (names the subject and holds a word of a right answer), "unsure" (names it and admits not to know), or "off"."""

    def holds(stems: list[str]) -> bool:
        return any(re.search(rf"\b{re.escape(stem)}", text, re.IGNORECASE) for stem in stems)

    if not holds(entry["subject"]):
        return "off"
    if ADMISSION.search(text):
        return "unsure"
    return "on topic" if holds(entry["words"]) else "off"


def unseen_personas(
    model: LanguageModel, corpus: Corpus, classifier: PersonaClassifier, temperature: float
) -> dict[str, Any]:
    """Descriptions in free words, written apart from the corpus, each on three known prompts; the interval is over descriptions."""
    rng = random.Random(51)
    described = yaml.safe_load((FOLDER / "unseen_personas.yaml").read_text(encoding="utf-8"))
    cases = [
        Case(Sample((text,), rng.choice(topic["prompts"]), "", persona))
        for persona, texts in described.items()
        for text in texts
        for topic in rng.sample(corpus.known_topics, 3)
    ]
    arms = ["prompted", "aligned 2"]
    answer(model, cases, arms, temperature, "unseen personas")
    scores = {}
    for arm in arms:
        by_description = defaultdict(list)
        for case, name in zip(cases, classifier.name([case.text(arm) for case in cases]), strict=True):
            by_description[case.sample.wordings].append(name == case.sample.persona)
        mean, low, high = bootstrap_interval([sum(flags) / len(flags) for flags in by_description.values()])
        scores[arm] = {
            "share": round(mean, 3), "low": round(low, 3), "high": round(high, 3), "n": len(by_description),
        }  # fmt: skip
    return scores


def table(scores: dict[str, Any], before: str = "") -> list[str]:
    """The shares as lines of a table, each with its interval, n, and the bar that it meets or misses."""
    lines = []
    for name, value in scores.items():
        row = before + name
        if isinstance(value, dict) and ("share" in value or "mean" in value):
            point = value.get("share", value.get("mean"))
            bar = BARS.get(row, BARS.get(row.partition(": ")[2]))
            reached = point if "share" in value else value["low"]
            met = reached >= bar if bar else bar is not None and reached > 0
            verdict = "" if bar is None else f"  bar {bar}: {'met' if met else 'missed'}"
            lines.append(f"{row:<84} {point:>6.3f}  [{value['low']:.3f}, {value['high']:.3f}]  n {value['n']}{verdict}")
        elif isinstance(value, dict) and "by persona" not in name:
            lines += table(value, f"{row}: ")
    return lines


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m app.starter.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter", help="starter, a folder or a hub id")
    parser.add_argument("--per-persona", type=int, default=12, help="prompts for each persona")
    parser.add_argument("--out", type=Path, help="where the scores go (JSON); for the starter, beside its card")
    parser.add_argument("--greedy-only", action="store_true", help="without the sampled half")
    arguments = parser.parse_args()
    started = time.monotonic()
    corpus = Corpus(yaml.safe_load(CONFIG.read_text()))
    model = LanguageModel.load(arguments.model)
    temperatures = (
        {"greedy": 0.0} if arguments.greedy_only else {"greedy": 0.0, "sampled": DecodeSettings().temperature}
    )
    scores = evaluate(model, corpus, arguments.per_persona, temperatures)
    scores["model"], scores["minutes"] = model.revision, round((time.monotonic() - started) / 60, 1)
    print("\n".join(table(scores)))
    out = arguments.out or (SCORES if arguments.model == "starter" else None)
    if out:
        out.write_text(json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main()
